"""mounts, so many that they are sent by the dozen: the same as one by one, in time, and an error names its mount."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from minirunc.config.mounts.attach import MANY
from tests import inside
from tests.attacks.attackers import without
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped

CPU_S = 3.0  # for ten thousand, where a second is what a quiet machine takes: others use this one, too


def filled(made: Bundle, count: int = MANY) -> Bundle:
    """With so many further mounts before what a test adds."""
    (made.path / "file").write_text("file\n")
    for index in range(count):
        made.mount(f"/fill/{index}", "bind", "file", "bind", "ro")
    return made


def various(made: Bundle, directory: Path, flag: str) -> None:
    """Mounts of all kinds that depend on each other: of the image, of those before, through links, one on another."""
    for name, mode in (("old", 0o711), ("sticky", 0o3775), ("deep/er", 0o755)):
        (made.rootfs / name).mkdir(parents=True)
        (made.rootfs / name).chmod(mode)
    (made.rootfs / "link").symlink_to("/new/3")
    (made.rootfs / "dangling").symlink_to("no/such")
    (made.rootfs / "dangled").symlink_to("/none/file")
    (directory / "below").mkdir(parents=True)
    (directory / "below/file").write_text("below\n")
    for turn in range(12):
        made.mount(f"/new/{turn}", "tmpfs", "tmpfs", "nosuid", "size=64k")
        made.mount(f"/new/{turn}/sub", "bind", str(directory), "rbind", "rprivate", "nodev")
        made.mount(f"/new/{turn}/sub/below", "tmpfs", "shm", "mode=1750", "noexec")
        made.mount(f"/dev/own/{turn}", "bind", "file", "bind", flag)
        made.mount(f"/file/{turn}", "bind", "file", "bind", *(("ro", "rnosuid") if turn % 2 else ()))
        made.mount(f"/link/by{turn}", "tmpfs", "tmpfs")
        made.mount(f"/source/{turn}", "bind", f"rootfs/new/{turn}", "rbind", "slave")
    for name in ("old", "sticky", "dangling", "deep/er", "old/inner"):
        made.mount(f"/{name}", "tmpfs", "tmpfs")
    made.mount("/dangled", "bind", "file", "bind")
    made.mount("/ro", "tmpfs", "tmpfs", "ro")
    made.mount("/ro/x", "tmpfs", "tmpfs", "strictatime")
    made.mount("/new", "tmpfs", "tmpfs")  # covers all of them
    made.mount("/new/again", "bind", str(directory), "bind", "rro", "private", "unbindable")
    made.mount("/mq", "mqueue", "mqueue", "nosuid")
    made.mount("/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "ro")
    made.mount("/ram", "ramfs", "ramfs", "nodev", "rshared")
    made.mount("../last/./one/..", "bind", "file", "bind")


SEEN = "cat /proc/self/mountinfo; stat -c '%n %a %u' /old /sticky /deep/er /ro /dangling /pts /new/again/below /dev/shm"


@pytest.mark.observes("mounts[].destination", "mounts[].source", "mounts[].options[]")
@pytest.mark.parametrize("userns", [False, True])
def test_many_are_as_one_by_one(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool) -> None:
    """mounts: whether by the dozen or, as --debug does it, one by one, the container sees the same."""
    seen = []
    for options in ([], ["--debug", "--log", str(tmp_path / "log")]):
        made = filled(bundle(SEEN))
        # In a user namespace the atime flags of what is the host's are locked.
        various(made, made.path / "volume", "noexec" if userns else "noatime")
        if userns:
            mapped(made)
        made.write()
        result = minirunc("run", "--bundle", made.path, minirunc.id(), before=options)
        assert result.status == 0, result.err
        lines = result.out.splitlines()
        mounts = inside.mounts("\n".join(line for line in lines if " - " in line))
        shown = {
            point: (m.root.replace(str(made.path), ""), m.options, set(m.tags), m.fs_type, m.source,
                    {word for word in m.superblock if not word.startswith("mode=")})
            for point, m in mounts.items()
        }  # fmt: skip
        seen.append((shown, [line for line in lines if " - " not in line]))
        written = {str(path.relative_to(made.rootfs)): path.lstat().st_mode for path in made.rootfs.rglob("*")}
        seen[-1] += (written,)
    one, other = seen
    assert {
        point: (mount, other[0].get(point)) for point, mount in one[0].items() if mount != other[0].get(point)
    } == {}
    assert one == other
    assert len(seen[0][0]) > MANY + 40


WRONG = {
    "type": (("/x", "none", "/tmp", "ro"), "no such device: no file system; a bind mount has the option bind"),
    "source": (("/x", "bind", "/no/such/source", "bind"), "no such file or directory"),
    "option": (("/x", "tmpfs", "tmpfs", "bogus"), "tmpfs: Unknown parameter 'bogus'"),
    "kind": (("/etc/passwd", "tmpfs", "tmpfs"), "not a directory"),
    "file onto directory": (("/etc", "bind", "file", "bind"), "not a directory"),
    "into proc": (("/alias/fs", "tmpfs", "tmpfs"), "cannot be mounted because it is inside /proc"),
    "file into proc": (("/alias/version", "bind", "file", "bind"), "cannot be mounted because it is inside /proc"),
    "proc itself": (("/proc", "tmpfs", "tmpfs"), "cannot be mounted because it is not of type proc"),
    "root": (("/top", "tmpfs", "tmpfs"), "is on the top of rootfs"),
    "root by dots": (("/a/..", "tmpfs", "tmpfs"), "is on the top of rootfs"),
    "loop": (("/loop", "tmpfs", "tmpfs"), "too many levels of symbolic links"),
    "below a file": (("/etc/passwd/x", "bind", "file", "bind"), "not a directory"),
    "id-mapped already": (("/x", "tmpfs", "tmpfs", "rslave", "size=0x"), "Bad value for 'size'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_that_cannot_be_is_named(minirunc: Runtime, bundle: Callable[..., Bundle], case: str) -> None:
    """mounts: the error is that of a few mounts, names the one, and nothing is left; those around it are right."""
    (destination, kind, source, *options), why = WRONG[case]
    made = filled(bundle())
    for name, text in (("alias", "proc"), ("top", "/"), ("loop", "loop")):
        (made.rootfs / name).symlink_to(text)
    index = len(made.config["mounts"])
    made.mount(destination, kind, source, *options)
    for later in range(70):
        made.mount(f"/later/{later}", "tmpfs", "tmpfs")
    result = minirunc.run(made)
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert f'to rootfs at \\"{destination}\\" (mounts[{index}]): ' in result.err
    assert why in result.err.replace('\\"', '"').replace("\\'", "'")


def test_few_files_are_enough(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts: what a dozen needs open at a time may be more than we may have: then they go in smaller parts."""
    minirunc.prefix = ["sh", "-c", 'ulimit -n 24; exec "$@"', "sh"]
    made = filled(bundle("grep -c ' /\\(fill\\|m\\)/' /proc/self/mountinfo"), 100)
    made.process["rlimits"] = []
    for index in range(200):
        made.mount(f"/m/{index}", "tmpfs", "tmpfs")
    assert minirunc.run(made) == (0, "300\n", "")


def test_paths_of_all_lengths(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts: a message has an end; long paths, of any characters, are sent in the next one, or alone."""
    made = filled(bundle("grep -c ' /p/' /proc/self/mountinfo"))
    letters = "ä\U0001f600 \\"
    for index in range(60):
        name = f"{index}" + letters * (index // 3)
        made.mount("/p/" + "/".join([name] * (1 + index % 9)), "bind", "file", "bind")
        made.mount(f"/p/long{index}/" + "/".join(["x" * 200] * (index % 12)), "tmpfs", "tmpfs", "size=4k")
    assert minirunc.run(made) == (0, "120\n", "")


@pytest.mark.parametrize("kind", ["bind", "tmpfs", "mixed"])
def test_ten_thousand(minirunc: Runtime, bundle: Callable[..., Bundle], kind: str) -> None:
    """mounts: ten thousand are made, in processor time that a quiet machine has in a second, and all are there."""
    made = bundle("grep -c ' /m/' /proc/self/mountinfo")
    (made.path / "file").write_text("file\n")
    (made.rootfs / "m").mkdir()
    for index in range(10_000):
        if kind == "tmpfs" or (kind == "mixed" and index % 2):
            made.mount(f"/m/{index}", "tmpfs", "tmpfs", "nosuid", "size=4k")
            (made.rootfs / f"m/{index}").mkdir()
        else:
            made.mount(f"/m/{index}", "bind", "file", "bind", "ro")
            (made.rootfs / f"m/{index}").touch()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert minirunc.run(made) == (0, "10000\n", "")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < CPU_S
    assert os.listdir(minirunc.root) == []


def test_sys_of_the_host_is_read_only_throughout(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """In a user namespace /sys bound with `ro` takes its cgroups along, among many as well (CVE-2023-25809)."""
    made = filled(mapped(without(bundle("cat /proc/self/mountinfo"), "/sys", "/sys/fs/cgroup")))
    made.without_namespace("network")
    (made.rootfs / "its").mkdir()
    made.mount("/its", "bind", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    found = {point: mount.options for point, mount in inside.mounts(result.out).items() if point.startswith("/its")}
    assert len(found) > 1
    assert [point for point, options in found.items() if "ro" not in options] == []
