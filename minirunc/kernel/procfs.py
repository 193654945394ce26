"""The only code that opens /proc: from outside files of a pid, inside by a procfs nobody can cover."""

import posix

from minirunc.base import files
from minirunc.base.errors import Error, SecurityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.kernel.hand import Batch, Hand
    from minirunc.kernel.syscalls import Fd

_FLAGS = posix.O_NOFOLLOW | posix.O_CLOEXEC
_PF_EXITING = 4
_ROOT_INODE = 1  # PROC_ROOT_INO
_checked: list[int] = []  # the device of /proc, once it was looked at


class Stat:
    """What proc(5) stat says of a process: its start time in clock ticks after boot, and whether it has ended."""

    __slots__ = ("ended", "start")

    def __init__(self, start: int, *, ended: bool) -> None:
        self.start = start
        self.ended = ended


def stat(pid: int) -> Stat | None:
    """The process `pid`, or None if there is none."""
    try:
        text = read(f"{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    # PF_EXITING: the first process of a pid namespace stays so until the others there have been waited for.
    return Stat(int(fields[19]), ended=fields[0] in "ZX" or bool(int(fields[6]) & _PF_EXITING))


def _open(name: str, flags: int) -> int:
    """An fd of /proc/<name>, which must be a file of that very procfs, no link and nothing mounted over it."""
    fd = posix.open(f"/proc/{name}", flags | _FLAGS)
    device = posix.fstat(fd).st_dev
    if device not in _checked and device != _check():
        posix.close(fd)
        raise SecurityError(f"/proc/{name} is not a file of the procfs on /proc: something is mounted over it")
    return fd


def _check() -> int:
    """The device of the procfs on /proc, seen to be one, and of our own pid namespace."""
    found = posix.stat("/proc", follow_symlinks=False)
    try:
        us = posix.readlink("/proc/self")
    except OSError:
        us = ""
    if found.st_ino != _ROOT_INODE or us != str(posix.getpid()):
        raise SecurityError("what is mounted on /proc is not the procfs of this pid namespace")
    _checked[:] = [found.st_dev]
    return found.st_dev


def read(name: str) -> str:
    """The text of /proc/<name>."""
    return files.read_open(_open(name, posix.O_RDONLY), f"/proc/{name}").decode("utf-8", "surrogateescape")


def write(name: str, value: str) -> None:
    """Write /proc/<name> with one write(2), as uid_map and its like demand."""
    fd = _open(name, posix.O_WRONLY)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)


def namespace(process: int | str, kind: str) -> int:
    """An fd of a namespace of a process: "net"; of our own thread, which may be elsewhere, for "thread-self"."""
    directory = _open(f"{process}/ns", posix.O_PATH | posix.O_DIRECTORY)
    try:
        return posix.open(kind, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=directory)
    finally:
        posix.close(directory)


def open_in_mount_ns(pid: int, on_host: str, flags: int = 0) -> int:
    """An O_PATH fd of a path in the mount namespace of `pid`, walked to with our rights, not those of `pid`.

    By its root as /proc shows it, so that the mount found is of that namespace, with the flags locked there.
    """
    from minirunc.kernel.constants import RESOLVE_IN_ROOT
    from minirunc.kernel.syscalls import local

    root = posix.open(f"/proc/{pid}/root", posix.O_PATH | posix.O_CLOEXEC)
    try:
        return int(local().openat2(root, on_host, posix.O_PATH | posix.O_CLOEXEC | flags, RESOLVE_IN_ROOT))
    finally:
        posix.close(root)


def private(hand: "Hand", root: int) -> int:
    """The hand's fd of a procfs to write by, inside: a new one, never attached, so that nobody can mount over it.

    Where a new one is denied (a user namespace on a host whose /proc is masked) the mounted one, if it is a whole
    procfs; what is mounted over its files `below` refuses (CVE-2019-16884, CVE-2025-52881).
    """
    from minirunc.kernel.constants import (
        AT_EMPTY_PATH,
        FSCONFIG_CMD_CREATE,
        FSMOUNT_CLOEXEC,
        FSOPEN_CLOEXEC,
        O_CLOEXEC,
        O_DIRECTORY,
        O_PATH,
        PROC_SUPER_MAGIC,
        RESOLVE_BENEATH,
        RESOLVE_NO_SYMLINKS,
        STATX_BASIC_STATS,
    )
    from minirunc.kernel.syscalls import Out

    with hand.batch() as do:
        fs = do.tolerate(do.fsopen("proc", FSOPEN_CLOEXEC))
        do.tolerate(do.fsconfig(fs, FSCONFIG_CMD_CREATE, None, None))
        proc = do.tolerate(do.fsmount(fs, FSMOUNT_CLOEXEC, 0))
        do.tolerate(do.close(fs))
    if int(proc) >= 0:
        return int(proc)
    magic, stat = Out(120), Out(256)
    with hand.batch() as do:
        proc = do.openat2(root, "proc", O_PATH | O_DIRECTORY | O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        do.fstatfs(proc, magic)
        do.statx(proc, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat)
    inode = int.from_bytes(stat.data[32:40], "little")
    if int.from_bytes(magic.data[:8], "little") != PROC_SUPER_MAGIC or inode != _ROOT_INODE:
        raise SecurityError("/proc in the container is not a procfs, and a new one is denied: nothing can be set there")
    return int(proc)


def below(do: "Batch", proc: "Fd", name: str, flags: int) -> "Fd":
    """Open a file of the procfs that `private` gave, never one that is mounted over it; EXDEV if there is one."""
    from minirunc.kernel.constants import O_CLOEXEC, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV

    return do.openat2(proc, name, flags | O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)


def write_id_map(pid: int, kind: str, text: str) -> None:
    """Write uid_map or gid_map (`kind` is "uid" or "gid"), by newuidmap(1) or newgidmap(1) where the kernel refuses us.

    Without CAP_SETGID setgroups(2) has to be given up first (user_namespaces(7), CVE-2014-8989).
    """
    try:
        write(f"{pid}/{kind}_map", text)
        return
    except PermissionError:
        if posix.geteuid() == 0:
            from minirunc.kernel import subids

            subids.check_mapped(kind, _wanted(text))
            raise
    from minirunc.base.seams import subprocess

    if text.count("\n") == 1 and text.split()[1:] == [str(getattr(posix, f"get{kind}")()), "1"]:
        if kind == "gid":
            write(f"{pid}/setgroups", "deny")
        write(f"{pid}/{kind}_map", text)
        return
    try:
        done = subprocess().run([f"new{kind}map", str(pid), *text.split()], capture_output=True, check=False)
    except FileNotFoundError:
        raise Error(f"mapping more than your own {kind} needs new{kind}map (Debian package uidmap)") from None
    if done.returncode:
        from minirunc.kernel import subids

        said = done.stderr.decode(errors="replace").strip()
        raise Error(f"new{kind}map: {said}{subids.hint(kind, _wanted(text))}")


def _wanted(text: str) -> list[tuple[int, int]]:
    """The (first, count) outside of each line of an id map."""
    words = text.split()
    return [(int(first), int(count)) for first, count in zip(words[1::3], words[2::3], strict=True)]


def is_host_root() -> bool:
    """Whether we are root of the machine: of the user namespace that maps all ids to themselves."""
    return posix.geteuid() == 0 and read("self/uid_map").split() == ["0", "0", str(2**32 - 1)]


def pidfd(pid: int) -> int:
    """A pidfd of a process; raises ProcessLookupError if there is none, SyscallError for all else."""
    try:
        return posix.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError as error:
        from minirunc.kernel.syscalls import refusal

        raise refusal("pidfd_open", str(pid), error) from None


def send_signal(fd: int, number: int) -> None:
    """Send a signal by a pidfd; raises as `pidfd` does."""
    from _signal import pidfd_send_signal  # type: ignore[import-not-found] # the C core: `signal` costs 4 ms

    try:
        pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise
    except OSError as error:
        from minirunc.kernel.syscalls import refusal

        raise refusal("pidfd_send_signal", f"{fd}, {number}", error) from None


def ns_pid(pid: int) -> int:
    """The pid as the process's own pid namespace counts it: the last number of NSpid (proc_pid_status(5))."""
    return _status(pid, "NSpid:")


def process_of(tid: int) -> int:
    """The pid of the process that a thread is of; its own id where it has ended."""
    try:
        return _status(tid, "Tgid:")
    except (FileNotFoundError, ProcessLookupError):
        return tid


def _status(pid: int, key: str) -> int:
    # Its name, which comes first, may hold what str.splitlines() takes for the end of a line.
    for line in read(f"{pid}/status").split("\n"):
        if line.startswith(key):
            return int(line.split()[-1])
    return pid


def name(pid: int) -> str:
    """What the process calls itself, its program's name as a rule (proc_pid_comm(5)); "" where it has ended."""
    try:
        return read(f"{pid}/comm").removesuffix("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def described(pid: int) -> str:
    """A process as a person would look for it: pid, name, state as in ps(1); the pid alone where it has ended."""
    try:
        text = read(f"{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return str(pid)
    name, _, rest = text.partition("(")[2].rpartition(")")
    return f"{pid} ({name}, state {rest.split()[0]})"


def survivors(pids: list[int]) -> str:
    """Those that SIGKILL has not ended, for an error; and what to do about one that no signal reaches."""
    told = ", ".join(map(described, pids)) or "what was in it"
    hint = "; state D waits for a device or a file system: delete again when that has answered"
    return told + hint * (", state D)" in told)


def mounts_of(pid: int, fs_types: tuple[str, ...], beside: str) -> list[str]:
    """Mount points of these file systems in the mount namespace of `pid`, deepest first, but none below `beside`."""
    found = []
    for line in read(f"{pid}/mountinfo").rstrip("\n").split("\n"):
        fields = line.split(" ")  # names may hold other blanks
        point = _unescaped(fields[4])
        if fields[fields.index("-") + 1] in fs_types and not f"{point}/".startswith(f"{beside}/"):
            found.append(point)
    return found[::-1]


def _unescaped(word: str) -> str:
    """A word of mountinfo, in which a blank stands as \\040 (proc_pid_mountinfo(5))."""
    first, *escaped = word.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in escaped)
