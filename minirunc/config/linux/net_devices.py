"""linux.netDevices: network devices moved from the host into the container. Not supported yet."""

from minirunc.base.record import Record
from minirunc.config import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


class NetDevice(Record):
    name: str = ""  # in the container; empty: as on the host


def check(config: "Config") -> None:
    if config.linux.net_devices:
        raise unsupported("linux.netDevices")
