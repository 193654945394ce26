"""linux.resources.rdma: the rdma controller's limits, one a device."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record, UInt32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources


class Rdma(Record):
    hca_handles: UInt32 | None
    hca_objects: UInt32 | None


def check(resources: "Resources") -> None:
    """The device's name begins a line of rdma.max."""
    for device, limit in resources.rdma.items():
        where = f'linux.resources.rdma["{device}"]'
        if device.split() != [device]:
            raise ConfigError(where, "is not the name of a device")
        if limit.hca_handles is None and limit.hca_objects is None:
            raise ConfigError(where, "must have hcaHandles or hcaObjects")


def cgroup_files(rdma: dict[str, Rdma]) -> list[tuple[str, str]]:
    files = []
    for device, limit in rdma.items():
        line = device
        if limit.hca_handles is not None:
            line += f" hca_handle={limit.hca_handles}"
        if limit.hca_objects is not None:
            line += f" hca_object={limit.hca_objects}"
        files.append(("rdma.max", line))
    return files
