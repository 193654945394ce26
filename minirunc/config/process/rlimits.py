"""process.rlimits: set from outside by prlimit(2): the runtime may raise hard limits."""

from minirunc.base.record import Record, UInt64


class Rlimit(Record):
    type: str
    soft: UInt64
    hard: UInt64
