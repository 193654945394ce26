"""linux.resources.rdma: the rdma controller's limits, one a device."""

from minirunc.base.record import Record, UInt32


class Rdma(Record):
    hca_handles: UInt32 | None
    hca_objects: UInt32 | None


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
