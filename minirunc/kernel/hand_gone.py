"""How a hand ended that does not answer any more (waitid(2)); cold."""

import posix
from select import POLLIN, poll

_SIGSYS = 31


def was_killed(pid: int) -> bool:
    """Whether it was ended by SIGKILL; it has not been waited for yet."""
    try:
        ended = posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except OSError:
        return False
    return bool(ended and ended.si_code != posix.CLD_EXITED and ended.si_status == 9)


def how(pid: int, dying_ms: int) -> str:
    """In words, for an error. A process closes its files up to `dying_ms` before it can be waited for."""
    try:
        pidfd = posix.pidfd_open(pid)
        try:
            watch = poll()
            watch.register(pidfd, POLLIN)
            watch.poll(dying_ms)
        finally:
            posix.close(pidfd)
        ended = posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except OSError:
        return "it is gone"
    if not ended:
        return "it closed its control socket"
    if ended.si_code == posix.CLD_EXITED:
        return f"it left with status {ended.si_status}"
    # As systemd's SystemCallFilter= does without an error number.
    why = ": a seccomp filter around minirunc forbids what it was to call" if ended.si_status == _SIGSYS else ""
    return f"signal {ended.si_status} killed it{why}"
