"""process.scheduler: sched_setattr(2) on the container's process before its execve."""

from minirunc.base.record import Int32, Record, UInt64


class Scheduler(Record):
    policy: str = ""
    nice: Int32 = 0
    priority: Int32 = 0
    flags: list[str] = []
    runtime: UInt64 = 0  # ns
    deadline: UInt64 = 0  # ns
    period: UInt64 = 0  # ns
