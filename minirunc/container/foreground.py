"""Waiting for a process in the foreground: signals forwarded, a terminal relayed, children reaped, its exit status.

Signals come as data: blocked, then read from a signalfd(2) or by sigtimedwait(2), so that no handler runs in between.
"""

import posix
from _signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, sigwaitinfo  # type: ignore[import-not-found] # the C core: `signal` costs 4 ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.container.notify import Proxy

SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGCHLD, SIGURG, SIGWINCH = 1, 2, 13, 15, 17, 23, 28
_NEVER = (9, 19, SIGPIPE, SIGURG)  # KILL and STOP cannot be had; the others are ours
FORWARDED = tuple(number for number in (*range(1, 32), *range(34, 65)) if number not in _NEVER)


class Signals:
    """All signals blocked while the block runs; enter it before the process is made, so that none is lost."""

    __slots__ = ("_before",)

    def __enter__(self) -> "Signals":
        self._before = pthread_sigmask(SIG_BLOCK, FORWARDED)
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        pthread_sigmask(SIG_SETMASK, self._before)


def become_subreaper() -> None:
    """Adopt what the container's process leaves behind where it has no pid namespace to be init of."""
    from minirunc.kernel.constants import PR_SET_CHILD_SUBREAPER
    from minirunc.kernel.syscalls import local

    local().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait(pid: int, master: int | None, proxy: "Proxy | None" = None) -> int:
    """Forward signals to `pid` until it ends; its exit status, 128 + N where signal N ended it."""
    if master is not None:
        from minirunc.container.relay import Relay

        with Relay(master, proxy) as relay:
            return relay.run(pid)
    if proxy is not None:
        return proxy.wait(pid)
    while True:
        number = sigwaitinfo(FORWARDED).si_signo
        if number == SIGCHLD:
            status = reap(pid)
            if status is not None:
                return status
        else:
            forward(pid, number)


def taken(signals: int) -> list[int]:
    """The numbers of the signals that wait in a signalfd."""
    records = posix.read(signals, 128 * 16)  # struct signalfd_siginfo is 128 bytes, the number first
    return [int.from_bytes(records[offset : offset + 4], "little") for offset in range(0, len(records), 128)]


def forward(pid: int, number: int) -> None:
    """Pass a signal on; our child is not reaped yet, so the pid is its."""
    try:
        posix.kill(pid, number)
    except ProcessLookupError:
        pass


def reap(pid: int) -> int | None:
    """Reap every child that ended; the exit status if `pid` is among them."""
    found: int | None = None
    while True:
        try:
            ended, status = posix.waitpid(-1, posix.WNOHANG)
        except ChildProcessError:
            return found
        if not ended:
            return found
        if ended == pid:
            found = 128 + (status & 127) if status & 127 else status >> 8
