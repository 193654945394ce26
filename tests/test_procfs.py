"""kernel/procfs.py: what /proc says, of processes that would have it say something else."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirunc.base.errors import SecurityError, SyscallError
from minirunc.kernel import procfs
from minirunc.kernel.constants import (
    AT_FDCWD,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MS_BIND,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    O_RDONLY,
)
from minirunc.kernel.hand import Hand
from tests.ground import hands

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def process() -> Iterator[Callable[..., int]]:
    """Start a program that says a line when it is ready, and waits: its pid."""
    started = []

    def start(*argv: str) -> int:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        with process:
            process.stdin.close()


@pytest.mark.parametrize("name", ["plain", "a b", ") R 1 (", "x) Z 0 0", "\n", ")", "\udcff"])
def test_stat_is_read_behind_the_name(process: Callable[..., int], tmp_path: Path, name: str) -> None:
    """A process is named as it likes, in parentheses between pid and status."""
    (tmp_path / name).symlink_to("/bin/sh")
    pid = process(os.fspath(tmp_path / name), "-c", "echo; read _")
    assert name.strip("\n") in Path(f"/proc/{pid}/stat").read_text(errors="surrogateescape")
    found = procfs.stat(pid)
    assert found is not None
    after_boot_s = float(Path("/proc/uptime").read_text().split()[0])
    assert not found.ended
    assert 0 <= after_boot_s - found.start / os.sysconf("SC_CLK_TCK") < 60


def test_stat_of_nobody_is_none() -> None:
    """Neither before it was there nor after it was reaped."""
    child = hands.bystander()
    living = procfs.stat(child)
    os.kill(child, 9)
    hands.wait_until_ended(child)
    dead = procfs.stat(child)
    os.waitpid(child, 0)
    assert living is not None
    assert dead is not None
    assert (living.ended, dead.ended, dead.start) == (False, True, living.start)
    assert procfs.stat(child) is None
    assert procfs.stat(2**22) is None


def test_ns_pid_is_that_of_the_innermost_namespace(process: Callable[..., int]) -> None:
    """As the process itself sees it."""
    outer = process("unshare", "--pid", "--fork", "sh", "-c", "echo; read _")
    inner = int(Path(f"/proc/{outer}/task/{outer}/children").read_text())
    assert [procfs.ns_pid(outer), procfs.ns_pid(inner)] == [outer, 1]


NAMES = [
    "plain",
    "two words",
    "tab\tnewline\nback\\slash",
    "#",
    "é",
    "\udcff\udcfe",
    "\x0b\x0c\x1c\x85\u2028\xa0",
    r"\040",
]


@pytest.mark.parametrize("name", NAMES)
def test_mounts_are_found_whatever_their_names(process: Callable[..., int], tmp_path: Path, name: str) -> None:
    """Blanks are escaped, all else stands there as it is; the process named them."""
    target = tmp_path / name
    target.mkdir()
    pid = process("unshare", "-m", "sh", "-c", 'mount -t ramfs "$1" "$1" && echo; read _', "sh", os.fspath(target))
    assert procfs.mounts_of(pid, ("ramfs",), beside="/nowhere") == [str(target)]
    assert procfs.mounts_of(pid, ("ramfs",), beside=str(tmp_path)) == []
    assert procfs.mounts_of(pid, ("ext9",), beside="/nowhere") == []


def test_mounts_are_told_deepest_first(process: Callable[..., int], tmp_path: Path) -> None:
    """In the order in which they can be unmounted."""
    script = 'cd "$1" && mkdir a && mount -t ramfs x a && mkdir a/b && mount -t ramfs x a/b && echo; read _'
    pid = process("unshare", "-m", "sh", "-c", script, "sh", str(tmp_path))
    assert procfs.mounts_of(pid, ("ramfs",), beside="/nowhere") == [f"{tmp_path}/a/b", f"{tmp_path}/a"]


def test_links_are_not_followed() -> None:
    """/proc/PID/exe and the like are no text of /proc's."""
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        procfs.read("self/exe")


def test_pid_inside_is_not_what_the_name_says(process: Callable[..., int]) -> None:
    """The name is the first line of status, and Python takes a vertical tab in it for a line's end."""
    pid = process(
        "python3", "-c", "import ctypes; ctypes.CDLL(None).prctl(15, b'\\x0bNSpid:\\t7'); print(flush=True); input()"
    )
    assert procfs.ns_pid(pid) == pid


# --- a procfs to write by, inside ---

EXDEV = 18


def open_below(hand: Hand, proc: int, name: str) -> str:
    """What the hand opened there, as the kernel names it."""
    with hand.batch() as do:
        file = procfs.below(do, proc, name, O_RDONLY)
    return os.readlink(f"/proc/{hand.pid}/fd/{int(file)}")


def without_new_procfs(hand: Hand) -> int:
    """Have the hand where it may mount, but no new procfs: its root."""
    with hand.batch() as do:
        do.unshare(CLONE_NEWUSER | CLONE_NEWNS)
        root = do.openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC)
    return int(root)


def test_private_procfs_is_nobody_elses(hand: Hand) -> None:
    """CVE-2025-52881: what is mounted over files of the /proc that all see is not there."""
    with hand.batch() as do:
        do.unshare(CLONE_NEWNS)
        root = do.openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC)
        do.mount("/dev/null", "/proc/version", None, MS_BIND)
    proc = procfs.private(hand, int(root))
    assert open_below(hand, proc, "version") == "/version"
    assert open_below(hand, proc, "thread-self/attr/current").endswith("/attr/current")


def test_where_no_new_procfs_is_allowed_files_mounted_over_are_refused(hand: Hand) -> None:
    """Then the mounted one serves, by files of its own alone."""
    root = without_new_procfs(hand)
    with hand.batch() as do:
        do.mount("/dev/null", "/proc/version", None, MS_BIND)
        do.mount("/tmp", "/proc/sys/fs", None, MS_BIND)
    proc = procfs.private(hand, root)
    assert open_below(hand, proc, "sys/kernel/hostname") == "/proc/sys/kernel/hostname"
    assert open_below(hand, proc, "self/status") == f"/proc/{hand.pid}/status"
    for name in ("version", "sys/fs/file-nr", "self/root", "self/exe", "self/fd/0", "../etc/passwd"):
        with pytest.raises(SyscallError) as caught:
            open_below(hand, proc, name)
        assert caught.value.errno in (EXDEV, 40), name


@pytest.mark.parametrize("forged", ["/tmp", "/proc/sys", "/sys"])
def test_where_no_new_procfs_is_allowed_a_forged_one_is_refused(hand: Hand, forged: str) -> None:
    """CVE-2019-16884: another file system, and a directory of a procfs, are not /proc."""
    root = without_new_procfs(hand)
    with hand.batch() as do:
        do.mount(forged, "/proc", None, MS_BIND | 0x4000)
    with pytest.raises(SecurityError, match="/proc in the container is not a procfs"):
        procfs.private(hand, root)


# --- the host's /proc ---

READER = """
from minirunc.kernel import procfs
for name in ("self/stat", "self/status"):
    try:
        print(name, len(procfs.read(name)) > 100)
    except Exception as error:
        print(error)
"""
OVER = "/proc/self/status is not a file of the procfs on /proc: something is mounted over it"
FORGED = "what is mounted on /proc is not the procfs of this pid namespace"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("true", ["self/stat True", "self/status True"]),
        ("mount --bind /etc/passwd /proc/$$/status", ["self/stat True", OVER]),
        ("mount -t tmpfs forged /tmp && mkdir /tmp/self && cp /proc/self/stat* /tmp/self && mount --move /tmp /proc",
         [FORGED, FORGED]),
    ],
    ids=["as it is", "a file mounted over", "another file system"],
)  # fmt: skip
def test_host_proc_is_looked_at_before_it_is_believed(script: str, said: list[str]) -> None:
    """Start times, namespaces and id maps are read and written there."""
    prefix = ("unshare", "-m", "sh", "-c", script + ' && exec "$@"', "sh")
    with hands.python(READER, prefix=prefix) as process:
        process.stdin.close()
        assert process.stdout.read().splitlines() == said


def test_proc_of_another_pid_namespace_is_refused() -> None:
    """Its numbers name others."""
    with hands.python(READER, prefix=("unshare", "--pid", "--fork")) as process:
        process.stdin.close()
        assert process.stdout.read().splitlines() == [FORGED, FORGED]
