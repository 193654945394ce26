"""linux.resources.memory: the memory controller's limits."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Int64, Record, UInt64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources


class Memory(Record):
    """All in bytes; -1 is no limit, 0 as if absent."""

    NAMES = {"kernel_tcp": "kernelTCP", "disable_oom_killer": "disableOOMKiller"}
    limit: Int64 | None
    reservation: Int64 | None
    swap: Int64 | None  # memory and swap together
    kernel: Int64 | None
    kernel_tcp: Int64 | None
    swappiness: UInt64 | None
    disable_oom_killer: bool = False
    use_hierarchy: bool = False
    check_before_update: bool = False


def check(resources: "Resources") -> None:
    memory = resources.memory
    if memory is None:
        return
    where = "linux.resources.memory"
    for name, value in (("limit", memory.limit), ("reservation", memory.reservation), ("swap", memory.swap)):
        if value is not None and value < -1:
            raise ConfigError(f"{where}.{name}", f"invalid memory value: {value}: expected bytes, or -1 for no limit")
    limit, swap = memory.limit or 0, memory.swap or 0
    if swap > 0 and limit == 0:
        raise ConfigError(f"{where}.swap", f"unable to set swap limit without memory limit: {where}.limit is missing")
    if 0 < swap < limit:
        why = f"memory+swap limit should be >= memory limit: {swap} is below {where}.limit {limit}"
        raise ConfigError(f"{where}.swap", why)


def check_usage(memory: Memory, usage: int) -> None:
    """checkBeforeUpdate: refuse what would have the kernel kill; `usage` is memory.current, also of an empty cgroup.

    In runc's words. Raises ConfigError.
    """
    where = "linux.resources.memory"
    for name, what, value in (("swap", "memory+swap", memory.swap), ("limit", "memory", memory.limit)):
        if value is not None and 0 < value <= usage:
            raise ConfigError(f"{where}.{name}", f"rejecting {what} limit {value} <= usage {usage}")


def cgroup_files(memory: Memory) -> list[tuple[str, str]]:
    """Swap before memory.max: an update may lower both."""
    limit, swap = memory.limit or 0, memory.swap or 0
    if limit == -1 and swap == 0:
        swap = -1  # cgroup v1's meaning of a memory without limit
    files = []
    if swap > 0:
        files.append(("memory.swap.max", str(swap - limit if limit > 0 else swap)))
    elif swap == -1:
        files.append(("memory.swap.max", "max"))
    for file, value in (("memory.max", limit), ("memory.low", memory.reservation or 0)):
        if value:
            files.append((file, "max" if value == -1 else str(value)))
    return files
