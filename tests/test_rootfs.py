"""config.json root, linux.rootfsPropagation, devices, maskedPaths, readonlyPaths: the root file system from inside."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import inside
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped

MOUNTINFO = "cat /proc/self/mountinfo"
DEV = [
    "fd",
    "full",
    "mqueue",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
]
NODES = ("null", "zero", "full", "random", "urandom")
CORE = ["core"] if os.path.exists("/proc/kcore") else []


def split(text: str) -> tuple[dict[str, inside.Mount], list[str]]:
    """What a script printed: the mounts of its mountinfo, and the other lines."""
    lines = text.splitlines()
    mountinfo = [line for line in lines if " - " in line]
    return inside.mounts("\n".join(mountinfo)), [line for line in lines if " - " not in line]


@pytest.mark.observes("root.path")
@pytest.mark.parametrize("options", [(), ("--no-pivot",)])
def test_only_the_root_and_its_mounts_are_there(
    minirunc: Runtime, bundle: Callable[..., Bundle], options: tuple[str, ...]
) -> None:
    """root.path MUST be the root: no path leads to the host's files, whether by `..`, by cwd or by what is mounted."""
    made = bundle(f"ls -a /; ls -a /..; cd /; cd ../../..; ls -a; ls -a /proc/1/cwd/.. /proc/1/root/..; {MOUNTINFO}")
    (made.rootfs / "mark").touch()
    made.process["cwd"] = "/usr"
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    result = minirunc.run(made, *options)
    assert (result.status, result.err) == (0, "")
    mounts, lines = split(result.out)
    expected = sorted([*os.listdir(made.rootfs), ".", ".."])
    assert lines[: 3 * len(expected)] == expected * 3
    assert lines[3 * len(expected) :] == ["/proc/1/cwd/..:", *expected, "", "/proc/1/root/..:", *expected]
    assert set(mounts) == {"/", *(mount["destination"] for mount in made.config["mounts"])}
    assert mounts["/"].root.endswith(str(made.rootfs).removeprefix("/tmp"))


@pytest.mark.observes("root.readonly")
@pytest.mark.parametrize("options", [(), ("--no-pivot",)])
def test_read_only_root(minirunc: Runtime, bundle: Callable[..., Bundle], options: tuple[str, ...]) -> None:
    """root.readonly: the root MUST be read-only inside, what is mounted below is not; outside nothing changes."""
    made = bundle(f"{MOUNTINFO}; touch /x /etc/passwd /missing/x /dev/x; ls -d /missing; mkdir /dev/shm/y && echo made")
    made.config["root"]["readonly"] = True
    made.mount("/missing", "tmpfs", "tmpfs")
    result = minirunc.run(made, *options)
    mounts, lines = split(result.out)
    assert "ro" in mounts["/"].options
    assert "rw" in mounts["/missing"].options
    assert lines == ["/missing", "made"]
    assert result.err.splitlines() == [
        "touch: /x: Read-only file system",
        "touch: /etc/passwd: Read-only file system",
    ]
    (made.rootfs / "x").touch()


PROPAGATION = {
    None: {"master"},
    "private": set[str](),
    "rprivate": set[str](),
    "slave": {"master"},
    "rslave": {"master"},
    "shared": {"shared"},
    "rshared": {"shared"},
    "unbindable": {"unbindable"},
    "runbindable": {"unbindable"},
}


@pytest.mark.observes("linux.rootfsPropagation")
@pytest.mark.parametrize("wanted", PROPAGATION)
def test_root_propagation(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], wanted: str | None) -> None:
    """linux.rootfsPropagation: the propagation of `/` inside, where the host's mounts are shared."""
    made = bundle(MOUNTINFO)
    script = f'mount --bind {made.path} {made.path} && mount --make-shared {made.path} && exec "$@"'
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    if wanted:
        made.linux["rootfsPropagation"] = wanted
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert set(split(result.out)[0]["/"].tags) == PROPAGATION[wanted]


@pytest.mark.parametrize(("wanted", "reached"), [(None, "no"), ("rprivate", "no"), ("rshared", "yes")])
def test_mounts_inside_reach_the_host_only_if_shared(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], wanted: str | None, reached: str
) -> None:
    """linux.rootfsPropagation: what the container mounts on a shared bind is seen outside with `rshared` alone."""
    shared = tmp_path / "shared"
    shared.mkdir()
    script = f"""
        mount -t tmpfs t {shared} && mount --make-shared {shared} && mkdir {shared}/below && "$@"
        if grep -q {shared}/below /proc/self/mountinfo; then echo yes; else echo no; fi
    """
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    made = bundle("mount -t tmpfs t /m/below && grep -c ' /m/below ' /proc/self/mountinfo")
    made.process["capabilities"] = {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "permitted", "effective")}
    made.mount("/m", "bind", str(shared), "rbind")
    if wanted:
        made.linux["rootfsPropagation"] = wanted
    assert minirunc.run(made) == (0, f"1\n{reached}\n", "")


@pytest.mark.parametrize("wanted", ["private", "rprivate"])
def test_private_propagation_needs_pivot(minirunc: Runtime, bundle: Callable[..., Bundle], wanted: str) -> None:
    """linux.rootfsPropagation private with --no-pivot: refused, as mounts below the moved root would be kept."""
    made = bundle()
    made.linux["rootfsPropagation"] = wanted
    result = minirunc.run(made, "--no-pivot")
    assert result.status == 1
    assert f"rootfsPropagation of {wanted} is not safe without pivot_root" in result.err


def test_default_devices_and_links(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """config-linux.md Default Devices, Default Dev Symlinks: all there, with their numbers and modes, and no others."""
    made = bundle("""
        ls /dev; cd /dev; stat -c '%n %F %a %u:%g %t:%T' null zero full random urandom tty
        for link in ptmx fd stdin stdout stderr core; do echo $link $(readlink $link); done
        echo x >null && head -c 3 zero | wc -c; echo x 2>&1 >full; head -c 4 urandom | wc -c; echo out >>stdout
    """)
    result = minirunc.run(made)
    kind = "character special file 666 0:0"
    assert result.out.splitlines() == [
        *sorted(DEV + CORE),
        *(f"{name} {kind} 1:{minor}" for name, minor in zip(NODES, "35789", strict=True)),
        f"tty {kind} 5:0",
        "ptmx pts/ptmx",
        "fd /proc/self/fd",
        *(f"{name} /proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))),
        "core /proc/kcore" if CORE else "core",
        "3",
        "sh: write error: No space left on device",
        "4",
        "out",
    ]
    assert os.listdir(made.rootfs / "dev") == []


DEVICES = [
    {"type": "c", "path": "/dev/kmsg2", "major": 1, "minor": 11, "fileMode": 0o640, "uid": 12, "gid": 34},
    {"type": "u", "path": "/dev/net/tun", "major": 10, "minor": 200},
    {"type": "b", "path": "/dev/loop77", "major": 7, "minor": 77, "fileMode": 0o60600, "gid": 6},
    {"type": "p", "path": "/dev/fifo", "fileMode": 0o622, "uid": 1000},
    {"type": "p", "path": "/run/deep/fifo"},
    {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600, "gid": 5},
    {"type": "b", "path": "/dev/big", "major": 259, "minor": 300000},
]


@pytest.mark.observes(
    *(f"linux.devices[].{name}" for name in ("type", "path", "major", "minor", "fileMode", "uid", "gid"))
)
def test_listed_devices_are_made(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.devices: each with its type, numbers, mode whatever the umask, and owner; one in place of a default."""
    paths = [device["path"] for device in DEVICES]
    made = bundle(
        f"stat -c '%n %F %a %u:%g %t:%T' {' '.join(map(str, paths))}; stat -c '%n %a' /dev/net /run/deep; ls /dev"
    )
    made.linux["devices"] = DEVICES
    result = minirunc.run(made, umask=0o077)
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "/dev/kmsg2 character special file 640 12:34 1:b",
        "/dev/net/tun character special file 666 0:0 a:c8",
        "/dev/loop77 block special file 600 0:6 7:4d",
        "/dev/fifo fifo 622 1000:0 0:0",
        "/run/deep/fifo fifo 666 0:0 0:0",
        "/dev/null character special file 600 0:5 1:3",
        "/dev/big block special file 666 0:0 103:493e0",
        "/dev/net 755",
        "/run/deep 755",
        *sorted([*DEV, *CORE, "kmsg2", "net", "loop77", "fifo", "big"]),
    ]


def test_devices_in_a_user_namespace(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.devices in a user namespace: nodes cannot be made there, so the host's are bound; a fifo can be made."""
    made = mapped(bundle("stat -c '%n %F %t:%T' /dev/null /dev/kmsg; stat -c '%n %F %a %u:%g' /dev/fifo; ls /dev"))
    made.linux["devices"] = [
        {"type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11},
        {"type": "p", "path": "/dev/fifo", "fileMode": 0o622, "uid": 1000},
    ]
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        "/dev/null character special file 1:3",
        "/dev/kmsg character special file 1:b",
        "/dev/fifo fifo 622 1000:0",
        *sorted([*DEV, *CORE, "kmsg", "fifo"]),
    ]


@pytest.mark.parametrize("userns", [False, True])
def test_ptmx_that_is_asked_for_is_the_link(minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool) -> None:
    """linux.devices names /dev/ptmx: it is there already, and leads to the container's own devpts (runtime-spec)."""
    made = bundle("readlink /dev/ptmx; stat -Lc '%F %t:%T %u' /dev/ptmx")
    if userns:
        made = mapped(made)
    made.linux["devices"] = [{"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2}]
    assert minirunc.run(made) == (0, "pts/ptmx\ncharacter special file 5:2 0\n", "")


def test_device_bound_in_a_user_namespace_is_the_one_asked_for(
    minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """linux.devices in a user namespace: the host's node of that name may be another device."""
    made = mapped(bundle())
    made.linux["devices"] = [{"type": "c", "path": "/dev/zero", "major": 1, "minor": 11}]
    result = minirunc.run(made)
    assert result.status == 1
    assert "/dev/zero on the host is not the device c 1:11" in result.err


def test_device_in_a_user_namespace_is_not_bound_onto_a_link(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A link of the image in the place of a node: what it leads to is not covered."""
    made = mapped(bundle())
    made.config["mounts"] = [mount for mount in made.config["mounts"] if not mount["destination"].startswith("/dev")]
    (made.rootfs / "dev/null").symlink_to("/etc/passwd")
    os.chown(made.rootfs / "dev", 100000, 100000)
    result = minirunc.run(made)
    assert result.status == 1
    assert "/dev/null in the container is a symbolic link" in result.err


def test_existing_node_must_be_the_device(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.devices: a node that the image brings is taken if it is that device, and refused if it is another."""
    made = bundle("stat -c '%F %t:%T' /data/node")
    (made.rootfs / "data").mkdir()
    os.mknod(made.rootfs / "data/node", 0o20600, os.makedev(1, 5))
    made.linux["devices"] = [{"type": "c", "path": "/data/node", "major": 1, "minor": 5}]
    assert minirunc.run(made) == (0, "character special file 1:5\n", "")
    made.linux["devices"][0]["minor"] = 3
    result = minirunc.run(made)
    assert result.status == 1
    assert "/data/node in the container is not the device c 1:3" in result.err


def test_dev_of_an_image_may_not_be_a_link(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """No device is made where a link of the image leads (CVE-2026-41579)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    made = bundle()
    made.config["mounts"] = [mount for mount in made.config["mounts"] if not mount["destination"].startswith("/dev")]
    (made.rootfs / "dev").rmdir()
    (made.rootfs / "dev").symlink_to(outside)
    result = minirunc.run(made)
    assert result.status == 1
    assert "/dev in the container is a symbolic link" in result.err
    assert os.listdir(outside) == []


def test_dev_without_a_mount_is_filled(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Default devices: made in the image's own /dev where none is mounted."""
    made = bundle("ls -l /dev/null | cut -c 1-10; echo x >/dev/null && echo good")
    made.config["mounts"] = [mount for mount in made.config["mounts"] if not mount["destination"].startswith("/dev")]
    assert minirunc.run(made) == (0, "crw-rw-rw-\ngood\n", "")


def test_bound_dev_is_left_alone(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """/dev that is a bind mount is the user's: nothing is made in it."""
    dev = tmp_path / "dev"
    dev.mkdir()
    (dev / "own").touch()
    made = bundle("ls /dev")
    made.config["mounts"] = [mount for mount in made.config["mounts"] if not mount["destination"].startswith("/dev")]
    made.mount("/dev", "bind", str(dev), "bind")
    made.linux["devices"] = DEVICES
    assert minirunc.run(made) == (0, "own\n", "")
    assert os.listdir(dev) == ["own"]


def secrets(made: Bundle) -> Bundle:
    """Two directories and two files to hide, and a link to one."""
    for name in ("one", "two"):
        (made.rootfs / name).mkdir()
        (made.rootfs / name / "secret").write_text("secret\n")
        (made.rootfs / f"{name}.txt").write_text("secret\n")
    (made.rootfs / "link").symlink_to("/two")
    return made


@pytest.mark.observes("linux.maskedPaths[]")
def test_masked_paths(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.maskedPaths: files read as empty; directories are empty, read-only, of one tmpfs; none can be written."""
    made = secrets(
        bundle(f"""
        {MOUNTINFO}
        cat /one.txt /two.txt /proc/version; ls /one /two /link /proc/tty; ls -d /absent 2>/dev/null
        stat -c %F,%t:%T /one.txt; echo x >/one.txt && cat /one.txt
        touch /one/x /two/x; stat -f -c '%b %c' /one
    """)
    )
    paths = ["/one", "/link", "/one.txt", "/two.txt", "/absent", "/one.txt/below", "/proc/version", "/proc/tty", "/one"]
    made.linux["maskedPaths"] = paths
    result = minirunc.run(made)
    mounts, lines = split(result.out)
    assert lines == [
        *("/link:", "", "/one:", "", "/proc/tty:", "", "/two:"),
        "character special file,1:3",
        "1 1",
    ]
    assert result.err.splitlines() == [
        "touch: /one/x: Read-only file system",
        "touch: /two/x: Read-only file system",
    ]
    directories = [mounts[point] for point in ("/one", "/two", "/proc/tty")]
    assert len({mount.device for mount in directories}) == 1
    assert all(mount.fs_type == "tmpfs" and "ro" in mount.options for mount in directories)
    assert all(mount.source == "tmpfs" and "ro" in mount.superblock for mount in directories)
    assert not {"/link", "/absent"} & set(mounts)
    assert (made.rootfs / "one/secret").read_text() == "secret\n"


def test_hundreds_of_paths_are_masked_and_read_only(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """maskedPaths, readonlyPaths: engines list a few for each CPU; the directories share one tmpfs."""
    made = bundle("ls /d[0-9]* | grep -c secret; stat -c %d /d[0-9]*/ | sort -u | wc -l; touch /r7/x")
    for number in range(400):
        (made.rootfs / f"d{number}").mkdir()
        (made.rootfs / f"d{number}/secret").touch()
        (made.rootfs / f"r{number}").mkdir()
    made.linux["maskedPaths"] = [f"/d{number}" for number in range(400)]
    made.linux["readonlyPaths"] = [f"/r{number}" for number in range(400)]
    assert minirunc.run(made) == (1, "0\n1\n", "touch: /r7/x: Read-only file system\n")


@pytest.mark.observes("linux.readonlyPaths[]")
def test_readonly_paths(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.readonlyPaths: files, directories, all mounted below; other flags stay; missing ones are left."""
    made = secrets(
        bundle(f"""
        {MOUNTINFO}; cat /one/secret /one.txt
        touch /one/x /two/x /one.txt /mounted/x /mounted/below/x /proc/sys/vm/swappiness; touch /ok && echo ok
    """)
    )
    made.mount("/mounted", "tmpfs", "tmpfs", "nosuid", "noexec")
    made.mount("/mounted/below", "tmpfs", "tmpfs", "nodev")
    made.linux["readonlyPaths"] = [
        "/one",
        "/link",
        "/one.txt",
        "/mounted",
        "/absent",
        "/one.txt/x",
        "/proc/sys",
        "/one",
    ]
    result = minirunc.run(made)
    mounts, lines = split(result.out)
    assert lines == ["secret", "secret", "ok"]
    written = ["/one/x", "/two/x", "/one.txt", "/mounted/x", "/mounted/below/x", "/proc/sys/vm/swappiness"]
    assert result.err.splitlines() == [f"touch: {path}: Read-only file system" for path in written]
    assert {"ro", "nosuid", "noexec"} <= mounts["/mounted"].options
    assert {"ro", "nodev"} <= mounts["/mounted/below"].options
    (made.rootfs / "one/x").touch()


@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_root_itself_is_no_path_to_cover(minirunc: Runtime, bundle: Callable[..., Bundle], name: str) -> None:
    """linux.maskedPaths, readonlyPaths: a cover over `/` would be without effect, so it is refused."""
    for path in ("/", "//.."):
        made = bundle()
        made.linux[name] = ["/proc/keys", path]
        result = minirunc.run(made)
        assert result.status == 1
        assert f'config.json: linux.{name}[1]: \\"{path}\\" is the root itself' in result.err


def test_masks_cover_what_is_read_only(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """maskedPaths below readonlyPaths: hidden, not merely read-only; below a read-only root, too."""
    made = secrets(bundle("ls /one; cat /proc/sys/kernel/hostname; cat /two.txt; ls /two"))
    made.linux["readonlyPaths"] = ["/one", "/proc/sys", "/two"]
    made.linux["maskedPaths"] = ["/one", "/proc/sys/kernel/hostname", "/two/secret"]
    made.config["root"]["readonly"] = True
    assert minirunc.run(made) == (0, "secret\nsecret\n", "")
