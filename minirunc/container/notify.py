"""NOTIFY_SOCKET: what the container's process tells its service manager goes through a socket of ours.

    create, run    <state>/notify is mounted at /run/notify, read-only; the process has the name of a socket in it
    start, run     listen there before the process begins, and pass on what a service may say of itself
    process        READY=1 ...   -->   minirunc: READY=1, MAINPID=...   -->   the manager

So no container gets the manager's own socket, where it could name another main process or have files kept. `run` in the
foreground is the service's main process and passes on all its life; `start` and a detached `run` are done when the
process is ready or has ended. Imported only where NOTIFY_SOCKET is set. Source: sd_notify(3), systemd.service(5) Type=.
"""

import posix
from select import POLLIN, poll

from minirunc.base import log
from minirunc.config import Config
from minirunc.config.mounts import Mount
from minirunc.container import foreground, handover
from minirunc.container.store import Store
from minirunc.kernel.constants import O_CLOEXEC, O_DIRECTORY, O_NONBLOCK, O_PATH
from minirunc.kernel.syscalls import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from minirunc.container.birth import Options

DIRECTORY, NAME = "notify", "notify.sock"
INSIDE = f"/run/{DIRECTORY}"
_LONGEST = 4096  # bytes of a message
_BARRIER_S = 30
_PASSED = frozenset(
    b"READY RELOADING MONOTONIC_USEC STOPPING STATUS ERRNO BUSERROR WATCHDOG EXTEND_TIMEOUT_USEC".split()
)


def prepare(config: Config, store: Store, options: "Options") -> "Proxy | None":
    """Make the directory, and have it mounted and named to the process; listen there, unless `start` will.

    The container's user may send to what is there, and not change it.
    """
    directory = store.path(DIRECTORY)
    posix.mkdir(directory)
    posix.chmod(directory, 0o755)  # whatever the umask is
    words = ["bind", "nosuid", "noexec", "nodev", "ro"]
    config.mounts.append(Mount(destination=INSIDE, type="bind", source=directory, options=words))
    config.process.env.append(f"NOTIFY_SOCKET={INSIDE}/{NAME}")
    return None if options.waits else Proxy(store, options.manager)


class Proxy:
    """Our socket, which a container's process sends to, and where its manager listens."""

    __slots__ = ("_here", "_manager", "fd")

    def __init__(self, store: Store, manager: str) -> None:
        self._here = _bound(store)
        self._manager = manager  # as NOTIFY_SOCKET has it
        self.fd = self._here.fileno()

    def until_ready(self, pidfd: int, pid: int) -> None:
        """Pass on until the process is ready, and then the manager knows it as the main one, or has ended."""
        watch = poll()
        watch.register(self.fd, POLLIN)
        watch.register(pidfd, POLLIN)
        while True:
            ready = dict(watch.poll())
            if self.fd in ready:
                if self.take(pid):
                    self._wait_for_manager()  # it looks up who sent a message, and we are about to be gone
                    return
            elif pidfd in ready:
                return

    def wait(self, pid: int) -> int:
        """As foreground.wait without a terminal: forward signals, pass on, until our child `pid` ends; its status."""
        mask = sum(1 << number - 1 for number in foreground.FORWARDED).to_bytes(8, "little")
        signals = int(local().signalfd4(-1, mask, O_CLOEXEC | O_NONBLOCK))
        watch = poll()
        watch.register(self.fd, POLLIN)
        watch.register(signals, POLLIN)
        try:
            while True:
                ready = dict(watch.poll())
                if self.fd in ready:
                    self.take(posix.getpid())
                elif signals in ready:
                    status = _obeyed(signals, pid)
                    if status is not None:
                        return status
        finally:
            posix.close(signals)

    def take(self, main_pid: int) -> bool:
        """Pass one message on, READY=1 with the main process's pid; whether it was that."""
        try:
            message = self._here.recv(_LONGEST)  # files that came with it are closed, which is what BARRIER=1 waits for
        except BlockingIOError:
            return False
        lines = [line for line in message.split(b"\n") if line.partition(b"=")[0] in _PASSED]
        is_ready = b"READY=1" in lines
        if is_ready:
            lines.append(b"MAINPID=%d" % main_pid)
        if lines:
            self._send(b"\n".join(lines))
        return is_ready

    def _send(self, message: bytes, *fds: int) -> bool:
        """Whether the manager has got it; the container lives on without him."""
        address = "\0" + self._manager[1:] if self._manager.startswith("@") else self._manager
        try:
            connection = handover.connected(address, _BARRIER_S, handover.SOCK_DGRAM)
            try:
                handover.send_message(connection, message, *fds)
            finally:
                connection.close()
        except OSError as error:
            log.warning(f"NOTIFY_SOCKET {self._manager}: {posix.strerror(error.errno or 0).lower()}")
            return False
        return True

    def _wait_for_manager(self) -> None:
        """sd_notify_barrier(3): the manager closes the pipe when he has dealt with all that was sent before."""
        end, other = posix.pipe()  # close-on-exec does not matter: nothing is executed
        sent = self._send(b"BARRIER=1", other)
        posix.close(other)
        if sent:
            watch = poll()
            watch.register(end, POLLIN)
            if not watch.poll(_BARRIER_S * 1000):
                log.debug(f"NOTIFY_SOCKET {self._manager}: no answer to BARRIER=1 within {_BARRIER_S} s")
        posix.close(end)


def _bound(store: Store) -> "socket":
    """A datagram socket in the container's directory that every user may send to."""
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket

    here = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    directory = posix.open(store.path(DIRECTORY), O_PATH | O_DIRECTORY | O_CLOEXEC)
    try:
        try:
            posix.unlink(NAME, dir_fd=directory)  # of a start that was killed
        except FileNotFoundError:
            pass
        here.bind(f"/proc/self/fd/{directory}/{NAME}")  # short, however long the path is
        posix.chmod(NAME, 0o777, dir_fd=directory)
    except BaseException:
        here.close()
        raise
    finally:
        posix.close(directory)
    return here


def of_start(store: Store, manager: str) -> Proxy | None:
    """For `start`; None where the container was created without NOTIFY_SOCKET and cannot send anything."""
    if store.exists(DIRECTORY):
        return Proxy(store, manager)
    log.debug("NOTIFY_SOCKET has no effect: the container was created without it")
    return None


def _obeyed(signals: int, pid: int) -> int | None:
    """Forward the signals that came; the exit status if `pid` has ended."""
    status: int | None = None
    for number in foreground.taken(signals):
        if number == foreground.SIGCHLD:
            ended = foreground.reap(pid)
            status = status if ended is None else ended
        elif status is None:
            foreground.forward(pid, number)
    return status
