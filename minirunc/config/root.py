"""root: the container's root file system; container/birth opens it first and makes it `/` last."""

from minirunc.base.record import Record


class Root(Record):
    path: str  # relative to the bundle, or absolute
    readonly: bool = False
