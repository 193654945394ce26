"""linux.resources.hugepageLimits: the hugetlb controller's limits, one a page size."""

from minirunc.base.record import Record, UInt64


class HugepageLimit(Record):
    page_size: str  # "2MB"
    limit: UInt64  # bytes
