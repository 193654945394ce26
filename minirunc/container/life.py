"""What is done with a container that exists: start, kill, pause, resume, delete. No birth's module is needed."""

import posix
from time import monotonic

from minirunc.base import log
from minirunc.base.errors import Error, StateError, SyscallError
from minirunc.cgroup import fs
from minirunc.container import status
from minirunc.container.status import CREATED, CREATING, PAUSED, RUNNING, STOPPED
from minirunc.container.store import FIFO, Absent, State, Store
from minirunc.kernel import cgroupfs, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config
    from minirunc.config.hooks import Hook

ENXIO = 6
EINVAL = 22
SIGKILL = 9
_PATIENCE_S = 10.0  # with another process that makes, starts or deletes the container
_PATIENCE_FORCED_S = 2.0


def config_of(store: Store) -> "Config":
    """The configuration as it was at birth."""
    from minirunc.config import read

    return read(store.read("config.json"), store.path("config.json"))


def start(store: Store, manager: str = "") -> None:
    """Let the process of a created container go on; its hooks run here (runtime-spec runtime.md "Lifecycle").

    With a service manager, who listens where NOTIFY_SOCKET says, wait until it is ready, or has ended.
    """
    proxy, pidfd = None, None
    lock = store.lock()
    try:
        state = store.load()
        now = status.status(store, state)
        if now == STOPPED:
            raise StateError("cannot start a container that has stopped")
        if now == RUNNING:
            raise StateError("cannot start an already running container")
        if now != CREATED:
            raise StateError(f"cannot start a container in the {now} state")
        if state.cgroup and (above := fs.frozen(state.cgroup)):
            raise StateError(f"cannot start a container in a frozen cgroup: thaw {above}")
        if "start_container" in state.hooks:
            _start_container_hooks(store, state)
        if manager:
            from minirunc.container import notify

            proxy, pidfd = notify.of_start(store, manager), _pidfd(state)
        _release(store)
        if status.memory_limited(state):
            from minirunc.container import begun

            begun.check(state)
    finally:
        posix.close(lock)
    if "poststart" in state.hooks:
        _poststart_hooks(store, state)
    if proxy and pidfd is not None:
        proxy.until_ready(pidfd, state.pid)


def _release(store: Store) -> None:
    """The byte that the hand waits for. It has the fifo open; nobody else has."""
    try:
        fifo = posix.open(store.path(FIFO), posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except FileNotFoundError:
        raise StateError("cannot start an already running container") from None
    except OSError as error:
        if error.errno != ENXIO:
            raise
        posix.unlink(store.path(FIFO))  # a start was killed between its two steps
        raise StateError("cannot start an already running container") from None
    try:
        posix.write(fifo, b"0")
    finally:
        posix.close(fifo)
    posix.unlink(store.path(FIFO))


def _start_container_hooks(store: Store, state: State) -> None:
    from minirunc.container import enter, launch

    try:
        config = config_of(store)
        seccomp = launch.filter_of(config, store)
        enter.run_start_container_hooks(state, config, procfs.ns_pid(state.pid), seccomp)
    except Error:
        _end_process(store, state)
        raise


def _poststart_hooks(store: Store, state: State) -> None:
    from minirunc.container import hooks

    listed = config_of(store).hooks
    try:
        hooks.run_outside("poststart", listed.poststart if listed else [], hooks.Told(state, RUNNING, state.pid))
    except Error:
        _end_process(store, state)
        raise


def _end_process(store: Store, state: State) -> None:
    """Stop the container, for good when this returns."""
    pidfd = _pidfd(state)
    _kill_all(store, state)
    if pidfd is not None:
        _wait(pidfd, state)


def kill(store: Store, number: int, *, everyone: bool = False) -> None:
    """Send a signal to the container's process; raises StateError with the words callers take for "it is gone"."""
    state = store.load()
    now = status.status(store, state)
    if now in (STOPPED, CREATING):
        if everyone or (number == SIGKILL and _kill_all(store, state)):
            return
        raise StateError(f"container not running: {store.id}")
    if number == SIGKILL and "pid" not in state.namespaces:
        _kill_all(store, state)  # there is no init whose end would end the others
        return
    try:
        _signal(state, number)
    except StateError:
        if not everyone:  # else it is as well that it has ended since
            raise


def _signal(state: State, number: int) -> None:
    pidfd = _pidfd(state)
    if pidfd is None:
        raise StateError(f"container not running: {state.id}")
    try:
        procfs.send_signal(pidfd, number)
    except ProcessLookupError:
        raise StateError(f"container not running: {state.id}") from None
    except SyscallError as error:
        if error.errno == EINVAL:
            raise Error("unable to signal init: invalid argument") from None  # runc's words
        raise
    finally:
        posix.close(pidfd)


def _pidfd(state: State) -> int | None:
    """A pidfd of the process, opened before it is checked, so that a reused pid is not hit."""
    if not status.alive(state):
        return None
    try:
        pidfd = procfs.pidfd(state.pid)
    except ProcessLookupError:
        return None
    if status.alive(state):
        return pidfd
    posix.close(pidfd)
    return None


def _kill_all(store: Store, state: State) -> bool:
    """SIGKILL to every process of the cgroup; whether there was one."""
    if not state.cgroup:
        return _kill_members(store, state)
    try:
        cgroup = status.open_cgroup(state)
    except OSError:
        return False
    try:
        there = bool(cgroupfs.processes(cgroup))
        fs.kill(cgroup)
    except OSError as error:
        if error.errno not in fs.GONE:
            raise
        return False
    finally:
        posix.close(cgroup)
    return there


def _kill_members(store: Store, state: State) -> bool:
    """The same where there is no cgroup: while the first process lives its namespaces tell which they are."""
    pidfd = _pidfd(state) if state.pid else None
    if pidfd is None:
        return False
    from minirunc.container import members

    try:
        try:
            listed = config_of(store).linux.namespaces
        except (Error, OSError):
            listed = []
        members.end(state.pid, pidfd, listed)
    finally:
        posix.close(pidfd)
    return True


def pause(store: Store) -> None:
    """Freeze all its processes."""
    state = store.load()
    status.require(store, state, RUNNING, CREATED)
    fs.pause(status.own_cgroup(state))


def resume(store: Store) -> None:
    """Let them run again."""
    state = store.load()
    if status.status(store, state) != PAUSED:
        raise StateError("container not paused")
    fs.resume(status.own_cgroup(state))


def delete(store: Store, *, force: bool = False) -> None:
    """Undo all a birth did, whatever is left of it; repeatable until the state directory is gone."""
    try:
        lock = _forced_lock(store) if force else store.lock(_PATIENCE_S)
    except Absent:
        if force:
            return
        raise
    try:
        try:
            state = store.load()
        except (Error, OSError):
            if force:
                _remove(store, _salvaged(store), force=True)
                return
            if not store.exists("state.json") and not store.exists("config.json"):
                store.remove()  # a birth killed before its first line: nothing but the directory
            raise
        now = status.status(store, state)
        if now not in (STOPPED, CREATED) and not force:
            raise StateError(f"cannot delete container {store.id} that is not stopped: {now}")
        _remove(store, state, force=force)
    finally:
        if lock >= 0:
            posix.close(lock)


def end(store: Store, state: State) -> None:
    """Delete a container after its birth in this process, if nobody else did."""
    try:
        lock = store.lock(_PATIENCE_S)
    except Absent:
        return
    try:
        _remove(store, state)
    finally:
        posix.close(lock)


def _forced_lock(store: Store) -> int:
    """The lock, even if it takes the end of what another process makes or starts; -1 if that does not let go."""
    try:
        return store.lock()
    except Absent:
        raise
    except StateError:
        pass
    try:
        _kill_all(store, store.load())
    except (Error, OSError):
        pass
    try:
        return store.lock(_PATIENCE_FORCED_S)
    except Absent:
        raise
    except StateError:
        return -1  # it waits for a hook that does not end, and will find the container gone


def _salvaged(store: Store) -> State:
    """What there is to undo where state.json does not tell: the cgroup and the resctrl groups that config.json names.

    The copy of config.json is older than the cgroup: without the one the other was never made.
    """
    state = State()
    state.id = store.id
    state.pid = state.pid_start = state.creator = state.cgroup_inode = 0
    state.boot_id = state.bundle = state.rootfs = state.created = state.cgroup = state.unit = ""
    state.cgroup_made, state.rdt_made, state.annotations, state.namespaces, state.hooks = [], [], {}, [], []
    if store.exists("config.json"):
        path = ""
        try:
            linux = config_of(store).linux
            path = linux.cgroups_path
            if linux.intel_rdt:
                from minirunc.config.linux import intel_rdt

                state.rdt_made = intel_rdt.own(linux.intel_rdt, store.id)
        except (Error, OSError):
            pass  # broken, too: what has the name of the container
        from minirunc.container import drivers

        drivers.salvage(state, path)
    return state


def _remove(store: Store, state: State, *, force: bool = False) -> None:
    """Kill, remove the cgroup, then the state, then the poststop hooks (as runc orders them)."""
    if not state.pid:
        _tell_lost_devices(store)
    pidfd = _ended(store, state) if state.pid else None
    poststop = _poststop_hooks(store) if "poststop" in state.hooks else []
    if state.cgroup:
        from minirunc.container import drivers  # for the other commands its import were 0.2 ms

        drivers.destroy(state, force=force)
    if pidfd is not None:
        _wait(pidfd, state)
    if "mount" not in state.namespaces:
        from minirunc.container import host_mounts

        host_mounts.undo(store, failed=state.pid == 0)
    if state.rdt_made:
        from minirunc.config.linux import intel_rdt  # a module that few containers need

        intel_rdt.undo(state.rdt_made, state.id if state.pid else "")
    store.remove()
    if poststop:
        from minirunc.container import hooks

        hooks.run_poststop(poststop, hooks.Told(state, STOPPED, 0))


def _tell_lost_devices(store: Store) -> None:
    """A birth that was killed may have left network devices in a namespace that stays."""
    try:
        config = config_of(store)
    except (Error, OSError):
        return
    if config.linux.net_devices:
        from minirunc.config.linux import net_devices

        for line in net_devices.lost(config):
            log.warning(line)


def _ended(store: Store, state: State) -> int | None:
    """SIGKILL to the container's process; a pidfd to wait for its end by, if there is one."""
    try:
        pidfd = _pidfd(state)
        if pidfd is not None and state.cgroup:
            procfs.send_signal(pidfd, SIGKILL)
    except SyscallError:
        if not state.cgroup:
            raise
        return None  # where pidfds are denied, it ends with its cgroup
    if pidfd is not None and not state.cgroup:
        _kill_members(store, state)
    return pidfd


def _poststop_hooks(store: Store) -> "list[Hook]":
    try:
        listed = config_of(store).hooks
    except (Error, OSError) as error:
        log.warning(f"poststop hooks are not run: {error}")
        return []
    return listed.poststop if listed else []


def _wait(pidfd: int, state: State, timeout_s: float = 10) -> None:
    """Until the process has ended; not for its parent, which may have others of its pid namespace to wait for first."""
    from select import POLLIN, poll

    watch = poll()
    watch.register(pidfd, POLLIN)
    end = monotonic() + timeout_s
    try:
        while not watch.poll(20) and status.alive(state):
            if monotonic() > end:
                survivors = procfs.survivors([state.pid])
                raise Error(f"unable to end the container's process: SIGKILL has not ended {survivors}")
    finally:
        posix.close(pidfd)
