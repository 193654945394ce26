"""linux.resources.hugepageLimits: the hugetlb controller's limits, one a page size."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record, UInt64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources


class HugepageLimit(Record):
    page_size: str  # "2MB"
    limit: UInt64  # bytes


def check(resources: "Resources") -> None:
    """The size becomes part of a file's name."""
    for index, limit in enumerate(resources.hugepage_limits):
        digits, unit = limit.page_size[:-2], limit.page_size[-2:]
        if unit not in ("KB", "MB", "GB") or not digits.isascii() or not digits.isdigit() or digits[0] == "0":
            where = f"linux.resources.hugepageLimits[{index}].pageSize"
            raise ConfigError(where, f'expected a size like 64KB, 2MB or 1GB, got "{limit.page_size}"')


def cgroup_files(hugepage_limits: list[HugepageLimit]) -> list[tuple[str, str]]:
    """Both for pages in use and, where the kernel counts them (since 5.7), for pages reserved."""
    return [
        (f"hugetlb.{limit.page_size}.{kind}", str(limit.limit))
        for limit in hugepage_limits
        for kind in ("max", "rsvd.max")
    ]
