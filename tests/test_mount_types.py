"""config.json mounts[].type: the file systems that containers are given, used from inside; in a user namespace, too."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import inside
from tests.attacks.attackers import without
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped

pytestmark = pytest.mark.observes("mounts[].type", "mounts[].source", "mounts[].options[]")
BOTH = pytest.mark.parametrize("userns", [False, True])


def said(minirunc: Runtime, made: Bundle, userns: bool) -> list[str]:
    """The lines it prints; it must succeed in silence."""
    result = minirunc.run(mapped(made) if userns else made)
    assert (result.status, result.err) == (0, "")
    return result.out.splitlines()


@BOTH
def test_tmpfs_has_its_limits(minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool) -> None:
    """tmpfs: size, nr_inodes, mode, uid and gid."""
    made = bundle("""
        dd if=/dev/zero of=/small/x bs=1k count=100 2>&1 | grep -o 'No space.*'; wc -c </small/x
        touch /few/1 /few/2 /few/3 /few/4 2>&1 | grep -o 'No space.*'
        stat -c '%a %u %g' /owned
    """)
    made.mount("/small", "tmpfs", "tmpfs", "size=64k")
    made.mount("/few", "tmpfs", "tmpfs", "nr_inodes=4")
    made.mount("/owned", "tmpfs", "tmpfs", "mode=2750,uid=5", "gid=6")
    assert said(minirunc, made, userns) == ["No space left on device", "65536", "No space left on device", "2750 5 6"]


@pytest.fixture
def layers() -> Iterator[Path]:
    """The directories of an overlay, where everybody may walk: in a user namespace its root makes the mount."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o755)
    for name, text in (("lower/kept", "low"), ("lower/gone", "low"), ("lower/both", "low"), ("upper/both", "up")):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(f"{text}\n")
    (directory / "work").mkdir()
    yield directory
    shutil.rmtree(directory)


@BOTH
def test_overlay_is_written_to_its_upper_directory(
    layers: Path, minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool
) -> None:
    """overlay: lowerdir, upperdir and workdir as options; what is deleted and written is so in the upper one alone."""
    made = bundle("cat /merged/kept /merged/both; rm /merged/gone; echo new >/merged/new; ls /merged")
    for path in layers.rglob("*"):
        os.chown(path, *(100000, 100000) if userns else (0, 0))
    words = [f"{key}dir={layers}/{name}" for key, name in (("lower", "lower"), ("upper", "upper"), ("work", "work"))]
    made.mount("/merged", "overlay", "overlay", *words)
    assert said(minirunc, made, userns) == ["low", "up", "both", "kept", "new"]
    assert sorted(path.name for path in (layers / "lower").iterdir()) == ["both", "gone", "kept"]
    assert sorted(path.name for path in (layers / "upper").iterdir()) == ["both", "gone", "new"]
    assert (layers / "upper/gone").is_char_device()


@BOTH
def test_mqueue_and_devpts_are_its_own(minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool) -> None:
    """mqueue: of the container's ipc namespace; devpts: new, its ptmx gives the first terminal."""
    made = bundle("""
        touch /queues/one && ls /queues /dev/mqueue; ls /terminals
        stat -c '%a %t,%T' /terminals/ptmx; exec 5<>/terminals/ptmx; ls /terminals; stat -c '%a %g' /terminals/0
    """)
    made.mount("/queues", "mqueue", "mqueue", "nosuid", "nodev", "noexec")
    made.mount("/terminals", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    assert said(minirunc, made, userns) == [
        "/dev/mqueue:", "one", "", "/queues:", "one", "ptmx", "666 5,2", "0", "ptmx", "620 5",
    ]  # fmt: skip


@BOTH
@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_cgroup_is_of_version_2(minirunc: Runtime, bundle: Callable[..., Bundle], kind: str, userns: bool) -> None:
    """cgroup: on v2 the same as cgroup2, of the container's cgroup namespace; its source is what config.json says."""
    made = without(bundle("head -1 /cg/cgroup.procs; grep ' /cg ' /proc/self/mountinfo"), "/sys/fs/cgroup")
    made.mount("/cg", kind, "some name", "nosuid", "nodev", "noexec", "ro")
    pid, line = said(minirunc, made, userns)
    mount = inside.mounts(line.replace("some\\040name", "name"))["/cg"]
    assert (pid, mount.root, mount.fs_type, mount.source) == ("1", "/", "cgroup2", "name")
    assert {"ro", "nosuid", "nodev", "noexec"} <= mount.options


@BOTH
def test_sysfs_and_cgroup_of_the_host_are_bound_read_only(
    minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool
) -> None:
    """sysfs, cgroup: without network and cgroup namespaces. A user namespace gets no new ones of the host's: what is
    there is bound, the cgroup's the container's own; sysfs is read-only even if nobody said so."""
    script = "touch /sys/kernel/x /sys/class/x 2>&1; ls /sys/class/net/lo/mtu /sys/fs/cgroup/cgroup.procs"
    made = without(bundle(script),
                   "/sys", "/sys/fs/cgroup")  # fmt: skip
    made.without_namespace("network")
    made.without_namespace("cgroup")
    made.mount("/sys", "sysfs", "sysfs", "nosuid", "nodev", "noexec", *([] if userns else ["ro"]))
    made.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro")
    lines = said(minirunc, made, userns)
    assert lines[:2] == [f"touch: /sys/{name}/x: Read-only file system" for name in ("kernel", "class")]
    assert lines[2:] == ["/sys/class/net/lo/mtu", "/sys/fs/cgroup/cgroup.procs"]


@pytest.mark.skipif("hugetlbfs" not in Path("/proc/filesystems").read_text(), reason="no hugetlbfs in this kernel")
def test_hugetlbfs_has_its_page_size(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """hugetlbfs: pagesize, size and mode are its own options."""
    made = bundle("grep ' /huge ' /proc/self/mountinfo; stat -c '%a %s' /huge; stat -f -c %s /huge")
    made.mount("/huge", "hugetlbfs", "nodev", "pagesize=2M", "size=4M", "mode=0750", "nosuid")
    line, shown, block = said(minirunc, made, False)
    mount = inside.mounts(line)["/huge"]
    assert (mount.fs_type, "nosuid" in mount.options, shown, block) == ("hugetlbfs", True, "750 0", str(2 << 20))


@pytest.mark.parametrize("kind", ["", "none", "bind", "tmpfs", "no such type"])
def test_type_of_a_bind_mount_is_without_meaning(minirunc: Runtime, bundle: Callable[..., Bundle], kind: str) -> None:
    """A mount is a bind mount if it has `bind` or `rbind` in the options, whatever its type, or without one."""
    made = bundle("cat /a/file /b/file")
    (made.path / "source").mkdir()
    (made.path / "source/file").write_text("bound\n")
    for destination, word in (("/a", "bind"), ("/b", "rbind")):
        made.mount(destination, kind, "source", word)
        if not kind:
            del made.config["mounts"][-1]["type"]
    assert said(minirunc, made, False) == ["bound", "bound"]


@pytest.mark.parametrize("kind", ["", "none", "bind"])
def test_bind_by_its_type_alone_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle], kind: str) -> None:
    """It is a file system that does not exist: with what to do."""
    made = bundle()
    made.mount("/x", kind, "/tmp", "ro")
    err = minirunc.run(made).err
    assert "no such device: no file system; a bind mount has the option bind or rbind" in err


def test_source_may_be_missing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].source is optional: a file system without a device has none."""
    made = bundle("grep ' /x ' /proc/self/mountinfo")
    made.config["mounts"].append({"destination": "/x", "type": "tmpfs"})
    found = inside.mounts(said(minirunc, made, False)[0])["/x"]
    assert (found.fs_type, found.source) == ("tmpfs", "none")


@pytest.mark.parametrize("inside_proc", ["slabinfo", "sys/kernel/ns_last_pid", "cpuinfo", "swaps"])
@pytest.mark.observes("mounts[].destination")
def test_files_of_proc_that_may_be_covered(minirunc: Runtime, bundle: Callable[..., Bundle], inside_proc: str) -> None:
    """In /proc only some files may be mounted on; with dots and doubled slashes in their paths, too."""
    made = bundle(f"cat /proc/{inside_proc}")
    if not Path(f"/proc/{inside_proc}").exists():
        pytest.skip(f"this kernel has no /proc/{inside_proc}")
    (made.path / "file").write_text("anew\n")
    made.mount(f"//proc/./irq/../{inside_proc}", "bind", "file", "bind", "ro")
    assert said(minirunc, made, False) == ["anew"]
