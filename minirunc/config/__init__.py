"""config.json: read once, as a whole, into records.

    config.json --jsontext.loads--> value --Config.parse--> records --check--> Config

A field's module lies where its JSON path says (`linux.sysctl` is config/linux/sysctl.py) and is imported when
the field is met. It holds its record, `check` (is it a value we can honour; it changes nothing) and `apply`.
"""

import sys

from minirunc.base import jsontext, log
from minirunc.base.errors import ConfigError, Error
from minirunc.base.record import EMPTY, Record, UInt32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirunc.config.hooks import Hooks
    from minirunc.config.linux import Linux
    from minirunc.config.mounts import Mount
    from minirunc.config.process import Process
    from minirunc.config.root import Root

# What is refused by name: a container without what its config asks for would be less safe than it says.
UNSUPPORTED: dict[str, str] = {}

# What is accepted and has no effect, as in runc, by JSON path, and why.
IGNORED = {
    "freebsd": "another platform",
    "linux.personality.flags": "none is known",
    "linux.resources.blockIO.leafWeight": "cgroup v2 has no leaf weight",
    "linux.resources.blockIO.weightDevice[].leafWeight": "cgroup v2 has no leaf weight",
    "linux.resources.cpu.realtimePeriod": "cgroup v2 has no real-time limits",
    "linux.resources.cpu.realtimeRuntime": "cgroup v2 has no real-time limits",
    "linux.resources.memory.disableOOMKiller": "cgroup v2 cannot disable the OOM killer",
    "linux.resources.memory.kernel": "cgroup v2 counts kernel memory as memory",
    "linux.resources.memory.kernelTCP": "cgroup v2 counts kernel memory as memory",
    "linux.resources.memory.swappiness": "cgroup v2 has no swappiness of its own",
    "linux.resources.memory.useHierarchy": "cgroup v2 is always hierarchical",
    "linux.resources.network": "cgroup v2 has no network controllers",
    "process.commandLine": "Windows only",
    "process.user.username": "Windows only",
    "solaris": "another platform",
    "vm": "another platform",
    "windows": "another platform",
    "zos": "another platform",
}

_MAP_LINES = 340  # the kernel's UID_GID_MAP_MAX_EXTENTS
_IDS = 2**32 - 1  # the last id means "no id"


class IDMapping(Record):
    """A range of ids: of linux.uidMappings, linux.gidMappings and the mappings of a mount."""

    NAMES = {"container_id": "containerID", "host_id": "hostID"}
    container_id: UInt32
    host_id: UInt32
    size: UInt32


class Config(Record):
    oci_version: str
    root: "Root"
    process: "Process"
    hostname: str = ""
    domainname: str = ""
    mounts: "list[Mount]" = []
    hooks: "Hooks | None"
    annotations: dict[str, str] = {}
    linux: "Linux" = EMPTY


def load(text: str | bytes, name: str = "config.json") -> Config:
    """The records of a config.json, checked. Raises Error for broken JSON, ConfigError for a wrong value."""
    config = read(text, name)
    if log.debugging():
        from minirunc.config import unread

        unread.tell(jsontext.loads(text, name), Config, name)
    if _has_odd_strings(text):
        from minirunc.config import strings

        strings.check(config)
    check(config)
    return config


def read(text: str | bytes, name: str = "config.json") -> Config:
    """The records of a config.json that was checked before: the copy in a state directory."""
    value = jsontext.loads(text, name)
    if value is None:
        raise ConfigError("", "config cannot be null")
    if isinstance(value, dict):  # both have runc's own words
        if value.get("process") is None:
            raise ConfigError("process", "process property must not be empty")
        if value.get("root") is None:
            raise ConfigError("root", "root must be specified")
    return Config.parse(value)


def load_process(text: str | bytes, name: str = "process.json", *, terminal: bool = False) -> "Process":
    """The process of `exec --process FILE`, checked; errors name the file and paths in it. `terminal`: by an option."""
    from minirunc.config import process

    value = jsontext.loads(text, name)
    try:
        record = process.Process.parse(value)
        if log.debugging():
            from minirunc.config import unread

            unread.tell(value, process.Process, name, "process")
        record.terminal |= terminal
        if _has_odd_strings(text):
            from minirunc.config import strings

            strings.check(record, "process")
        process.check(record)
    except ConfigError as wrong:
        where = wrong.where.removeprefix("process").removeprefix(".")
        wrong.message = f"{name}: {where}: {wrong.why}" if where else f"{name}: {wrong.why}"
        raise
    return record


def load_mounts(text: bytes, name: str, config: Config) -> "list[Mount]":
    """Mounts for a container that has this configuration, checked; errors name the file and paths in it."""
    from minirunc.config import mounts

    value = jsontext.loads(text, name)
    if not isinstance(value, list):
        raise Error(f"{name}: mounts must be an array")
    try:
        config.mounts = [mounts.Mount.parse(item, f"mounts[{index}]") for index, item in enumerate(value)]
        if _has_odd_strings(text):
            from minirunc.config import strings

            strings.check(config.mounts, "mounts")
        mounts.check(config)
    except ConfigError as wrong:
        wrong.message = f"{name}: {wrong.where.removeprefix('mounts')}: {wrong.why}"
        raise
    return config.mounts


def _has_odd_strings(text: str | bytes) -> bool:
    """Whether a string may hold what no system call takes: in JSON that can stand as an escape only."""
    if isinstance(text, bytes):
        return b"\\u0000" in text or b"\\ud" in text or b"\\uD" in text
    return "\\u0000" in text or "\\ud" in text or "\\uD" in text


def check(config: Config) -> None:
    """Ask each field that is present whether it can be honoured. Raises ConfigError."""
    from minirunc.config import linux, process

    version = config.oci_version
    if not (version.startswith("1.") and version.isascii() and version.replace(".", "").isdigit()):
        from minirunc.config import oci_version

        oci_version.check(config)
    if "" in config.annotations:
        raise ConfigError("annotations", "a key must not be an empty string")
    process.check(config.process)
    check_present(config, __name__, ("root", "hostname", "domainname", "mounts", "hooks", "annotations"), config)
    linux.check(config)


def warnings(config: Config) -> list[str]:
    """What is accepted though it will not be as asked, in words for the log."""
    from minirunc.config import linux, mounts

    return mounts.warnings(config) + linux.warnings(config)


def check_present(record: Record, package: str, names: tuple[str, ...], subject: Record) -> None:
    """Call `check(subject)` of the modules of those fields that are present."""
    for name in names:
        if getattr(record, name):
            module = f"{package}.{name}"
            __import__(module)
            sys.modules[module].check(subject)


def none_of(choices: "Iterable[str]", where: str, why: str) -> ConfigError:
    """The refusal of a word that is none of those there are."""
    return ConfigError(where, f"{why}: expected one of {', '.join(choices)}")


def need_namespace(config: Config, kind: str, where: str, why: str, *, new: bool = False) -> None:
    """Raise ConfigError, naming both fields, where the container shares the host's; with `new`, also another's."""
    namespace = config.linux.namespace(kind)
    if namespace is None:
        raise ConfigError(where, f'{why}: linux.namespaces has no "{kind}"')
    if new and namespace.path:
        index = config.linux.namespaces.index(namespace)
        raise ConfigError(where, f"{why}: linux.namespaces[{index}].path joins one")


def check_mapped(where: str, number: int, field: str, mappings: list[IDMapping]) -> None:
    """An id of the container's that is none is refused by the kernel with a bare EINVAL (user_namespaces(7))."""
    if not any(0 <= number - mapping.container_id < mapping.size for mapping in mappings):
        raise ConfigError(where, f"unable to setup user: invalid argument: {number} is not mapped by linux.{field}")


def check_mappings(where: str, mappings: list[IDMapping]) -> None:
    """What the kernel would refuse by a bare EINVAL: user_namespaces(7)."""
    if len(mappings) > _MAP_LINES:
        raise ConfigError(where, f"has {len(mappings)} ranges, the kernel takes {_MAP_LINES}")
    for index, mapping in enumerate(mappings):
        if not mapping.size:
            raise ConfigError(f"{where}[{index}].size", "must not be 0")
        for side, start in (("containerID", mapping.container_id), ("hostID", mapping.host_id)):
            if start + mapping.size > _IDS:
                raise ConfigError(f"{where}[{index}]", f"{side} {start} and size {mapping.size} exceed {_IDS - 1}")
        for other in mappings[:index]:
            inside, outside = other.container_id - mapping.container_id, other.host_id - mapping.host_id
            if -other.size < inside < mapping.size or -other.size < outside < mapping.size:
                raise ConfigError(f"{where}[{index}]", "overlaps an earlier range")


def check_joined(where: str, mappings: list[IDMapping], text: str) -> list[IDMapping]:
    """Those of /proc/PID/uid_map or gid_map; refuses others than these, where any are given."""
    wanted = sorted((mapping.container_id, mapping.host_id, mapping.size) for mapping in mappings)
    found = sorted(tuple(map(int, line.split())) for line in text.splitlines())
    if wanted and wanted != found:
        why = "user namespaces enabled, but both namespace path and non-matching mapping specified"
        raise ConfigError(where, f"{why} -- you may only provide one")
    return [IDMapping(container_id=inside, host_id=outside, size=size) for inside, outside, size in found]
