"""Whether the container's process came to its program, where a memory limit may be too low for that.

After the last batch nobody answers any more: what execve(2) takes is charged to the container, and the kernel may kill.
"""

import posix
from select import POLLIN, poll
from time import monotonic

from minirunc.base import log
from minirunc.base.errors import Error
from minirunc.cgroup import oom
from minirunc.container import status
from minirunc.container.store import State
from minirunc.kernel import hand, hand_gone, procfs

_PATIENCE_S = 1.0
_PAUSE_MS = 1


def check(state: State) -> None:
    """Wait until the hand has become the program, or ended. Raises Error if the kernel killed it for want of memory."""
    try:
        pidfd = procfs.pidfd(state.pid)
    except ProcessLookupError:
        return
    watch = poll()
    watch.register(pidfd, POLLIN)
    try:
        end = monotonic() + _PATIENCE_S
        while not watch.poll(0) and procfs.name(state.pid) == hand.NAME and monotonic() < end:
            watch.poll(_PAUSE_MS)
        ended = bool(watch.poll(0))
    finally:
        posix.close(pidfd)
    if ended and (figures := _of_a_kill(state)):
        raise Error(f"container process was OOM-killed during start (memory limit too low?): {figures}")


def warn(state: State) -> None:
    """Say why SIGKILL ended it, if the kernel killed in its cgroup for want of memory."""
    if figures := _of_a_kill(state):
        log.warning(f"container process was OOM-killed: {figures}")


def say_of_birth(error: Error, state: State, cgroup: int, pid: int, *, limited: bool) -> None:
    """Add to the error of a birth that failed that the kernel has killed the hand `pid` in its cgroup, or may have."""
    if oom.killed(cgroup):
        figures = oom.figures(cgroup)
        error.add_note(f"container init was OOM-killed (memory limit too low?): during create: {figures}")
    elif state.unit and limited and oom.is_gone(cgroup) and hand_gone.was_killed(pid):
        gone = f"{state.unit} is gone, and what was counted with it"
        error.add_note(f"container init was possibly OOM-killed (memory limit too low?): during create: {gone}")


def _of_a_kill(state: State) -> str:
    try:
        cgroup = status.open_cgroup(state)
    except OSError:  # it is gone
        return ""
    try:
        return oom.figures(cgroup) if oom.killed(cgroup) else ""
    finally:
        posix.close(cgroup)
