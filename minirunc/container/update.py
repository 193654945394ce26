"""`update`: other limits for a container that exists; where one of them is refused, all are as they were.

    stored     what is told is put into the configuration of the state directory, and checked as a whole
    systemd    the properties of the unit, where it made the cgroup
    cgroup     the files, each read before it is written
    bpf        a device program in the place of the one there, if the rules are others
    resctrl    the schemata of the container's group
    stored     the configuration is replaced

All under the lock. What fails undoes what came before it, last first. Killed half-way, it leaves the cgroup with some
of the new limits and the old configuration: another update writes all that it is told, and delete needs neither.
"""

import posix

from minirunc.base import jsontext, log
from minirunc.base.errors import ConfigError, Error
from minirunc.cgroup import before, fs
from minirunc.config import Config, linux, strings
from minirunc.config.linux import resources
from minirunc.config.linux.resources import Resources, devices, memory, merge, unit_properties
from minirunc.container import drivers, status
from minirunc.container.status import CREATED, PAUSED, RUNNING
from minirunc.container.store import Absent, State, Store
from minirunc.kernel import bpf, cgroupfs, procfs
from minirunc.kernel.syscalls import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirunc.config.linux.resources.devices import DeviceRule
    from minirunc.config.linux.resources.unit_properties import Line

    Rules = list[DeviceRule] | None

_PATIENCE_S = 10.0  # with another process that starts or updates the container


def update(store: Store, value: object, name: str, *, l3_cache_schema: str = "", mem_bw_schema: str = "") -> None:
    """Change what the JSON value, in the form of linux.resources, has; `name` says in errors where it comes from.

    Raises StateError for a container that does not run or wait, Error or ConfigError for what cannot be done.
    """
    status.require(store, store.load(), CREATED, RUNNING, PAUSED)  # at once: while it is made, its maker has the lock
    lock = store.lock(_PATIENCE_S)
    try:
        state = store.load()
        status.require(store, state, CREATED, RUNNING, PAUSED)
        told = merge.told(value)
        _tell(told, name)
        _Change(store, state, lock).make(told, l3_cache_schema, mem_bw_schema)
    except ConfigError as wrong:
        where = wrong.where.removeprefix(merge.WHERE).removeprefix(".")
        wrong.message = f"{name}: {where}: {wrong.why}" if where else f"{name}: {wrong.why}"
        raise
    finally:
        posix.close(lock)


def _tell(told: "dict[str, Any]", name: str) -> None:
    """What has no effect."""
    if {"kernel", "kernelTCP"} & set(told.get("memory", ())):
        log.warning("Kernel memory settings are ignored and will be removed")
    if log.debugging():
        from minirunc.config import unread

        unread.tell(told, Resources, name, merge.WHERE)


class _Change:
    """An update on its way, and how to take back what it has done."""

    __slots__ = ("_fds", "_linux", "_lock", "_state", "_store", "_undo", "_unset_unit", "_whole")

    def __init__(self, store: Store, state: State, lock: int) -> None:
        self._store = store
        self._state = state
        self._lock = lock
        path = store.path("config.json")
        whole: Any = jsontext.loads(store.read("config.json"), path)
        if not isinstance(whole, dict):
            raise Error(f"{path}: is not what minirunc writes")
        self._whole = Config.renamed(whole)
        self._linux = linux.Linux.renamed(self._whole.get("linux") or {})
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._unset_unit: Callable[[], object] | None = None
        self._fds: list[int] = []

    def make(self, told: "dict[str, Any]", l3_cache_schema: str, mem_bw_schema: str) -> None:
        """All of it, or nothing."""
        stored = merge.own_names(self._linux.get("resources") or {}, Resources)
        after = merge.merged(stored, told)
        old, new = (Resources.parse(value, merge.WHERE) for value in (stored, after))
        strings.check(new, merge.WHERE)
        resources.check(new)
        rdt = self._checked_rdt(l3_cache_schema, mem_bw_schema)
        try:
            if told:
                cgroup = status.open_cgroup(self._state)
                self._fds.append(cgroup)
                others = "devices" in told and not _same_devices(old, new)
                program = self._load(new) if others else -1
                lines = _lines(cgroup, told, after, unit=bool(self._state.unit))
                self._limit(cgroup, lines, (old.devices, new.devices) if others else (None, None))
                if program >= 0:
                    self._replace(cgroup, program)
                _forget_unified(after, told, lines)
            if rdt:
                self._write_schemata(rdt)
            self._save(after, rdt)
        except BaseException:
            self._take_back()
            raise
        finally:
            for fd in self._fds:
                posix.close(fd)

    def _limit(self, cgroup: int, lines: "list[Line]", rules: "tuple[Rules, Rules]") -> None:
        """Write the files; where there is a unit, after systemd, which writes most of them itself."""
        undo = [before.writes(cgroup, file, value) for _, file, value in lines]
        if self._state.unit and (lines or rules[1] is not None):
            was = [(lines[at][0], *write) for at, writes in enumerate(undo) for write in writes]
            drivers.set_unit(self._state, lines, rules[1])
            self._unset_unit = lambda: drivers.set_unit(self._state, was, rules[0])
        for (where, file, value), writes in zip(lines, undo, strict=True):
            fs.limit(cgroup, where, file, value)
            self._undo += [(name, _write_of(cgroup, name, was)) for name, was in reversed(writes)]

    def _load(self, new: Resources) -> int:
        """The device program of the new rules; -1 where, as at birth, it is not ours to load."""
        if not procfs.is_host_root():
            log.warning("linux.resources.devices: rules are kept by who is root of the host alone")
            return -1
        program = int(bpf.load(local(), bpf.device_program(devices.rules(new.devices))))
        self._fds.append(program)
        return program

    def _replace(self, cgroup: int, program: int) -> None:
        """In one step: at no time is there no program, or two of them."""
        do = local()
        ours = -1
        for number in bpf.attached(do, cgroup):
            found = bpf.open_by_id(do, number)
            self._fds.append(found)
            if bpf.name_of(do, found) == bpf.NAME:
                ours = found
        if ours < 0:
            why = "the device program of the container's birth is not there any more (a hook may have put its own in)"
            raise ConfigError(f"{merge.WHERE}.devices", f"{why}: leave the rules as they are")
        bpf.attach(do, cgroup, program, ours)
        self._undo.append(("the device program", lambda: bpf.attach(do, cgroup, ours, program)))

    def _checked_rdt(self, l3_cache_schema: str, mem_bw_schema: str) -> "dict[str, str]":
        """The members of linux.intelRdt that are given, if that is possible here."""
        given = {"l3CacheSchema": l3_cache_schema, "memBwSchema": mem_bw_schema}
        given = {name: value for name, value in given.items() if value}
        if given:
            from minirunc.config.linux import intel_rdt

            intel_rdt.check_update(self._rdt(), l3_cache_schema, mem_bw_schema)
        return given

    def _rdt(self) -> "Any":
        from minirunc.config.linux.intel_rdt import IntelRdt

        value = self._linux.get("intelRdt")
        return None if value is None else IntelRdt.parse(value, "linux.intelRdt")

    def _write_schemata(self, given: "dict[str, str]") -> None:
        from minirunc.config.linux import intel_rdt

        rdt = self._rdt()
        was = intel_rdt.rewrite(rdt, self._state.id, list(given.values()))
        self._undo.append(("schemata", lambda: intel_rdt.rewrite(rdt, self._state.id, was)))

    def _save(self, after: "dict[str, Any]", rdt: "dict[str, str]") -> None:
        changed = self._linux | ({"resources": after} if after else {})
        if rdt:
            changed["intelRdt"] = type(self._rdt()).renamed(changed["intelRdt"]) | rdt
        if changed == self._linux:
            return
        if not self._store.is_locked_by(self._lock):  # `delete --force` was quicker
            raise Absent(f"container does not exist: {self._store.id}")
        self._store.write("config.json", jsontext.dumps(self._whole | {"linux": changed}).encode())

    def _take_back(self) -> None:
        """Last first, but the unit before all: systemd writes the files. What cannot be, is told, and the rest done."""
        if self._unset_unit:
            self._undo.append(("the unit's properties", self._unset_unit))
        for what, undo in reversed(self._undo):
            try:
                undo()
            except Error as error:
                log.warning(f"{what} could not be set back: {error}")
            except OSError as error:
                if error.errno not in fs.GONE:
                    log.warning(f"{what} could not be set back: {posix.strerror(error.errno or 0).lower()}")


def _write_of(cgroup: int, file: str, value: str) -> "Callable[[], None]":
    return lambda: cgroupfs.write(cgroup, file, value)


def _same_devices(old: Resources, new: Resources) -> bool:
    """Then the program is left alone: hooks put their own in its place, which a new one would take away."""
    return devices.rules(old.devices) == devices.rules(new.devices)


def _lines(cgroup: int, told: "dict[str, Any]", after: "dict[str, Any]", *, unit: bool) -> "list[Line]":
    """What to write, in order: (JSON path, file, value). Raises ConfigError where checkBeforeUpdate says no."""
    wanted = merge.wanted(told, after)
    _complete_from_live(cgroup, wanted.get("cpu", {}))
    record = Resources.parse(wanted, merge.WHERE)
    asks = record.memory is not None and after["memory"].get("checkBeforeUpdate")
    if asks and cgroupfs.has(cgroup, "memory.current"):
        checked = memory.Memory(limit=told["memory"].get("limit"), swap=wanted["memory"].get("swap"))
        memory.check_usage(checked, int(cgroupfs.read(cgroup, "memory.current")))
    lines = resources.limits(record, lambda file: cgroupfs.has(cgroup, file))
    if "limit" not in told.get("memory", {}):  # it is there for what it leaves to swap
        lines = [line for line in lines if line[:2] != (f"{merge.WHERE}.memory", "memory.max")]
    if unit:
        lines = unit_properties.kept(_with_weight(cgroup, lines))
    return _ordered(cgroup, lines)


def _with_weight(cgroup: int, lines: "list[Line]") -> "list[Line]":
    """systemd knows of cpu.idle as a weight: where it ends, there must be another."""
    files = {file: value for _, file, value in lines}
    if files.get("cpu.idle") != "0" or "cpu.weight" in files or not cgroupfs.has(cgroup, "cpu.weight"):
        return lines
    weight = cgroupfs.read(cgroup, "cpu.weight")
    return [*lines, (f"{merge.WHERE}.cpu", "cpu.weight", "100" if weight == "0" else weight)]


def _complete_from_live(cgroup: int, cpu: "dict[str, Any]") -> None:
    """Where neither document nor configuration has the other half of cpu.max, it stays what it is."""
    if ("quota" in cpu) == ("period" in cpu):
        return
    try:
        quota, period = cgroupfs.read(cgroup, "cpu.max").split()
    except OSError:
        return  # the write will say why
    if "quota" in cpu:
        cpu["period"] = int(period)
    elif quota != "max":
        cpu["quota"] = int(quota)


def _ordered(cgroup: int, lines: "list[Line]") -> "list[Line]":
    """The kernel has no burst above the quota: a smaller one is set before the quota, a larger one after it."""
    burst = [line for line in lines if line[:2] == (f"{merge.WHERE}.cpu", "cpu.max.burst")]
    if not burst or not cgroupfs.has(cgroup, "cpu.max.burst"):
        return lines
    smaller = int(burst[0][2]) < int(cgroupfs.read(cgroup, "cpu.max.burst"))
    return burst + [line for line in lines if line is not burst[0]] if smaller else lines


def _forget_unified(after: "dict[str, Any]", told: "dict[str, Any]", lines: "list[Line]") -> None:
    """A file that was written is no longer what unified once said of it."""
    unified = after.get("unified")
    if unified:
        written = {file for where, file, _ in lines if where != f"{merge.WHERE}.unified" and not before.is_keyed(file)}
        kept = told.get("unified", {})
        after["unified"] = {file: value for file, value in unified.items() if file in kept or file not in written}
