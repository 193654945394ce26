"""linux.timeOffsets: clock offsets of a new time namespace, written from outside before a process enters."""

from minirunc.base.record import Int64, Record, UInt32


class TimeOffset(Record):
    secs: Int64 = 0
    nanosecs: UInt32 = 0
