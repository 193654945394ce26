"""linux.resources.cpu: the cpu and cpuset controllers' limits."""

from minirunc.base.record import Int64, Record, UInt64


class Cpu(Record):
    shares: UInt64 | None
    quota: Int64 | None  # microseconds a period
    burst: UInt64 | None  # microseconds
    period: UInt64 | None  # microseconds
    realtime_runtime: Int64 | None
    realtime_period: UInt64 | None
    cpus: str = ""  # a list: "0-3,7"
    mems: str = ""
    idle: Int64 | None
