"""linux.resources.rdma: the rdma controller's limits, one a device."""

from minirunc.base.record import Record, UInt32


class Rdma(Record):
    hca_handles: UInt32 | None
    hca_objects: UInt32 | None
