"""Status of a container, derived: its process by pid, start time and boot; its cgroup's freezer; its fifo."""

import posix

from minirunc.base import files
from minirunc.base.errors import StateError
from minirunc.container.store import FIFO, State, Store, boot_id
from minirunc.kernel import cgroupfs, procfs

ENOENT = 2
CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


def status(store: Store, state: State) -> str:
    """One of the runtime-spec's words, or `paused` (runtime.md "State")."""
    if not alive(state):
        return STOPPED
    if not state.pid:
        return CREATING
    if frozen(state):
        return PAUSED
    return CREATED if store.exists(FIFO) else RUNNING


def alive(state: State) -> bool:
    """Whether the container's process (while it is made: its maker) is the one that was started, and has not ended."""
    if state.boot_id != boot_id():
        return False
    found = procfs.stat(state.pid or state.creator)
    return found is not None and found.start == state.pid_start and not found.ended


def frozen(state: State) -> bool:
    """Whether the cgroup's freezer is on."""
    if not state.cgroup:
        return False
    try:
        cgroup = open_cgroup(state)
    except OSError:
        return False
    try:
        return cgroupfs.read(cgroup, "cgroup.freeze") == "1"
    except OSError:  # ENODEV: removed meanwhile
        return False
    finally:
        posix.close(cgroup)


def own_cgroup(state: State) -> str:
    """The path of the container's cgroup below the hierarchy's root; raises StateError if it has none."""
    if not state.cgroup:  # never the root of the hierarchy
        raise StateError(f"container {state.id} has no cgroup of its own: none could be made when it was created")
    return state.cgroup


def open_cgroup(state: State) -> int:
    """An fd of the container's cgroup; it must have one. Raises FileNotFoundError, too, where it is another by now."""
    path = _cgroup_on_host(state)
    cgroup = cgroupfs.open_directory(path)
    if state.cgroup_inode in (0, posix.fstat(cgroup).st_ino):
        return cgroup
    posix.close(cgroup)
    raise FileNotFoundError(ENOENT, "the container's cgroup is gone, and another of its name is there", path)


def is_replaced(state: State) -> bool:
    """Whether the container's cgroup is gone and another of its name is there: somebody took it after the end."""
    if not state.cgroup_inode:
        return False
    try:
        found = posix.stat(_cgroup_on_host(state), follow_symlinks=False)
    except OSError:
        return False
    return found.st_ino != state.cgroup_inode


def _cgroup_on_host(state: State) -> str:
    return cgroupfs.mount_point()[0] + own_cgroup(state)


def memory_limited(state: State) -> bool:
    """Whether its cgroup has a memory limit of its own."""
    if not state.cgroup:
        return False
    try:
        root, _ = cgroupfs.mount_point()
        return files.read(f"{root}{state.cgroup}/memory.max") != b"max\n"
    except OSError:  # there is no such controller, or the cgroup is gone
        return False


def require(store: Store, state: State, *wanted: str) -> str:
    """The status, if it is one of `wanted`; raises StateError with the text callers look for."""
    is_now = status(store, state)
    if is_now not in wanted:
        raise StateError(f"container not running: {store.id} is {is_now}")
    return is_now
