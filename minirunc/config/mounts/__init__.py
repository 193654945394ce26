"""mounts: file systems mounted in order into the new root, before it becomes `/`."""

from minirunc.base.record import Record
from minirunc.config import IDMapping


class Mount(Record):
    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []
    uid_mappings: list[IDMapping] = []
    gid_mappings: list[IDMapping] = []
