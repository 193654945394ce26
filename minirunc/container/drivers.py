"""Who makes a container's cgroup: the file system driver, systemd, or nobody (--cgroup-manager).

    intend    what will be made, for the record: state.cgroup, state.cgroup_made, state.unit
    make      the cgroup with its limits; systemd's scope begins with the hand in it
    destroy   all in it ended, and it removed

Which driver it was the state tells: `unit` is systemd's, and without `cgroup` there is none. So all that follows needs
no option, and goes by files: D-Bus is spoken at birth, by `update` and at the end.
"""

import posix

from minirunc.base import log
from minirunc.base.errors import Error, StateError
from minirunc.base.settings import DISABLED, SYSTEMD
from minirunc.cgroup import fs
from minirunc.container import status
from minirunc.kernel import cgroupfs

_ALONE = ("TasksMax", "t", 1)
_THREADED = {"cpu", "cpuset", "pids"}  # controllers, cgroup-v2.rst "Threads"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.cgroup.systemd import Systemd, Unit
    from minirunc.config import Config
    from minirunc.config.linux.resources import Resources
    from minirunc.config.linux.resources.devices import DeviceRule
    from minirunc.config.linux.resources.unit_properties import Line, Property
    from minirunc.container.store import State


def intend(state: "State", config: "Config", manager: str, said_rootless: str) -> None:
    """Put on record what `make` will make. Raises what stands against it."""
    _forget(state)
    try:
        if manager == DISABLED:
            from minirunc.container import rootless

            rootless.check_disabled(config)
        elif manager == SYSTEMD:
            _intend_unit(state, config)
        else:
            # Only for limits: a container without any is as well off where its caller is.
            in_own = posix.geteuid() != 0 and bool(_controllers(config.linux.resources))
            state.cgroup = fs.path_for(config.linux.cgroups_path, state.id, in_own=in_own)
            leaf = _leaf(state, config, [posix.getpid()])
            state.cgroup_made = [*([leaf] if leaf else []), *fs.missing_levels(state.cgroup)]
    except (cgroupfs.NotMounted, OSError) as error:
        _go_without(state, config, said_rootless, error)


def _intend_unit(state: "State", config: "Config") -> None:
    with _manager() as manager:
        unit, state.cgroup = _unit(state, config.linux.cgroups_path, manager)
    state.unit = unit.name
    try:
        fs.missing_levels(state.cgroup)  # that nobody is there; the slices are systemd's to make and to remove
    except StateError as error:
        error.add_note(f"unit {unit.name}")
        raise


def _unit(state: "State", cgroups_path: str, manager: "Systemd") -> "tuple[Unit, str]":
    """The container's unit, and the path that its cgroup is to have."""
    from minirunc.cgroup import systemd

    systemd.check_running()
    unit = systemd.unit_for(cgroups_path, state.id, user=manager.user)
    return unit, systemd.path_of(unit, systemd.control_group(manager) if manager.user else "")


def _manager() -> "Systemd":
    """Who is asked: an ordinary user's units are his own systemd's, also if he is root of a user namespace."""
    from minirunc.cgroup.systemd import Systemd, is_of_root

    return Systemd(user=posix.geteuid() != 0 or not is_of_root())


def _make_unit(state: "State", config: "Config", pid: int) -> int:
    """Have systemd start the unit, with the process in it if it is a scope; an fd of its cgroup."""
    from minirunc.cgroup import systemd
    from minirunc.config import annotations
    from minirunc.config.linux import resources

    with _manager() as manager:
        unit, _ = _unit(state, config.linux.cgroups_path, manager)
        wanted = resources.properties(config.linux.resources, manager.version(), _may_have)
        wanted = [one for one in wanted if one != _ALONE] + _oom_policy(config.linux.resources, manager, unit)
        if given := annotations.unit_properties(config.annotations):
            # They override the others. Who gives some looks after the unit: if it fails, that is to be seen.
            wanted += [("CollectMode", "s", "inactive"), *given]
        state.cgroup = systemd.start(manager, unit, state.id, pid, wanted)
    try:
        return fs.create(state.cgroup, lambda: False, in_use=True)  # for the controllers that systemd does not know
    except BaseException:
        destroy(state, force=True)
        raise


def _oom_policy(wanted: "Resources", manager: "Systemd", unit: "Unit") -> "list[Property]":
    """memory.oom.group in systemd's word, for it writes that file, too; only now, it does not change that later."""
    group = wanted.unified.get("memory.oom.group", "").strip()
    if group not in ("0", "1") or unit.is_slice:
        return []
    from minirunc.cgroup import scopes  # most have none

    if not scopes.have(manager, "OOMPolicy"):
        return []
    return [("OOMPolicy", "s", "kill" if group == "1" else "continue")]


def _may_have(file: str) -> bool:
    """Whether the cgroup that systemd will make has the file, as most will: BFQ is seldom in use."""
    return file != "io.bfq.weight"


def make(state: "State", config: "Config", said_rootless: str, pid: int) -> int:
    """Make the cgroup and set its limits; an fd of it, -1 if it is done without. `pid` is the hand's."""
    if not state.cgroup:
        return -1
    try:
        if state.unit:
            cgroup = _make_unit(state, config, pid)
        else:
            if posix.geteuid() != 0:
                from minirunc.container import rootless

                rootless.check_enter(state.cgroup)
            ours = [posix.getpid(), pid]
            if leaf := _leaf(state, config, ours):
                fs.move_to(leaf, ours)
            cgroup = fs.create(state.cgroup, lambda: _threads_do(config.linux.resources))
    except OSError as error:
        made = state.cgroup_made
        _go_without(state, config, said_rootless, error)
        fs.remove_levels(made)
        return -1
    try:
        _limit(cgroup, config.linux.resources, unit=bool(state.unit))
    except BaseException:
        posix.close(cgroup)
        destroy(state, force=True)
        raise
    state.cgroup_inode = posix.fstat(cgroup).st_ino
    return cgroup


def _leaf(state: "State", config: "Config", ours: list[int]) -> str:
    """Where the processes `ours` have to go, so that the container's cgroup has the controllers it needs; or ""."""
    leaf = fs.leaf(state.cgroup, ours)
    return leaf if leaf and _controllers(config.linux.resources) else ""


def _threads_do(wanted: "Resources") -> bool:
    """Whether there are limits, and none but those that a threaded cgroup may have."""
    needed = _controllers(wanted)
    return bool(needed) and needed <= _THREADED


def _controllers(wanted: "Resources") -> set[str]:
    """Those that the limits need."""
    from minirunc.config.linux import resources

    return {file.partition(".")[0] for _, file, _ in resources.limits(wanted, lambda _: True)}


def salvage(state: "State", cgroups_path: str) -> None:
    """What `make` may have made, for a state that cannot be read: the cgroup of that path, or that of the unit."""
    _forget(state)
    try:
        for in_own in (True, False):
            state.cgroup = fs.path_for(cgroups_path, state.id, in_own=in_own)
            if fs.exists(state.cgroup):
                return
        with _manager() as manager:
            unit, path = _unit(state, cgroups_path, manager)
    except (Error, OSError):  # no cgroup v2, no systemd, or another form
        return
    if fs.exists(path):
        state.cgroup, state.unit = path, unit.name


def set_unit(state: "State", lines: "list[Line]", rules: "list[DeviceRule] | None" = None) -> None:
    """Have systemd set the unit's properties to these lines of limits(), and to the device rules if they are given.

    Else it would one day write over the files what it knows. Raises ConfigError for what it has no word for.
    """
    from minirunc.cgroup import systemd
    from minirunc.config.linux.resources import devices, unit_properties

    with _manager() as manager:
        wanted = unit_properties.of(lines, manager.version())
        if rules is not None:
            policy, allow = devices.unit_properties(rules)
            emptied: Property = (allow[0], allow[1], [])  # first: a list is added to what is there
            wanted += [policy, emptied, allow]
        if wanted:
            systemd.set_properties(manager, systemd.Unit("", state.unit), wanted)


def attach(unit: str, path: str, pid: int) -> None:
    """Have systemd put a process into a cgroup of the unit's, which a user may not from outside of what is his."""
    from minirunc.cgroup import scopes

    with _manager() as manager:
        scopes.attach(manager, unit, path.partition(unit)[2], pid)


def undo(state: "State", *, made: bool) -> None:
    """What a birth that failed has done; `made` tells whether it came to a cgroup."""
    if made:
        destroy(state, force=True)
    else:
        fs.remove_levels(state.cgroup_made)


def destroy(state: "State", *, force: bool = False) -> None:
    """End all that is in the cgroup and remove it, then its unit. Raises Error naming what is still there.

    Killed by file: systemd would ask by SIGTERM, and wait. With `force` a systemd that does not answer is a warning.
    A cgroup or a unit of the name that is somebody else's by now is left alone.
    """
    if status.is_replaced(state):
        return
    if state.unit and not _stop_unit(state, force):
        return
    fs.destroy(state.cgroup, state.cgroup_made)


def _stop_unit(state: "State", force: bool) -> bool:
    """End what is in the unit and have systemd forget it; False if with `force` it did not answer.

    The cgroup then is left to it, empty: if we removed it, systemd might never see that the unit is over.
    """
    from minirunc.cgroup import systemd

    fs.destroy(state.cgroup, [], leave=True)
    try:
        with _manager() as manager:
            unit = systemd.Unit("", state.unit)
            if systemd.is_of(manager, unit, state.cgroup, state.id):
                systemd.stop(manager, unit)
    except Error as error:
        if not force:
            raise
        log.warning(f"the unit {state.unit} may be left: {error}")
        return False
    return True


def _limit(cgroup: int, wanted: "Resources", *, unit: bool) -> None:
    """Before the process is in, or the hand alone: it is so small that no limit stops it."""
    from minirunc.config.linux import resources

    if wanted.memory and wanted.memory.check_before_update and cgroupfs.has(cgroup, "memory.current"):
        from minirunc.config.linux.resources import memory

        memory.check_usage(wanted.memory, int(cgroupfs.read(cgroup, "memory.current")))
    lines = resources.limits(wanted, lambda file: cgroupfs.has(cgroup, file))
    if unit:
        from minirunc.config.linux.resources import unit_properties

        lines = [line for line in unit_properties.kept(lines) if not _for_one(line)]
    for where, file, value in lines:
        fs.limit(cgroup, where, file, value)


def limit_to_one(state: "State", config: "Config", cgroup: int) -> None:
    """A limit of one process, which the hand and who comes after it in systemd's scope were not to meet."""
    from minirunc.config.linux import resources
    from minirunc.config.linux.resources import unit_properties

    lines = unit_properties.kept(resources.limits(config.linux.resources, lambda _: False))
    if held := [line for line in lines if _for_one(line)]:
        set_unit(state, held)
        for where, file, value in held:
            fs.limit(cgroup, where, file, value)


def _for_one(line: "Line") -> bool:
    return line[1:] == ("pids.max", "1")


def _go_without(state: "State", config: "Config", said_rootless: str, error: Exception) -> None:
    """No cgroup, if that is allowed; raises what stands against it."""
    from minirunc.container import rootless

    rootless.go_without(said_rootless, config, error)
    _forget(state)


def _forget(state: "State") -> None:
    state.cgroup, state.cgroup_inode, state.cgroup_made, state.unit = "", 0, [], ""
