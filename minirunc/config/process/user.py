"""process.user: set inside, after the groups and before execve."""

from minirunc.base.record import Record, UInt32


class User(Record):
    uid: UInt32 = 0
    gid: UInt32 = 0
    umask: UInt32 | None
    additional_gids: list[UInt32] = []
