"""linux.resources.pids: how many tasks the container may have."""

from minirunc.base.record import Int64, Record


class Pids(Record):
    limit: Int64 | None  # below 0: no limit


def cgroup_files(pids: Pids) -> list[tuple[str, str]]:
    """0 becomes 1, as in runc: systemd knows no 0, and the container's own process has its place already."""
    if pids.limit is None:
        return []
    return [("pids.max", "max" if pids.limit < 0 else str(pids.limit or 1))]
