"""linux.devices: device nodes made in the container beside the default ones."""

from minirunc.base.record import Int64, Record, UInt32


class Device(Record):
    type: str  # c, b, u or p
    path: str
    major: Int64 = 0
    minor: Int64 = 0
    file_mode: UInt32 | None
    uid: UInt32 | None
    gid: UInt32 | None
