"""Waiting for what happens in a cgroup: a process killed for want of memory, the last process gone.

The kernel announces a change of memory.events and cgroup.events to inotify and by POLLPRI, the latter until they are
read again: nothing is missed between two calls. Source: cgroup-v2.rst "[Un]populated Notification", "Memory".
"""

import posix
from select import POLLPRI, poll
from time import monotonic

from minirunc.kernel import cgroupfs, procfs

ENOENT, ENODEV = 2, 19
OOM, END, LEFT = "oom", "end", "left"
_LOOK_S = 1.0


class Watch:
    """`with Watch(cgroup, reader) as watch`; the fd `reader` is where it is told, if that is a pipe."""

    __slots__ = ("_events", "_host", "_kills", "_memory", "_poll", "_reader")

    def __init__(self, cgroup: int, reader: int) -> None:
        self._events = cgroupfs.open_file(cgroup, "cgroup.events")
        try:
            self._memory = cgroupfs.open_file(cgroup, "memory.events")
        except FileNotFoundError:  # without the controller nobody is killed by it
            self._memory = -1
        self._kills = self._host = 0
        self._someone_was_killed()  # those so far are not told
        self._reader = reader
        self._poll = poll()
        self._poll.register(self._events, POLLPRI)
        if self._memory >= 0:
            self._poll.register(self._memory, POLLPRI)
        self._poll.register(reader, 0)  # POLLERR and POLLHUP come unasked

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        posix.close(self._events)
        if self._memory >= 0:
            posix.close(self._memory)

    def wait(self, timeout_s: float) -> str:
        """The next that happens: OOM, END, LEFT where nobody reads any more, "" when the time is over.

        A cgroup that was killed whole ends a moment before its memory.events are announced, so these are read first.
        What is announced is held back for 10 ms, and lost with a cgroup that is removed before: so we look, too.
        """
        end = monotonic() + timeout_s
        while True:
            left = max(end - monotonic(), 0)
            ready = [fd for fd, _ in self._poll.poll(1000 * min(left, _LOOK_S))]
            if self._someone_was_killed():
                return OOM
            if not _value(self._events, "populated"):
                return END
            if self._reader in ready:
                return LEFT
            if monotonic() >= end:
                return ""

    def _someone_was_killed(self) -> bool:
        """Whether it has happened since we last looked, in the cgroup or below.

        `run` may have removed the cgroup of a killed container before we look; then any process of the host that was
        killed so counts (runc takes any change it cannot read for a kill).
        """
        if self._memory < 0:
            return False
        before, self._host = self._host, _number(procfs.read("vmstat"), "oom_kill")
        kills = _value(self._memory, "oom_kill")
        if kills is None:
            return self._host > before
        before, self._kills = self._kills, kills
        return kills > before


def _value(fd: int, key: str) -> int | None:
    """The number behind a key of an open file, read anew; None where the cgroup was removed."""
    try:
        return _number(posix.pread(fd, 4096, 0).decode(), key)
    except OSError as error:
        if error.errno not in (ENOENT, ENODEV):
            raise
        return None


def _number(text: str, key: str) -> int:
    return next((int(line[len(key) + 1 :]) for line in text.splitlines() if line.startswith(f"{key} ")), 0)
