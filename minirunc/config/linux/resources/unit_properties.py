"""linux.resources as systemd's unit properties: what of a cgroup's files systemd writes, too.

At each daemon-reload and each change of the unit systemd writes its own values into the files of _FILES, whatever
stands there. So who has a limit there tells systemd as well, in the same value. The others (cpu.max.burst, io.max,
hugetlb.*, rdma.max ...) it leaves alone, but memory.oom.group: a scope's OOMPolicy (253, or ported back), told at its
start alone.

Source: systemd.resource-control(5), org.freedesktop.systemd1(5); cgroup_context_apply() in systemd's core/cgroup.c.
"""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Line = tuple[str, str, str]  # of limits(): JSON path, file, value
    Property = tuple[str, str, object]  # name, D-Bus signature, value

INFINITY = 2**64 - 1
_PERIOD = 100000  # microseconds: the kernel's, where none is written
_PERCENT = 10000  # microseconds a second: finer a quota is not kept in a unit's file
_SUFFIXES = "kmgtpe"
_MOST_NUMBER = 8191  # of a CPU or a memory node


def of(lines: "list[Line]", version: int) -> "list[Property]":
    """The properties for these lines, for systemd `version`; of two of one name the later line's.

    Raises ConfigError for a value that the kernel might take and systemd has no word for.
    """
    found: dict[str, Property] = {}
    for where, file, value in lines:
        if convert := _FILES.get(file):
            try:
                properties = convert(file, value.strip(), version)
            except ValueError as wrong:
                what = f'unified resource "{file}"' if where.endswith(".unified") else file
                raise ConfigError(where, f'{what} value conversion error: "{value}": {wrong}') from None
            found.update((one[0], one) for one in properties)
    return list(found.values())


def kept(lines: "list[Line]") -> "list[Line]":
    """The lines as they are to be written beside the properties: with the quota that systemd will write again."""
    return [(where, file, _ROUNDERS[file](value) if file in _ROUNDERS else value) for where, file, value in lines]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not a number")
    return int(text)


def _amount(text: str) -> int:
    """As the kernel's memparse() and "max" are read: 512M."""
    if text == "max":
        return INFINITY
    power = _SUFFIXES.find(text[-1:].lower()) + 1 if text else 0
    return min(_number(text[:-1] if power else text) << 10 * power, INFINITY)


def _memory(file: str, value: str, version: int) -> "list[Property]":  # noqa: ARG001 - each converter gets all
    name = "Memory" + file.removeprefix("memory.").replace(".", " ").title().replace(" ", "")
    return [(name, "t", _amount(value))]


def _pids(file: str, value: str, version: int) -> "list[Property]":  # noqa: ARG001
    """There is no 0."""
    return [("TasksMax", "t", INFINITY if value == "max" else _number(value) or 1)]


def _at_least_1(value: str) -> str:
    return "1" if value.strip() == "0" else value


def _cpuset(file: str, value: str, version: int) -> "list[Property]":
    """A bit each, the lowest number's first."""
    if version < 244:
        return []
    from minirunc.base import ranges

    bits = sum(1 << number for number in ranges.numbers(value, _MOST_NUMBER))
    name = "AllowedCPUs" if file == "cpuset.cpus" else "AllowedMemoryNodes"
    return [(name, "ay", bits.to_bytes((bits.bit_length() + 7) // 8, "little"))]


def _cpu_weight(file: str, value: str, version: int) -> "list[Property]":  # noqa: ARG001
    return [("CPUWeight", "t", _number(value))]


def _cpu_idle(file: str, value: str, version: int) -> "list[Property]":  # noqa: ARG001
    """1 is the weight 0 (252); 0 is what it is without."""
    return [("CPUWeight", "t", 0)] if value == "1" and version >= 252 else []


def _quota(value: str) -> tuple[int, int]:
    """Of cpu.max: microseconds a second, rounded up to a percent, and the period."""
    first, *rest = value.split()
    if len(rest) > 1:
        raise ValueError('expected "QUOTA PERIOD"')
    period = _number(rest[0]) if rest else _PERIOD
    if first == "max":
        return INFINITY, period  # which it does not write again: where there is no quota it has the usual one
    if not period:
        raise ValueError("the period is 0")
    a_second = _number(first) * 1000000 // period
    return min(-(-a_second // _PERCENT) * _PERCENT, INFINITY), period


def _cpu_max(file: str, value: str, version: int) -> "list[Property]":  # noqa: ARG001
    if not value:
        raise ValueError("is empty")
    quota, period = _quota(value)
    periods: list[Property] = [("CPUQuotaPeriodUSec", "t", period)] if version >= 242 else []
    return [*periods, ("CPUQuotaPerSecUSec", "t", quota)]


def _rounded(value: str) -> str:
    """cpu.max as it comes back from systemd."""
    try:
        quota, period = _quota(value)
    except ValueError:
        return value  # the kernel will say so
    if quota == INFINITY:
        return value
    first, *rest = value.split()
    exact = int(first) * 1000000 % (period * _PERCENT) == 0
    return value if exact else " ".join([str(quota * period // 1000000), *rest])


def _io_weight(file: str, value: str, version: int) -> "list[Property]":  # noqa: ARG001
    """That of all devices; a single device's is left alone, as is BFQ's scale of 1 to 1000, which systemd stretches."""
    words = value.split()
    if words[:1] == ["default"]:
        del words[0]
    if len(words) != 1:
        return []
    weight = _number(words[0])
    if file == "io.bfq.weight" and weight > 100:
        weight = 100 + (weight - 100) * 11
    return [("IOWeight", "t", weight)]


_FILES: "dict[str, Callable[[str, str, int], list[Property]]]" = {
    "cpu.idle": _cpu_idle,
    "cpu.max": _cpu_max,
    "cpu.weight": _cpu_weight,
    "cpuset.cpus": _cpuset,
    "cpuset.mems": _cpuset,
    "io.bfq.weight": _io_weight,
    "io.weight": _io_weight,
    "memory.high": _memory,
    "memory.low": _memory,
    "memory.max": _memory,
    "memory.min": _memory,
    "memory.swap.max": _memory,
    "pids.max": _pids,
}

_ROUNDERS: "dict[str, Callable[[str], str]]" = {"cpu.max": _rounded, "pids.max": _at_least_1}
