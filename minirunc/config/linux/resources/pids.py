"""linux.resources.pids: how many tasks the container may have."""

from minirunc.base.record import Int64, Record


class Pids(Record):
    limit: Int64 | None
