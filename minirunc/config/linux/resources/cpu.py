"""linux.resources.cpu: the cpu and cpuset controllers' limits."""

from math import ceil, log2

from minirunc.base.errors import ConfigError
from minirunc.base.record import Int64, Record, UInt64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources


class Cpu(Record):
    shares: UInt64 | None
    quota: Int64 | None  # microseconds a period; 0 or less: no limit
    burst: UInt64 | None  # microseconds
    period: UInt64 | None  # microseconds; 0: 100000
    realtime_runtime: Int64 | None
    realtime_period: UInt64 | None
    cpus: str = ""  # a list: "0-3,7"
    mems: str = ""
    idle: Int64 | None


def check(resources: "Resources") -> None:
    """What the kernel would refuse by a bare EINVAL."""
    cpu = resources.cpu
    if cpu is None:
        return
    where = "linux.resources.cpu"
    if cpu.idle is not None and cpu.idle not in (0, 1):
        raise ConfigError(f"{where}.idle", f"expected 0 or 1, got {cpu.idle}")
    if cpu.idle and cpu.shares:
        why = f"cannot set both cpu.idle and cpu.shares: {where}.shares is {cpu.shares}, an idle cgroup has no weight"
        raise ConfigError(f"{where}.idle", why)
    if cpu.burst and cpu.quota and 0 < cpu.quota < cpu.burst:
        raise ConfigError(f"{where}.burst", f"{cpu.burst} is above {where}.quota {cpu.quota}")


def weight(shares: int) -> int:
    """cpu.shares of cgroup v1 (2 to 262144, usual 1024) as cpu.weight (1 to 10000, usual 100).

    A curve through the three points, as runc has had since 1.3; a straight line would give 39 for 1024.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = log2(shares)
    return ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def cgroup_files(cpu: Cpu) -> list[tuple[str, str]]:
    """cpu.max before its burst: the kernel refuses a burst above the quota."""
    files = []
    if cpu.idle is not None:
        files.append(("cpu.idle", str(cpu.idle)))
    if cpu.shares:
        files.append(("cpu.weight", str(weight(cpu.shares))))
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if cpu.quota and cpu.quota > 0 else "max"
        files.append(("cpu.max", f"{quota} {cpu.period or 100000}"))
    if cpu.burst is not None:
        files.append(("cpu.max.burst", str(cpu.burst)))
    if cpu.cpus:
        files.append(("cpuset.cpus", cpu.cpus))
    if cpu.mems:
        files.append(("cpuset.mems", cpu.mems))
    return files
