"""What a caller is handed when a process is there: the terminal's master and a pidfd by socket, the pid by file."""

import posix
from struct import pack

from minirunc.base.errors import ConfigError, Error
from minirunc.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from minirunc.config.process import Process
    from minirunc.container.birth import Options

EBADF = 9
SOCK_STREAM, SOCK_DGRAM = 1, 2
_SUN_PATH = 107  # bytes a socket's path may have


def connected(path: str, timeout_s: int = 0, kind: int = SOCK_STREAM) -> "socket":
    """A connection to who listens there; raises OSError, EAGAIN if he takes none within the time, if one is given."""
    from _socket import AF_UNIX, SO_SNDTIMEO, SOL_SOCKET, socket

    where = -1
    connection = socket(AF_UNIX, kind)
    try:
        connection.setsockopt(SOL_SOCKET, SO_SNDTIMEO, pack("<2q", timeout_s, 0))
        address = path.encode("utf-8", "surrogateescape")
        if len(address) > _SUN_PATH and not address.startswith(b"\0"):  # an fd of the socket is short
            where = posix.open(address, posix.O_PATH | posix.O_CLOEXEC)
            address = b"/proc/self/fd/%d" % where
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    finally:
        if where >= 0:
            posix.close(where)
    return connection


def send_fd(path: str, payload: bytes, fd: int) -> None:
    """One message with one fd to whoever listens there: runc's protocol for --console-socket and --pidfd-socket."""
    try:
        connection = connected(path)
        try:
            send_message(connection, payload, fd)
        finally:
            connection.close()
    except OSError as error:
        raise Error(f"socket {path}: {posix.strerror(error.errno or 0).lower()}") from None


def send_message(connection: "socket", payload: bytes, *fds: int) -> None:
    """One message with its fds; raises OSError."""
    rights = pack(f"<{len(fds)}i", *fds)
    connection.sendmsg([payload], [(1, 1, rights)] if fds else [])  # SOL_SOCKET, SCM_RIGHTS


def check_terminal(process: "Process", options: "Options") -> None:
    """Whether a terminal that is wanted will be taken, and one that is waited for will come."""
    if process.terminal and not options.takes_terminal:
        why = "cannot allocate tty if minirunc will detach without setting console socket"
        raise ConfigError("process.terminal", why)
    if options.console_socket and not process.terminal:
        raise Error("cannot use console socket if minirunc will not detach or allocate tty")


def give_terminal(master: int, console_socket: str) -> int | None:
    """Send the pty's master away and let go of it, or make it ready for us; returns what we keep."""
    if not console_socket:
        from minirunc.container import relay

        relay.prepare(master)
        return master
    send_fd(console_socket, b"/dev/ptmx", master)
    posix.close(master)
    return None


def send_pidfd(path: str, payload: bytes, pid: int, base: str = "") -> None:
    """A pidfd of the process to --pidfd-socket, or to what an annotation names; a relative path is below `base`."""
    if base and not path.startswith("/"):
        path = f"{base}/{path}"
    pidfd = procfs.pidfd(pid)
    try:
        send_fd(path, payload, pidfd)
    finally:
        posix.close(pidfd)


def write_pid_file(path: str, pid: int) -> None:
    """Bare digits, written aside and renamed: callers read it the moment it is there."""
    directory, slash, name = path.rpartition("/")
    aside = f"{directory}{slash}.{name}"
    try:
        try:
            posix.unlink(aside)  # of one that was killed here
        except FileNotFoundError:
            pass
        fd = posix.open(aside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_SYNC | posix.O_CLOEXEC, 0o666)
        try:
            posix.write(fd, str(pid).encode())
        finally:
            posix.close(fd)
        try:
            posix.rename(aside, path)
        except OSError:
            posix.unlink(aside)
            raise
    except OSError as error:
        raise Error(f"pid file {path}: {posix.strerror(error.errno or 0).lower()}") from None


def check_preserved(count: int) -> None:
    """Each fd from 3 on that the process is to keep must be open."""
    for number in range(count):
        try:
            # What came with the execve of this program cannot be close-on-exec: such a file is our own.
            if not posix.get_inheritable(3 + number):
                raise OSError(EBADF, "")
        except OSError as error:
            why = posix.strerror(error.errno or 0).lower()
            raise Error(f"unable to stat preserved-fd {number} (of {count}): {why}") from None


def listen_fds() -> int:
    """How many sockets the caller activated, if for this process (sd_listen_fds(3)); they come first, from 3 on."""
    try:
        if int(posix.environ.get(b"LISTEN_PID", b"0")) != posix.getpid():
            return 0
        return max(0, int(posix.environ.get(b"LISTEN_FDS", b"0")))
    except ValueError:
        return 0


def activated(sockets: int) -> list[str]:
    """What the process is told of them; LISTEN_PID is to be its own."""
    told = [f"LISTEN_FDS={sockets}", "LISTEN_PID="] if sockets else []
    names = posix.environ.get(b"LISTEN_FDNAMES")
    if told and names is not None:
        told.append(f"LISTEN_FDNAMES={names.decode('utf-8', 'surrogateescape')}")
    return told


def watchdog() -> list[str]:
    """What the process is told of a watchdog that waits for us, who pass its WATCHDOG=1 on: sd_watchdog_enabled(3)."""
    every_us = posix.environ.get(b"WATCHDOG_USEC", b"")
    ours = posix.environ.get(b"WATCHDOG_PID", b"") in (b"", str(posix.getpid()).encode())
    if not (ours and every_us.isdigit() and notify_socket()):
        return []
    return [f"WATCHDOG_USEC={every_us.decode()}", "WATCHDOG_PID="]


def notify_socket() -> str:
    """Where who called us wants to be told that a service is ready (sd_notify(3)); "" for nowhere.

    What is neither a path nor an abstract name, as a vsock: that is for a virtual machine's host, is not passed on.
    """
    named = posix.environ.get(b"NOTIFY_SOCKET", b"").decode("utf-8", "surrogateescape")
    return named if named[:1] in ("/", "@") else ""


def absolute(path: str) -> str:
    """The path seen from the root, without `.` and `..` and double slashes."""
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{posix.getcwd()}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
