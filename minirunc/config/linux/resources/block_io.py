"""linux.resources.blockIO: the io controller's weights and limits."""

from minirunc.base.record import Int64, Record, UInt16, UInt64


class WeightDevice(Record):
    major: Int64
    minor: Int64
    weight: UInt16 | None
    leaf_weight: UInt16 | None


class ThrottleDevice(Record):
    major: Int64
    minor: Int64
    rate: UInt64 = 0  # bytes or operations a second


class BlockIO(Record):
    NAMES = {
        "throttle_read_iops_device": "throttleReadIOPSDevice",
        "throttle_write_iops_device": "throttleWriteIOPSDevice",
    }
    weight: UInt16 | None
    leaf_weight: UInt16 | None
    weight_device: list[WeightDevice] = []
    throttle_read_bps_device: list[ThrottleDevice] = []
    throttle_write_bps_device: list[ThrottleDevice] = []
    throttle_read_iops_device: list[ThrottleDevice] = []
    throttle_write_iops_device: list[ThrottleDevice] = []
