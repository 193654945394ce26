"""linux.resources.blockIO: the io controller's weights and limits."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Int64, Record, UInt16, UInt64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources


class WeightDevice(Record):
    major: Int64
    minor: Int64
    weight: UInt16 | None
    leaf_weight: UInt16 | None


class ThrottleDevice(Record):
    major: Int64
    minor: Int64
    rate: UInt64 = 0  # bytes or operations a second; 0: no limit


class BlockIO(Record):
    NAMES = {
        "throttle_read_iops_device": "throttleReadIOPSDevice",
        "throttle_write_iops_device": "throttleWriteIOPSDevice",
    }
    weight: UInt16 | None  # 10 to 1000
    leaf_weight: UInt16 | None
    weight_device: list[WeightDevice] = []
    throttle_read_bps_device: list[ThrottleDevice] = []
    throttle_write_bps_device: list[ThrottleDevice] = []
    throttle_read_iops_device: list[ThrottleDevice] = []
    throttle_write_iops_device: list[ThrottleDevice] = []


def check(resources: "Resources") -> None:
    """The kernel would say ERANGE."""
    block_io = resources.block_io
    if block_io is None:
        return
    where = "linux.resources.blockIO"
    if block_io.weight and not 10 <= block_io.weight <= 1000:
        raise ConfigError(f"{where}.weight", f"expected an integer from 10 to 1000, got {block_io.weight}")
    for index, one in enumerate(block_io.weight_device):
        here = f"{where}.weightDevice[{index}]"
        if one.weight is None and one.leaf_weight is None:
            raise ConfigError(here, "must have weight or leafWeight")
        if one.weight and not 10 <= one.weight <= 1000:
            raise ConfigError(f"{here}.weight", f"expected an integer from 10 to 1000, got {one.weight}")


def cgroup_files(block_io: BlockIO) -> list[tuple[str, str]]:
    """A weight stands twice, for BFQ and for io.cost: where io.bfq.weight is, io.weight is left out.

    runc gives the weights of single devices to BFQ alone, and else drops them.
    """
    files = []
    weights = [("", block_io.weight), *((f"{one.major}:{one.minor} ", one.weight) for one in block_io.weight_device)]
    for device, weight in weights:
        if weight:
            files.append(("io.bfq.weight", f"{device}{weight}"))
            files.append(("io.weight", f"{device}{1 + (weight - 10) * 9999 // 990}"))
    for key, devices in (
        ("rbps", block_io.throttle_read_bps_device),
        ("wbps", block_io.throttle_write_bps_device),
        ("riops", block_io.throttle_read_iops_device),
        ("wiops", block_io.throttle_write_iops_device),
    ):
        files += [("io.max", f"{one.major}:{one.minor} {key}={one.rate or 'max'}") for one in devices]
    return files
