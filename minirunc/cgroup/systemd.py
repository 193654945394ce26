"""The systemd driver: linux.cgroupsPath as a unit, which systemd starts, limits and stops for us over D-Bus.

    unit_for --> path_of --(the birth makes the process)--> start: Scope --> properties --> stop

Source: org.freedesktop.systemd1(5), systemd.scope(5), systemd's CONTROL_GROUP_INTERFACE and CGROUP_DELEGATION.
"""

import posix
from time import monotonic, sleep

from minirunc.base.errors import ConfigError, Error, StateError
from minirunc.cgroup import sockets
from minirunc.cgroup.dbus import BUS, Connection, Dropped, Late, Refused
from minirunc.kernel import cgroupfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # Name, D-Bus signature, value as jeepney takes it: ("TasksMax", "t", 9)
    Property = tuple[str, str, object]

_SYSTEMD = "org.freedesktop.systemd1"
ROOT = "/org/freedesktop/systemd1"
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_MANAGER = (_SYSTEMD, ROOT, "org.freedesktop.systemd1.Manager")
_NO_UNIT = ("org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.DBus.Error.UnknownObject")

TIMEOUT_S = 30  # runc's
_LAST_WORD_S = 2  # to ask, after a deadline, how far it got
_LONGEST = 255  # UNIT_NAME_MAX without its NUL, and NAME_MAX
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\")

# A cgroup of such a name has _ before it, as the kernel may have files that are called so: cg_escape() of systemd.
_KERNEL_STARTS = ("_", ".", "cgroup.")
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids")


class Unit:
    """A unit's name and the slice it is in: docker-f00.scope, system.slice. A container may also be a slice itself."""

    __slots__ = ("name", "slice")

    def __init__(self, slice: str, name: str) -> None:  # noqa: A002 - systemd's word
        self.slice = slice
        self.name = name

    @property
    def is_slice(self) -> bool:
        return self.name.endswith(".slice")


def check_running() -> None:
    """sd_booted(3): whether this host has systemd at all. Raises Error saying what to do."""
    try:
        posix.stat("/run/systemd/system", follow_symlinks=False)
    except OSError:
        raise Error(
            "systemd cgroup flag passed, but systemd support for managing cgroups is not available: there is no"
            " /run/systemd/system; boot with systemd, or use --cgroup-manager cgroupfs"
        ) from None


def is_of_root() -> bool:
    """Whether the host's systemd runs as the user who is root here; rootless Podman's root, say, is another."""
    try:
        return posix.stat("/run/systemd/system", follow_symlinks=False).st_uid == 0
    except OSError:
        return True  # check_running() tells


def unit_for(cgroups_path: str, container_id: str, *, user: bool) -> Unit:
    """From `slice:prefix:name`; `user`: a unit of the user's own systemd. Raises ConfigError."""
    if cgroups_path:
        parts = cgroups_path.split(":")
    else:
        parts = ["", "minirunc", container_id.replace("+", "\\x2b")]  # as systemd-escape(1) does
    if len(parts) != 3:
        why = 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got'
        raise ConfigError("linux.cgroupsPath", f'{why} "{cgroups_path}" instead')
    above, prefix, name = parts
    if name.endswith(".slice"):
        levels = _levels(name)
        if not levels:
            raise ConfigError("linux.cgroupsPath", f"{name} is the root of the cgroup hierarchy; name a unit below it")
        own = levels[-2] if levels[1:] else "-.slice"
    else:
        name = f"{prefix}-{name}.scope"
        _check_name(name)
        own = "user.slice" if user else "system.slice"
    above = "-.slice" if above == "-" else above or own
    _levels(above)
    return Unit(above, name)


def _check_name(name: str) -> None:
    """What systemd would refuse with less words."""
    if wrong := "".join(sorted(set(name) - _LETTERS)):
        why = f'"{name}" cannot be a systemd unit: only letters, digits and :-_.\\ are allowed, not "{wrong}"'
        raise ConfigError("linux.cgroupsPath", why)
    if len(name) > _LONGEST:
        why = f'"{name}" cannot be a systemd unit: it has {len(name)} characters, at most {_LONGEST} are allowed'
        raise ConfigError("linux.cgroupsPath", why)


def _levels(name: str) -> list[str]:
    """A slice and those it is in, outermost first: a-b.slice is in a.slice; none of the root, -.slice."""
    _check_name(name)
    if name == "-.slice":
        return []
    parts = name.removesuffix(".slice").split("-")
    if not name.endswith(".slice") or "" in parts:
        why = "expected NAME.slice, where a dash stands between the names of slices that lie in each other"
        raise ConfigError("linux.cgroupsPath", f'invalid slice name: "{name}": {why}')
    return ["-".join(parts[: end + 1]) + ".slice" for end in range(len(parts))]


def path_of(unit: Unit, above: str = "") -> str:
    """Where the unit's cgroup is to be, below the hierarchy's root; `above` is control_group() of the manager.

    What start() returns is what came of it: that differs where a scope's name begins like a controller's file
    (io.x-f00.scope) and systemd is a newer one, 254.
    """
    names = _levels(unit.name) if unit.is_slice else [*_levels(unit.slice), unit.name]
    return above.rstrip("/") + "".join("/" + _directory(name) for name in names)


def _directory(name: str) -> str:
    escape = name.startswith(_KERNEL_STARTS) or name.rpartition(".")[0] in _CONTROLLERS
    return f"_{name}" if escape else name


class Systemd:
    """The manager of the system's units or of a user's. Connects when first asked, and again when that was lost."""

    __slots__ = ("_connection", "_version", "heard", "user")

    def __init__(self, *, user: bool) -> None:
        self.user = user
        self._connection: Connection | None = None
        self._version = 0
        self.heard: set[str] = set()  # the units of whose jobs this connection is told

    def __enter__(self) -> "Systemd":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
        self.heard = set()

    def connection(self, end: float) -> Connection:
        if not self._connection:
            check_running()
            self._connection = sockets.connect(self.user, end)
        return self._connection

    def call(self, member: str, signature: str = "", *body: object, end: float) -> "tuple[Any, ...]":
        return self.connection(end).call(_MANAGER, member, signature, *body, end=end)

    def get(self, path: str, interface: str, name: str, end: float) -> "Any":
        """A property of systemd's object `path`: a unit, a job, the manager."""
        to = (_SYSTEMD, path, "org.freedesktop.DBus.Properties")
        ((_, value),) = self.connection(end).call(to, "Get", "ss", f"{_SYSTEMD}.{interface}", name, end=end)
        return value

    def version(self, timeout_s: float = TIMEOUT_S) -> int:
        """252 for "252.39-1~deb12u2" or "v252.5-2.fc37"; asked once."""
        if not self._version:
            text = in_time(self, "tell its version", timeout_s, lambda end: self.get(ROOT, "Manager", "Version", end))
            digits = "".join(letter if letter.isdigit() else " " for letter in text).split()
            self._version = int(digits[0]) if digits else 0
        return self._version


def control_group(systemd: Systemd, timeout_s: float = TIMEOUT_S) -> str:
    """Below which cgroup the manager's units are: a user's, below that of his manager."""
    if not systemd.user:
        return ""
    what = "tell its cgroup"
    path: str = in_time(systemd, what, timeout_s, lambda end: systemd.get(ROOT, "Manager", "ControlGroup", end))
    return path


def start(
    systemd: Systemd,
    unit: Unit,
    container_id: str,
    pid: int,
    properties: "list[Property]",
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Have systemd make the unit, with the process in it, wait until that is done; returns the cgroup's path.

    Into a slice systemd puts no process: its cgroup is made, no more. Raises StateError for a unit that lives, Error
    naming what was waited for. Not repeated when the connection is lost: the unit may be there.
    """
    known: list[Property] = [("Description", "s", _description(container_id))]
    if unit.is_slice:
        known.append(("Wants", "as", [unit.slice]))
    else:
        known += [("Slice", "s", unit.slice), ("Delegate", "b", True), ("PIDs", "au", [pid])]
    # always on, as the kernel has trouble with a controller that comes later (as in runc)
    known += [(f"{what}Accounting", "b", True) for what in ("Memory", "CPU", "IO", "Tasks")]
    known += [("DefaultDependencies", "b", False), ("CollectMode", "s", "inactive-or-failed")]
    body: tuple[Any, ...] = (unit.name, "replace", _structs(known + properties), [])

    def work(end: float) -> None:
        _listen(systemd, unit, end)
        job = _start_job(systemd, unit, body, end)
        result = _result(systemd, job, end)
        if result != "done":
            _reset_failed(systemd, unit, end)
            raise Error(f"systemd did not start unit {unit.name}: its job ended with the result {result}")

    in_time(systemd, f"start unit {unit.name}", timeout_s, work, again=False)
    return path_of(unit, control_group(systemd, timeout_s)) if unit.is_slice else cgroupfs.path_of(pid)


def set_properties(systemd: Systemd, unit: Unit, properties: "list[Property]", timeout_s: float = TIMEOUT_S) -> None:
    """Change limits of a unit that runs, until it ends."""
    body = (unit.name, True, _structs(properties))
    what = f"set properties of unit {unit.name}"
    in_time(systemd, what, timeout_s, lambda end: systemd.call("SetUnitProperties", "sba(sv)", *body, end=end))


def is_of(systemd: Systemd, unit: Unit, cgroup: str, container_id: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether the unit of this name is there, and the container's: a birth may have been killed before it made one, or
    its own have ended, and another of the name be somebody else's by now."""
    kind = "Slice" if unit.is_slice else "Scope"

    def work(end: float) -> bool:
        try:
            (path,) = systemd.call("GetUnit", "s", unit.name, end=end)
            its_own = systemd.get(path, kind, "ControlGroup", end)
            if its_own:
                return bool(its_own == cgroup)
            return bool(systemd.get(path, "Unit", "Description", end) == _description(container_id))
        except Refused as refused:
            if refused.name not in _NO_UNIT:
                raise
            return False

    return bool(in_time(systemd, f"look for unit {unit.name}", timeout_s, work))


def _description(container_id: str) -> str:
    return f"libcontainer container {container_id}"


def stop(systemd: Systemd, unit: Unit, timeout_s: float = TIMEOUT_S) -> None:
    """Have systemd forget the unit; one that is not there is fine. Kill what is in it before: SIGTERM is not enough."""

    def work(end: float) -> None:
        _listen(systemd, unit, end)
        try:
            (job,) = systemd.call("StopUnit", "ss", unit.name, "replace", end=end)
        except Refused as refused:
            if refused.name not in _NO_UNIT:
                raise
            return
        result = _result(systemd, job, end)
        _reset_failed(systemd, unit, end)
        if result != "done" and _state(systemd, unit, end) not in ("", "inactive"):
            raise Error(f"systemd did not stop unit {unit.name}: its job ended with the result {result}")

    in_time(systemd, f"stop unit {unit.name}", timeout_s, work)


def in_time(
    systemd: Systemd, what: str, timeout_s: float, work: "Callable[[float], Any]", *, again: bool = True
) -> "Any":
    """work(end), once more if the connection is lost (`again`), and its error with what we wanted."""
    end = monotonic() + timeout_s
    try:
        try:
            return work(end)
        except Dropped:
            systemd.close()
            if not again:
                raise
            return work(end)
    except Late as late:
        systemd.close()  # an answer may come yet, to nobody
        late.add_note(f"systemd did not {what} within {timeout_s:g} seconds")
        raise
    except (Refused, Dropped) as wrong:
        wrong.add_note(f"unable to {what}")
        raise


def _structs(properties: "list[Property]") -> "list[tuple[str, tuple[str, object]]]":
    """As a(sv)."""
    return [(name, (signature, value)) for name, signature, value in properties]


def _listen(systemd: Systemd, unit: Unit, end: float) -> None:
    """Have systemd tell us when a job of the unit's is over, before there is one."""
    try:
        _subscribe(systemd, unit, end)
    except Dropped:  # a connection that was there before; nothing was asked of systemd yet
        systemd.close()
        _subscribe(systemd, unit, end)


def _subscribe(systemd: Systemd, unit: Unit, end: float) -> None:
    connection = systemd.connection(end)
    del connection.signals[:]
    if unit.name in systemd.heard:
        return
    if connection.is_bus:
        rule = f"type='signal',sender='{_SYSTEMD}',path='{ROOT}',interface='{_MANAGER[2]}',member='JobRemoved'"
        connection.call(BUS, "AddMatch", "s", f"{rule},arg2='{unit.name}'", end=end)
    if not systemd.heard:
        systemd.call("Subscribe", end=end)
    systemd.heard.add(unit.name)


def _start_job(systemd: Systemd, unit: Unit, body: "tuple[Any, ...]", end: float) -> str:
    """The job's object path. What is left of an earlier unit of this name is cleared away once."""
    cleared = False
    while True:
        try:
            (job,) = systemd.call("StartTransientUnit", "ssa(sv)a(sa(sv))", *body, end=end)
            return str(job)
        except Refused as refused:
            if refused.name != _EXISTS:
                raise
        state = _state(systemd, unit, end)
        if state == "deactivating":
            if monotonic() > end:
                raise Late("the unit of this name that was there before is still ending")
            sleep(0.02)
        elif state in ("failed", "inactive", "") and not cleared:
            cleared = True
            _reset_failed(systemd, unit, end)
        else:
            why = "end it, or name another in linux.cgroupsPath"
            raise StateError(f"systemd has a unit {unit.name} already, which is {state or 'not loaded'}; {why}")


def _result(systemd: Systemd, job: str, end: float) -> str:
    """The word by which systemd says how the job ended. Raises Late, saying how far it got."""
    connection = systemd.connection(end)
    try:
        while True:
            for member, body in connection.signals:
                if member == "JobRemoved" and body[1] == job:
                    return str(body[3])
            connection.wait_for_signal("no end of its job", end)
    except Late as late:
        late.message = f"its job {_how_far(systemd, job)}"
        raise


def _how_far(systemd: Systemd, job: str) -> str:
    try:
        return f"is {systemd.get(job, 'Job', 'State', monotonic() + _LAST_WORD_S)}"
    except Refused:
        return "is over, but systemd did not say so"
    except (Late, Dropped):
        return "is not known: systemd does not answer"


def _state(systemd: Systemd, unit: Unit, end: float) -> str:
    """ActiveState: active, activating, deactivating, failed, inactive ...; "" of a unit that systemd does not know."""
    try:
        (path,) = systemd.call("GetUnit", "s", unit.name, end=end)
        return str(systemd.get(path, "Unit", "ActiveState", end))
    except Refused as refused:
        if refused.name not in _NO_UNIT:
            raise
        return ""


def _reset_failed(systemd: Systemd, unit: Unit, end: float) -> None:
    """A failed unit is forgotten only then."""
    try:
        systemd.call("ResetFailedUnit", "s", unit.name, end=end)
    except Refused as refused:
        if refused.name not in _NO_UNIT:
            raise
