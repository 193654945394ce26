"""linux.resources.devices: which devices the container may use; the last rule that matches decides."""

from minirunc.base.record import Int64, Record


class DeviceRule(Record):
    allow: bool
    type: str = ""  # a (or empty): all, b, c
    major: Int64 | None  # absent or -1: any
    minor: Int64 | None
    access: str = ""  # of r, w, m
