"""config.json mounts: what the container finds mounted, in /proc/self/mountinfo and by using it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import inside
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped

MOUNTINFO = "cat /proc/self/mountinfo"

# options: what mountinfo shows of the mount, what it does not, what it shows of the superblock
FRESH = {
    "": ("rw,relatime", "nosuid,nodev,noexec", "rw"),
    "defaults": ("rw,relatime", "ro", "rw"),
    "ro": ("ro", "rw", ""),
    "ro,rw": ("rw", "ro", ""),
    "rw,ro": ("ro", "rw", ""),
    "nosuid": ("nosuid", "nodev", ""),
    "nosuid,suid": ("", "nosuid", ""),
    "nodev": ("nodev", "nosuid", ""),
    "nodev,dev": ("", "nodev", ""),
    "noexec": ("noexec", "", ""),
    "noexec,exec": ("", "noexec", ""),
    "noatime": ("noatime", "relatime", ""),
    "noatime,atime": ("relatime", "noatime", ""),
    "nodiratime": ("nodiratime,relatime", "", ""),
    "nodiratime,diratime": ("", "nodiratime", ""),
    "relatime": ("relatime", "", ""),
    "noatime,relatime": ("noatime", "", ""),
    "norelatime": ("relatime", "", ""),
    "strictatime": ("", "relatime,noatime", ""),
    "strictatime,nostrictatime": ("relatime", "", ""),
    "strictatime,noatime": ("", "relatime,noatime", ""),
    "nosymfollow": ("nosymfollow", "", ""),
    "nosymfollow,symfollow": ("", "nosymfollow", ""),
    "sync": ("", "", "sync"),
    "dirsync": ("", "", "dirsync"),
    "lazytime": ("", "", "lazytime"),
    "mand": ("", "", "mand"),
    "silent,loud,iversion,noiversion": ("rw", "", "rw"),
    "nosuid,nodev,noexec,ro,size=64k": ("nosuid,nodev,noexec,ro", "", "size=64k"),
}
CLEARED = {"sync,async": "sync", "lazytime,nolazytime": "lazytime", "mand,nomand": "mand"}

# options of the source, of the bind mount, and what mountinfo then has and has not
BOUND = [
    ("", "bind", "rw,relatime", "ro,nosuid,nodev,noexec"),
    ("", "bind,ro,nosuid,nodev,noexec", "ro,nosuid,nodev,noexec,relatime", ""),
    ("nosuid,nodev,noexec,noatime", "bind", "nosuid,nodev,noexec,noatime", ""),
    ("nosuid,nodev,noexec,noatime", "bind,ro", "ro,noatime", "nosuid,nodev,noexec"),
    ("ro,nosuid", "bind,dev", "rw", "ro,nosuid"),
    ("nosuid,nodev,noexec", "bind,suid,dev,exec", "", "nosuid,nodev,noexec"),
    ("noatime", "bind,atime", "noatime", ""),
    ("noatime", "bind,relatime", "relatime", "noatime"),
    ("noatime", "bind,strictatime", "", "noatime,relatime"),
    ("nodiratime", "bind,diratime", "nodiratime", ""),
    ("nodiratime", "bind,strictatime", "", "nodiratime,relatime"),
    ("nosymfollow", "bind,symfollow", "", "nosymfollow"),
    ("", "bind,nosymfollow,nodiratime", "nosymfollow,nodiratime", ""),
]

# recursive words: what the mount and the one below it then have and have not; both were made nosuid,noatime before
RECURSIVE = [
    ("rro", "ro,nosuid,noatime", "rw"),
    ("rro,rrw", "rw", "ro"),
    ("rnodev,rnoexec", "nodev,noexec,nosuid", ""),
    ("rsuid", "", "nosuid"),
    ("rnodev,rdev", "", "nodev"),
    ("rnoexec,rexec", "", "noexec"),
    ("ratime", "relatime", "noatime"),
    ("rrelatime", "relatime", "noatime"),
    ("rstrictatime", "", "relatime,noatime"),
    ("rrelatime,rnoatime", "noatime", "relatime"),
    ("rstrictatime,rnostrictatime", "relatime", "noatime"),
    ("rrelatime,rnorelatime", "relatime", "noatime"),
    ("rnodiratime", "nodiratime", ""),
    ("rnodiratime,rdiratime", "", "nodiratime"),
    ("rnosymfollow", "nosymfollow", ""),
    ("rnosymfollow,rsymfollow", "", "nosymfollow"),
]


def words(text: str) -> set[str]:
    return set(filter(None, text.split(",")))


def seen(minirunc: Runtime, made: Bundle, *options: str) -> dict[str, inside.Mount]:
    """Run it, which must succeed in silence, and read the mountinfo it prints."""
    made.args(MOUNTINFO)
    result = minirunc.run(made, *options)
    assert (result.status, result.err) == (0, "")
    return inside.mounts(result.out)


def refusal(minirunc: Runtime, made: Bundle) -> str:
    """The error a run ends with."""
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, ""), result.err
    return result.err


def test_option_words_of_a_new_mount(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].options: each word does to a new mount what it does to mount(8); the last of a pair wins."""
    made = bundle()
    tried = {**FRESH, **dict.fromkeys(CLEARED, ("", "", ""))}
    for index, options in enumerate(tried):
        made.mount(f"/m/{index}", "tmpfs", "tmpfs", *options.split(","))
    found = seen(minirunc, made)
    wrong = []
    for index, (options, (has, has_not, superblock)) in enumerate(tried.items()):
        mount = found[f"/m/{index}"]
        if (
            not words(has) <= mount.options
            or words(has_not) & mount.options
            or not words(superblock) <= mount.superblock
        ):
            wrong.append((options, mount))
        if options in CLEARED and CLEARED[options] in mount.superblock:
            wrong.append((options, mount))
    assert wrong == []


def test_option_words_of_a_bind_mount(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].options of a bind mount: without any it is as the source; else what is not named is cleared, but for
    the atime words, of which only one that sets counts (as mount(2) and runc do)."""
    made = bundle()
    for index, (source, options, _, _) in enumerate(BOUND):
        made.mount(f"/from/{index}", "tmpfs", "tmpfs", *source.split(","))
        made.mount(f"/to/{index}", "", f"rootfs/from/{index}", *options.split(","))
    found = seen(minirunc, made)
    wrong = []
    for index, (source, options, has, has_not) in enumerate(BOUND):
        mount = found[f"/to/{index}"]
        if mount.device != found[f"/from/{index}"].device:
            wrong.append((source, options, "not the source", mount))
        if not words(has) <= mount.options or words(has_not) & mount.options:
            wrong.append((source, options, "", mount))
    assert wrong == []


def test_recursive_option_words(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].options: a word with r- is done to all mounts below, too, and leaves the other attributes."""
    made = bundle()
    made.mount("/from", "tmpfs", "tmpfs", "nosuid", "noatime")
    made.mount("/from/below", "tmpfs", "tmpfs", "nosuid", "noatime")
    for index, (options, _, _) in enumerate(RECURSIVE):
        made.mount(f"/to/{index}", "", "rootfs/from", "rbind", *options.split(","))
    found = seen(minirunc, made)
    wrong = []
    for index, (options, has, has_not) in enumerate(RECURSIVE):
        for point in (f"/to/{index}", f"/to/{index}/below"):
            shown = found[point].options
            if not words(has) <= shown or words(has_not) & shown:
                wrong.append((options, point, shown))
    assert wrong == []


def test_rbind_takes_what_is_below_and_bind_does_not(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """rbind: the mounts below come along, and `ro` is said of the uppermost alone."""
    made = bundle()
    made.mount("/from", "tmpfs", "tmpfs")
    made.mount("/from/below", "tmpfs", "tmpfs")
    made.mount("/all", "bind", "rootfs/from", "rbind", "ro")
    made.mount("/one", "bind", "rootfs/from", "bind", "ro")
    found = seen(minirunc, made)
    assert "/one/below" not in found
    assert found["/all/below"].device == found["/from/below"].device
    assert [("ro" in found[point].options) for point in ("/all", "/all/below", "/one")] == [True, False, True]


def shared_ground(directory: Path) -> list[str]:
    """A prefix for the runtime: a mount namespace where `directory` is a shared mount; nothing reaches the host."""
    script = f'mount -t tmpfs t {directory} && mount --make-shared {directory} && mkdir {directory}/below && exec "$@"'
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]


def test_propagation_words(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].options: propagation words, and several of them in their order."""
    shared = tmp_path / "shared"
    shared.mkdir()
    minirunc.prefix = shared_ground(shared)
    made = bundle()
    made.linux["rootfsPropagation"] = "shared"  # so that a bind of a shared mount is one of its peers
    tried = [
        "",
        "private",
        "slave",
        "shared",
        "unbindable",
        "rprivate",
        "rslave",
        "rshared",
        "runbindable",
        "slave,shared",
    ]
    for index, options in enumerate(tried):
        made.mount(f"/m/{index}", "", str(shared), "rbind", *words(options) and options.split(","))
    made.mount("/new/private", "tmpfs", "tmpfs", "private")
    made.mount("/new/shared", "tmpfs", "tmpfs", "shared")
    found = seen(minirunc, made)
    assert {options: set(found[f"/m/{index}"].tags) for index, options in enumerate(tried)} == {
        "": {"shared"},
        "private": set(),
        "slave": {"master"},
        "shared": {"shared"},
        "unbindable": {"unbindable"},
        "rprivate": set(),
        "rslave": {"master"},
        "rshared": {"shared"},
        "runbindable": {"unbindable"},
        "slave,shared": {"shared", "master"},
    }
    assert set(found["/new/private"].tags) == set()
    assert set(found["/new/shared"].tags) == {"shared"}


def test_files_and_directories_are_bound(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """bind: a missing target is made as what the source is, below the root also where links lead."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/inner").write_text("inner\n")
    (tmp_path / "file").write_text("file\n")
    made = bundle("cat /1/2/3/inner /4/5/6 /etc/passwd /old/inner /link/inner /dangling/inner /dangled /up")
    (made.rootfs / "old").mkdir()
    (made.rootfs / "target").mkdir()
    (made.rootfs / "link").symlink_to("/target")
    (made.rootfs / "dangling").symlink_to("/../../nowhere/yet")
    (made.rootfs / "dangled").symlink_to("no/file")
    for destination, source in {
        "/1/2/3": "directory",
        "/4/5/6": "file",
        "/etc/passwd": "file",
        "/old": "directory",
        "/link": "directory",
        "/dangling": "directory",
        "/dangled": "file",
        "/1/../../../up": "file",
    }.items():
        made.mount(destination, "none", str(tmp_path / source), "bind")
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert result.out.split() == ["inner", "file", "file", "inner", "inner", "inner", "file", "file"]
    new = {"1/2": 0o40755, "4/5/6": 0o100644, "nowhere/yet": 0o40755, "no/file": 0o100644, "up": 0o100644}
    assert {name: (made.rootfs / name).stat().st_mode for name in new} == new
    assert (made.rootfs / "4/5/6").read_text() == ""


def test_sockets_devices_and_fifos_are_bound(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """bind: any file that is no directory is bound onto a file."""
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "device", 0o20666, os.makedev(1, 5))
    made = bundle("stat -c '%F' /fifo /device; head -c 2 /device | wc -c")
    made.mount("/fifo", "bind", str(tmp_path / "fifo"), "bind")
    made.mount("/device", "bind", str(tmp_path / "device"), "bind")
    assert minirunc.run(made) == (0, "fifo\ncharacter special file\n2\n", "")


def test_paths_may_be_relative(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """source is relative to the bundle; destination, as of old, to the root: with runc's warning."""
    made = bundle("cat /a/b /proc/version >/dev/null; cat a/b")
    (made.path / "config").write_text("by bundle\n")
    made.mount("a/b", "bind", "config", "bind")
    result = minirunc.run(made)
    assert (result.status, result.out) == (0, "by bundle\n")
    assert result.err.count("\n") == 1
    assert (
        'level=warning msg="mount destination a/b is not absolute.'
        ' Support for non-absolute mount destinations will be removed in a future release."' in result.err
    )


def test_mounts_are_made_in_their_order(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts: MUST be made in the listed order: a later one covers, and a source below the rootfs sees earlier ones."""
    (tmp_path / "source").write_text("source\n")
    made = bundle("ls /a; cat /b/file; ls /c")
    made.mount("/a/covered", "tmpfs", "tmpfs")
    made.mount("/a", "tmpfs", "tmpfs")
    made.mount("/b", "tmpfs", "tmpfs")
    made.mount("/b/file", "bind", str(tmp_path / "source"), "bind")
    made.mount("/c", "bind", "rootfs/b", "bind")
    assert minirunc.run(made) == (0, "source\nfile\n", "")


def test_more_mounts_than_the_runtime_may_have_files(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts: as many as there are; each lets go of its files."""
    minirunc.prefix = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    made = bundle("grep -c ' /m/' /proc/self/mountinfo")
    made.process["rlimits"] = []
    (made.path / "file").touch()
    for index in range(100):
        made.mount(f"/m/file{index}", "bind", "file", "bind", "ro")
        made.mount(f"/m/{index}", "tmpfs", "tmpfs", "nodev")
    assert minirunc.run(made) == (0, "200\n", "")


def test_paths_of_any_characters(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts: blanks, line ends, quotes, backslashes and letters of any script in destination and source."""
    name = "a b\n\\040\"'ä:,=*"
    made = bundle(["cat", f"/{name}/{name}"])
    (made.path / name).write_text("found\n")
    made.mount(f"/{name}", "tmpfs", name)
    made.mount(f"/{name}/{name}", "bind", name, "bind")
    assert minirunc.run(made) == (0, "found\n", "")


def test_root_of_the_host_is_bound(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """rbind of `/`: all of the host, as node exporters ask for it; read-only by rro."""
    made = bundle("cat /host/proc/version; touch /host/tmp/x /host/dev/shm/x; grep -c ' /host' /proc/self/mountinfo")
    made.mount("/host", "bind", "/", "rbind", "rslave", "rro")
    result = minirunc.run(made)
    version, count = result.out.splitlines()
    assert version == Path("/proc/version").read_text().strip()
    assert int(count) >= len(inside.mounts(Path("/proc/self/mountinfo").read_text()))
    assert result.err.splitlines() == [f"touch: /host/{name}/x: Read-only file system" for name in ("tmp", "dev/shm")]


def test_default_file_systems(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What `spec` lists: proc, tmpfs, devpts of its own, shm, mqueue, sysfs and cgroup2, with their options; usable."""
    made = bundle(f"""
        {MOUNTINFO}
        echo - $(stat -c %a /dev /dev/shm /dev/mqueue) $(ls /dev/pts) $(stat -c %a:%t,%T /dev/pts/ptmx)
        echo - $(cat /proc/1/comm) $(cat /sys/class/net/lo/ifindex) $(grep ^0: /proc/self/cgroup)
        ls /sys/fs/cgroup/cgroup.procs
        touch /dev/shm/file && touch /dev/mqueue/queue && ls /dev/shm /dev/mqueue
        touch /sys/kernel/x /sys/fs/cgroup/x
    """)
    result = minirunc.run(made)
    found = inside.mounts("\n".join(line for line in result.out.splitlines() if " - " in line))
    expected = {
        "/proc": ("proc", "proc", "rw,relatime", ""),
        "/dev": ("tmpfs", "tmpfs", "rw,nosuid", "size=65536k,mode=755"),
        "/dev/pts": ("devpts", "devpts", "rw,nosuid,noexec", "gid=5,mode=620,ptmxmode=666"),
        "/dev/shm": ("tmpfs", "shm", "rw,nosuid,noexec,nodev", "size=65536k"),
        "/dev/mqueue": ("mqueue", "mqueue", "rw,nosuid,noexec,nodev", ""),
        "/sys": ("sysfs", "sysfs", "ro,nosuid,noexec,nodev", ""),
        "/sys/fs/cgroup": ("cgroup2", "cgroup", "ro,nosuid,noexec,nodev,relatime", ""),
    }
    for point, (fs_type, source, options, superblock) in expected.items():
        mount = found[point]
        assert (mount.root, mount.fs_type, mount.source) == ("/", fs_type, source)
        assert words(options) <= mount.options, point
        assert words(superblock) <= mount.superblock, point
    assert not {"relatime", "noatime"} & found["/dev"].options  # strictatime
    assert [line for line in result.out.splitlines() if " - " not in line] == [
        "- 755 1777 1777 ptmx 666:5,2",
        "- sh 1 0::/",
        "/sys/fs/cgroup/cgroup.procs",
        "/dev/mqueue:",
        "queue",
        "",
        "/dev/shm:",
        "file",
    ]
    assert result.err.splitlines() == [
        "touch: /sys/kernel/x: Read-only file system",
        "touch: /sys/fs/cgroup/x: Read-only file system",
    ]


def test_mode_of_a_tmpfs(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """tmpfs: takes the mode of the directory it covers, the kernel's 1777 where that was missing; mode= wins."""
    made = bundle("stat -c %a /old /sticky /new /given /made; stat -c '%u:%g' /owned")
    for name, mode in (("old", 0o711), ("sticky", 0o3775), ("given", 0o711)):
        (made.rootfs / name).mkdir()
        (made.rootfs / name).chmod(mode)
    for name in ("old", "sticky", "new"):
        made.mount(f"/{name}", "tmpfs", "tmpfs")
    made.mount("/given", "tmpfs", "tmpfs", "mode=0750")
    made.mount("/made", "tmpfs", "tmpfs", "size=4k,mode=0700")
    made.mount("/owned", "tmpfs", "tmpfs", "uid=12", "gid=34")
    assert minirunc.run(made) == (0, "711\n3775\n1777\n750\n700\n12:34\n", "")
    assert [path.stat().st_mode & 0o7777 for path in (made.rootfs / "new", made.rootfs / "made")] == [0o755, 0o755]


def test_read_only_tmpfs_takes_what_is_mounted_in_it(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """tmpfs with `ro`, /dev too: targets and devices can still be made in it; it is read-only in the end."""
    made = bundle(f"{MOUNTINFO}; echo x >/dev/null; cat /ro/sub/file; touch /ro/x /dev/x /ro/dir/x")
    (made.path / "file").write_text("file\n")
    for mount in made.config["mounts"]:
        if mount["destination"] == "/dev":
            mount["options"].append("ro")
    made.mount("/ro", "tmpfs", "tmpfs", "ro")
    made.mount("/ro/sub/file", "bind", "file", "bind")
    made.mount("/ro/dir", "tmpfs", "tmpfs")
    result = minirunc.run(made)
    found = inside.mounts("\n".join(line for line in result.out.splitlines() if " - " in line))
    assert ["ro" in found[point].options for point in ("/ro", "/dev", "/ro/dir", "/ro/sub/file")] == [
        True,
        True,
        False,
        False,
    ]
    assert result.out.endswith("\nfile\n")
    assert result.err.splitlines() == [
        "touch: /ro/x: Read-only file system",
        "touch: /dev/x: Read-only file system",
    ]


def test_existing_mounts_are_remounted(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`remount` changes the file system, `bind,remount` the mount that stands there."""
    made = bundle()
    made.mount("/m/0", "tmpfs", "tmpfs", "size=64k")
    made.mount("/m/1", "tmpfs", "tmpfs")
    made.mount("/m/0", "tmpfs", "tmpfs", "remount", "ro", "size=32k")
    made.mount("/m/1", "none", "", "bind", "remount", "nosuid", "ro")
    found = seen(minirunc, made)
    assert words("ro,size=32k") <= found["/m/0"].superblock
    assert words("ro,nosuid") <= found["/m/1"].options
    assert "rw" in found["/m/1"].superblock


def test_allowed_files_of_proc_can_be_covered(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A mount into /proc: only onto the files that LXCFS and its like show anew."""
    names = ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg"]
    made = bundle(f"cd /proc; cat {' '.join(names)}")
    for name in names:
        (made.path / name).write_text(f"{name}\n")
        made.mount(f"/proc/{name}", "bind", name, "bind", "ro")
    result = minirunc.run(made)
    assert result.out.split() == names


PROC = {"destination": "/proc", "type": "proc", "source": "proc"}


def test_proc_may_be_a_bind_of_a_procfs(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """/proc: a bind mount of a procfs is as good as a new one."""
    made = bundle("cat /proc/version")
    made.config["mounts"].remove(PROC)
    made.without_namespace("pid")
    made.mount("/proc", "bind", "/proc", "rbind")
    result = minirunc.run(made)
    assert (result.status, result.out) == (0, Path("/proc/version").read_text())


NEW_PROC = "cannot be mounted because it is not of type proc"
REFUSED = {
    "into proc": (("/proc/sys", "tmpfs", "tmpfs"), '"/proc/sys" cannot be mounted because it is inside /proc'),
    "bind into proc": (("/proc/1/attr", "bind", "/tmp", "bind"), '"/proc/1/attr" cannot be mounted because it'),
    "link into proc": (("/alias/1", "tmpfs", "tmpfs"), '"/alias/1" cannot be mounted because it is inside /proc'),
    "dots into proc": (("/sys/../proc/fs", "tmpfs", "tmpfs"), 'because it is inside /proc'),
    "tmpfs on proc": (("/proc", "tmpfs", "tmpfs"), f'"/proc" {NEW_PROC}'),
    "bind on proc": (("/proc", "bind", "/tmp", "bind"), f'"/proc" {NEW_PROC}'),
    "proc by link": (("/plink", "proc", "proc"), 'filesystem "proc" must be mounted on ordinary directory'),
    "sysfs by link": (("/plink", "sysfs", "sysfs"), 'filesystem "sysfs" must be mounted on ordinary directory'),
    "proc below a link": (("/plink/x", "proc", "proc"), 'filesystem "proc" must be mounted on ordinary directory'),
    "proc on a file": (("/etc/passwd", "proc", "proc"), 'filesystem "proc" must be mounted on ordinary directory'),
    "root": (("/", "tmpfs", "tmpfs"), 'mountpoint "/" is on the top of rootfs'),
    "root by dots": (("/a/../..", "tmpfs", "tmpfs"), 'mountpoint "/a/../.." is on the top of rootfs'),
    "root by link": (("/top", "tmpfs", "tmpfs"), 'mountpoint "/top" is on the top of rootfs'),
    "root bound by link": (("/top", "bind", "/tmp", "bind"), 'mountpoint "/top" is on the top of rootfs'),
    "directory onto file": (("/etc/passwd", "bind", "/tmp", "bind"), "not a directory"),
    "file onto directory": (("/etc", "bind", "/etc/passwd", "bind"), "not a directory"),
    "tmpfs onto file": (("/etc/passwd", "tmpfs", "tmpfs"), "not a directory"),
    "below a file": (("/etc/passwd/x", "tmpfs", "tmpfs"), "not a directory"),
    "link loop": (("/loop/x", "tmpfs", "tmpfs"), "too many levels of symbolic links"),
    "missing source": (("/x", "bind", "/no/such/source", "bind"), 'no such file or directory'),
    "unknown option": (("/x", "tmpfs", "tmpfs", "nodev,bogus"), "tmpfs: Unknown parameter 'bogus'"),
    "unknown option with value": (("/x", "tmpfs", "tmpfs", "bogus=1"), "tmpfs: Unknown parameter 'bogus'"),
    "bad value": (("/x", "tmpfs", "tmpfs", "size=lots"), "tmpfs: Bad value for 'size'"),
    "unknown type": (("/x", "nosuchfs", "none"), "no such device"),
    "type bind alone": (("/x", "bind", "/tmp"), "no such device"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_mount_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle], case: str) -> None:
    """mounts: what cannot be, or would lead out of the root or into procfs, ends in one error that names the mount."""
    (destination, kind, source, *options), why = REFUSED[case]
    made = bundle()
    (made.rootfs / "alias").symlink_to("proc")
    (made.rootfs / "real").mkdir()
    (made.rootfs / "plink").symlink_to("real")
    (made.rootfs / "top").symlink_to("/")
    (made.rootfs / "loop").symlink_to("loop")
    if destination == "/proc":
        made.config["mounts"].remove(PROC)
    made.mount(destination, kind, source, *(words(",".join(options)) and options[0].split(",")))
    place = (
        "unable to start container process: error during container init: "
        f'error mounting \\"{source}\\" to rootfs at \\"{destination}\\" (mounts[{len(made.config["mounts"]) - 1}]): '
    )
    err = refusal(minirunc, made)
    assert place + why.replace('"', '\\"') in err or (place in err and why.replace('"', '\\"') in err)
    assert err.count("\n") == 1


def test_proc_behind_a_link_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """/proc that an image made a link (CVE-2019-19921): refused, nothing is mounted where it leads."""
    made = bundle()
    (made.rootfs / "proc").rmdir()
    (made.rootfs / "proc").symlink_to("tmp")
    assert 'filesystem \\"proc\\" must be mounted on ordinary directory' in refusal(minirunc, made)


def test_links_lead_nowhere_outside(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A destination behind links of the image: found below the root, whatever they say."""
    outside = tmp_path / "outside"
    outside.mkdir()
    made = bundle("cat /absolute/file /climbing/file")
    (made.path / "file").write_text("file\n")
    (made.rootfs / "absolute").symlink_to(outside)
    (made.rootfs / "climbing").symlink_to("../../../../../../../.." + str(outside))
    made.mount("/absolute/file", "bind", "file", "bind")
    made.mount("/climbing/file", "bind", "file", "bind")
    assert minirunc.run(made) == (0, "file\nfile\n", "")
    assert os.listdir(outside) == []


def overlay(made: Bundle, count: int) -> str:
    """Lower directories made in the bundle, and the option that names them."""
    lower = []
    for index in range(count):
        directory = made.path / f"lower-{'x' * 40}-{index}"
        directory.mkdir()
        (directory / f"file{index}").write_text(f"{index}\n")
        lower.append(str(directory))
    (made.path / "upper").mkdir()
    (made.path / "work").mkdir()
    return f"lowerdir={':'.join(lower)}"


@pytest.mark.parametrize("count", [1, 8])
def test_overlay_with_options_of_any_length(minirunc: Runtime, bundle: Callable[..., Bundle], count: int) -> None:
    """overlay: its lowerdir is often beyond the 255 bytes of fsconfig(2); attributes and propagation are had, too."""
    made = bundle(f"cat /merged/file*; {MOUNTINFO}")
    lower = overlay(made, count)
    dirs = (f"upperdir={made.path}/upper", f"workdir={made.path}/work")
    made.mount("/merged", "overlay", "overlay", "nosuid", "rnoexec", "rshared", lower, *dirs)
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    found = inside.mounts("\n".join(result.out.splitlines()[count:]))["/merged"]
    assert result.out.splitlines()[:count] == [str(index) for index in range(count)]
    assert (found.fs_type, found.source, set(found.tags)) == ("overlay", "overlay", {"shared"})
    assert words("rw,nosuid,noexec") <= found.options


def test_long_overlay_option_that_is_wrong(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """overlay: the kernel's no is told with the options."""
    made = bundle()
    made.mount("/merged", "overlay", "overlay", f"lowerdir=/{'x' * 100}:/{'y' * 200}")
    assert "no such file or directory" in refusal(minirunc, made)


def test_tmpcopyup_copies_what_it_covers(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """tmpcopyup: the new tmpfs holds a copy of the covered tree: modes, owners, links as links; the original stays."""
    made = bundle("""
        cd /data && find . | sort | xargs stat -c '%n %F %a %u:%g'
        cat text sub/deep; readlink absolute; readlink out; head -c 1 zero | wc -c; wc -c <big
        ls -i hard text | awk '{print $1}' | uniq | wc -l
        stat -c '%Y' text; grep ' /data ' /proc/self/mountinfo | grep -o 'ro,.*tmpfs tmpfs'
        echo changed 2>/dev/null >/again/text; cat /again/text
    """)
    made.process["capabilities"] = {name: ["CAP_DAC_OVERRIDE"] for name in ("bounding", "permitted", "effective")}
    data = made.rootfs / "data"
    (data / "sub").mkdir(parents=True)
    (data / "text").write_text("text\n")
    (data / "sub/deep").write_text("deep\n")
    (data / "big").write_bytes(os.urandom(3 << 20))
    (data / "absolute").symlink_to("/etc/passwd")
    (data / "out").symlink_to("../../../../../etc/shadow")
    (data / "dirlink").symlink_to("sub")
    (data / "hard").hardlink_to(data / "text")
    os.mkfifo(data / "fifo", 0o600)
    os.mknod(data / "zero", 0o20644, os.makedev(1, 5))
    os.chown(data / "sub", 12, 34)
    os.chown(data / "text", 1000, 1000)
    os.chown(data / "absolute", 7, 8, follow_symlinks=False)
    for name, mode in (("sub", 0o2750), ("text", 0o4711), ("sub/deep", 0o640), ("", 0o751), ("big", 0o600)):
        (data / name).chmod(mode)
    os.utime(data / "text", (1000000000, 1000000000))
    made.mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "ro")
    made.rootfs.joinpath("again").mkdir()
    (made.rootfs / "again/text").write_text("original\n")
    made.mount("/again", "tmpfs", "tmpfs", "tmpcopyup", "size=64k")
    made.mount("/absent", "tmpfs", "tmpfs", "tmpcopyup")
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines() == [
        ". directory 751 0:0",
        "./absolute symbolic link 777 7:8",
        "./big regular file 600 0:0",
        "./dirlink symbolic link 777 0:0",
        "./fifo fifo 600 0:0",
        "./hard regular file 4711 1000:1000",
        "./out symbolic link 777 0:0",
        "./sub directory 2750 12:34",
        "./sub/deep regular file 640 0:0",
        "./text regular file 4711 1000:1000",
        "./zero character special file 644 0:0",
        "text",
        "deep",
        "/etc/passwd",
        "../../../../../etc/shadow",
        "1",
        str(3 << 20),
        "1",
        "1000000000",
        "ro,relatime - tmpfs tmpfs",
        "changed",
    ]
    assert (made.rootfs / "again/text").read_text() == "original\n"


def test_tmpcopyup_into_too_small_a_tmpfs(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """tmpcopyup: what does not fit ends the birth with an error that names the file."""
    made = bundle()
    (made.rootfs / "data").mkdir()
    (made.rootfs / "data/big").write_bytes(bytes(1 << 20))
    made.mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "size=64k")
    err = refusal(minirunc, made)
    assert "tmpcopyup: big: no space left on device" in err


def test_tmpcopyup_of_a_deep_tree(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """tmpcopyup: an image may have directories below each other without end; they take neither files nor stack."""
    made = bundle("find /data -maxdepth 500 | wc -l")
    data = made.rootfs / "data"
    data.mkdir()
    here = os.open(data, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    made.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    try:
        assert minirunc.run(made) == (0, "501\n", "")
    finally:
        subprocess.run(["rm", "-rf", data], check=True)  # deeper than Python's own would go


def test_tmpcopyup_crosses_no_mount(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """tmpcopyup: what is mounted below is another file system, and would be hidden: refused."""
    made = bundle()
    made.mount("/data/below", "tmpfs", "tmpfs")
    made.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    assert "tmpcopyup: below: invalid cross-device link" in refusal(minirunc, made)


def test_tmpcopyup_in_a_user_namespace(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """tmpcopyup: owners are those seen inside."""
    made = bundle("stat -c '%n %a %u:%g' /data /data/file; cat /data/file")
    (made.rootfs / "data").mkdir(mode=0o700)
    (made.rootfs / "data/file").write_text("file\n")
    mapped(made)
    os.chown(made.rootfs / "data/file", 101000, 100007)
    made.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    assert minirunc.run(made) == (0, "/data 700 0:0\n/data/file 644 1000:7\nfile\n", "")


def test_flags_locked_by_the_host_stay(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """In a user namespace a bind mount keeps the flags the host mounted its source with; clearing one is refused."""
    source = tmp_path / "source"
    source.mkdir()
    script = f'mount -t tmpfs -o nosuid,nodev,noexec,ro t {source} && exec "$@"'
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    made = mapped(bundle())
    made.mount("/bound", "bind", str(source), "bind", "ro")
    assert words("ro,nosuid,nodev,noexec") <= seen(minirunc, made)["/bound"].options
    made.config["mounts"][-1]["options"] = ["bind", "suid"]
    assert "operation not permitted" in refusal(minirunc, made)


def test_nothing_is_mounted_on_the_host(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """All of it happens in the container's mount namespace: the host's mountinfo is unchanged while it runs."""
    made = bundle("exec sleep 1000")
    made.mount("/m", "tmpfs", "tmpfs")
    before = leftovers.host_mounts(made.path)
    subprocess.run(["nsenter", "-t", str(minirunc.pid(minirunc.start(made))), "-m", "/bin/ls", "/m"], check=True)
    assert leftovers.host_mounts(made.path) == before
