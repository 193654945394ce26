"""linux.resources.memory: the memory controller's limits."""

from minirunc.base.record import Int64, Record, UInt64


class Memory(Record):
    """All in bytes; -1 is no limit."""

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
