"""`update`: other limits for a container, from a document in the form of linux.resources, or from options."""

from minirunc.base import files, jsontext
from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.container import update as container_update
from minirunc.container.store import Store

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DIGITS = "0123456789"
_UNSIGNED = 0, 2**64 - 1
_SIGNED = -(2**63), 2**63 - 1


def update(
    settings: Settings,
    container_id: str,
    *,
    resources: str,
    blkio_weight: int,
    cpu_period: str,
    cpu_quota: str,
    cpu_burst: str,
    cpu_share: str,
    cpu_rt_period: str,
    cpu_rt_runtime: str,
    cpuset_cpus: str,
    cpuset_mems: str,
    kernel_memory: str,
    kernel_memory_tcp: str,
    memory: str,
    cpu_idle: str,
    memory_reservation: str,
    memory_swap: str,
    pids_limit: int | None,
    l3_cache_schema: str,
    mem_bw_schema: str,
) -> int:
    """See `container.update`; with `resources` only the two schemas count beside it."""
    store = Store(settings.root, container_id)
    store.load()  # for one that is not there nobody need write to our stdin
    if resources:
        name = "stdin" if resources == "-" else resources
        told = jsontext.loads(files.read_document(resources), name)
    else:
        name = "update"
        told = _document({
            "blockIO.weight": blkio_weight or None,
            "cpu.burst": _number("cpu-burst", cpu_burst, _UNSIGNED),
            "cpu.cpus": cpuset_cpus or None,
            "cpu.idle": _number("cpu-idle", cpu_idle, _SIGNED),
            "cpu.mems": cpuset_mems or None,
            "cpu.period": _number("cpu-period", cpu_period, _UNSIGNED),
            "cpu.quota": _number("cpu-quota", cpu_quota, _SIGNED),
            "cpu.realtimePeriod": _number("cpu-rt-period", cpu_rt_period, _UNSIGNED),
            "cpu.realtimeRuntime": _number("cpu-rt-runtime", cpu_rt_runtime, _SIGNED),
            "cpu.shares": _number("cpu-share", cpu_share, _UNSIGNED),
            "memory.kernel": _bytes("kernel-memory", kernel_memory),
            "memory.kernelTCP": _bytes("kernel-memory-tcp", kernel_memory_tcp),
            "memory.limit": _bytes("memory", memory),
            "memory.reservation": _bytes("memory-reservation", memory_reservation),
            "memory.swap": _bytes("memory-swap", memory_swap),
            "pids.limit": pids_limit,
        })  # fmt: skip
    container_update.update(store, told, name, l3_cache_schema=l3_cache_schema, mem_bw_schema=mem_bw_schema)
    return 0


def _document(members: dict[str, int | str | None]) -> dict[str, dict[str, int | str]]:
    """The members that are given, by their JSON path."""
    document: dict[str, dict[str, int | str]] = {}
    for path, value in members.items():
        if value is not None:
            controller, _, name = path.partition(".")
            document.setdefault(controller, {})[name] = value
    return document


def _number(option: str, text: str, limits: tuple[int, int]) -> int | None:
    """A decimal number; None where the option was not given."""
    if not text:
        return None
    low, high = limits
    digits = text[1:] if low and text[0] in "+-" else text
    if digits.isascii() and digits.isdigit() and len(digits) < 100 and low <= int(text) <= high:
        return int(text)
    raise Error(f"invalid value for {option}: expected a number from {low} to {high}, got {text[:40]!r}")


def _bytes(option: str, text: str) -> int | None:
    """Bytes as Docker writes them: 1073741824, 1048576k, 1024m, 1.5G, 1 GiB; -1 is no limit."""
    if not text or text == "-1":
        return -1 if text else None
    end = max(text.rfind(character) for character in _DIGITS + ". ") + 1
    number, suffix = text[:end].removesuffix(" "), text[end:].lower()
    unit = _UNITS.get(suffix[:1], 1)
    if number and suffix not in ("", "b") and (suffix[:1] not in _UNITS or suffix[1:] not in ("", "b", "ib")):
        raise Error(f"invalid value for {option}: invalid suffix: {suffix[:40]!r}")
    if number and set(number) <= set(_DIGITS + "+-.eE"):
        try:
            size = int(number) * unit if number.isdigit() and len(number) < 100 else int(float(number) * unit)
        except (ValueError, OverflowError):
            size = -1
        if 0 <= size <= _SIGNED[1]:
            return size
    raise Error(f"invalid value for {option}: invalid size: {text[:40]!r}")
