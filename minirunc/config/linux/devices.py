"""linux.devices: device nodes made in the container beside the default ones."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Int64, Record, UInt32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

# The kernel's dev_t has 12 bits for major, 20 for minor.
_BOUNDS = (("major", 2**12 - 1), ("minor", 2**20 - 1))


class Device(Record):
    type: str  # c or u, b, p
    path: str
    major: Int64 = 0
    minor: Int64 = 0
    file_mode: UInt32 | None  # absent: 0666
    uid: UInt32 | None  # absent: 0
    gid: UInt32 | None


def check(config: "Config") -> None:
    for index, device in enumerate(config.linux.devices):
        where = f"linux.devices[{index}]"
        if device.type not in ("b", "c", "p", "u"):
            raise ConfigError(f"{where}.type", f'invalid device type "{device.type}"')
        if not device.path.startswith("/"):
            raise ConfigError(f"{where}.path", f'must be an absolute path, got "{device.path}"')
        if device.type != "p":
            for name, most in _BOUNDS:
                number = getattr(device, name)
                if not 0 <= number <= most:
                    raise ConfigError(
                        f"{where}.{name}", f"expected an integer from 0 to {most}, got {number}"
                    )
