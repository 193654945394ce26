"""The processes of a container that has no cgroup: those in a namespace that was made for it (namespaces(7))."""

import posix
from time import monotonic, sleep

from minirunc.base.errors import Error
from minirunc.config.linux import namespaces
from minirunc.config.linux.namespaces import Namespace
from minirunc.kernel import procfs

SIGKILL, SIGSTOP = 9, 19
_FILES = {"pid": "pid", "user": "user", "mount": "mnt"}  # below /proc/PID/ns


def of(pid: int, listed: list[Namespace]) -> list[int]:
    """The container's first process `pid`, and all that share what tells best of the namespaces made for it."""
    own = _identities(pid, listed)
    found = {pid}
    for name in posix.listdir("/proc"):
        if name.isdigit() and own & _identities(int(name), listed) and _lives(int(name)):
            found.add(int(name))
    return sorted(found)


def end(pid: int, pidfd: int, listed: list[Namespace], timeout_s: float = 10) -> None:
    """SIGKILL to all of them. `pid` goes last, as it holds the namespaces; its end is that of its pid namespace."""
    if not namespaces.is_new(listed, "pid"):
        _signal(pidfd, SIGSTOP)  # that it makes no more
        limit = monotonic() + timeout_s
        while others := [other for other in of(pid, listed) if other != pid]:
            for other in others:
                _end_one(other, pid, listed)
            if monotonic() > limit:
                raise Error(f"unable to end what is in the container: SIGKILL has not ended {procfs.survivors(others)}")
            sleep(0.001)
    _signal(pidfd, SIGKILL)


def children() -> set[int]:
    """The pids of this process's children."""
    return set(map(int, procfs.read("thread-self/children").split()))


def end_adopted(others: set[int]) -> None:
    """SIGKILL to all children of this process, a subreaper, but for the `others`, which it had before."""
    while adopted := children() - others:
        for pid in adopted:
            posix.kill(pid, SIGKILL)
        for pid in adopted:
            posix.waitpid(pid, 0)


def _end_one(other: int, pid: int, listed: list[Namespace]) -> None:
    try:
        pidfd = procfs.pidfd(other)
    except ProcessLookupError:
        return
    try:
        if _identities(other, listed) & _identities(pid, listed):  # not somebody who has its pid by now
            _signal(pidfd, SIGKILL)
    finally:
        posix.close(pidfd)


def _lives(pid: int) -> bool:
    """Whether it has not ended: a zombie's user namespace is still told."""
    stat = procfs.stat(pid)
    return stat is not None and not stat.ended


def _signal(pidfd: int, number: int) -> None:
    try:
        procfs.send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def _identities(pid: int, listed: list[Namespace]) -> set[tuple[int, int]]:
    """Its namespaces that were made for the container; none where it has ended, or is not ours to look at."""
    new = [kind for kind in _FILES if namespaces.is_new(listed, kind)]
    found = set()
    for kind in new[:1] if new[:1] == ["pid"] else new:
        try:
            status = posix.stat(f"/proc/{pid}/ns/{_FILES[kind]}")
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found
