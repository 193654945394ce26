"""mounts of a container that lives already: what is bound is the host's, the hand is inside by then.

Imported only for those. Sources: open_tree(2), mount_setattr(2).
"""

from posix import close

from minirunc.base.errors import SyscallError
from minirunc.config.mounts.target import Place
from minirunc.kernel.constants import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, MS_SLAVE, STATX_BASIC_STATS
from minirunc.kernel.syscalls import Out, Words, local

EPERM = 1


def source_tree(source: str, flags: int, place: Place) -> tuple[int, int]:
    """A detached copy of the host's mounts there, as the hand's fd, and the source's st_mode.

    As a copy made at birth it is no peer of the host's: what is mounted in it later is the container's alone.
    """
    do, stat = local(), Out(256)
    try:
        tree = int(do.open_tree(AT_FDCWD, source, flags))
    except SyscallError as error:
        if error.errno == EPERM:
            error.message += ": only root may copy mounts of the host into a container that exists"
        raise
    try:
        do.statx(tree, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat)
        do.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, Words(0, 0, MS_SLAVE, 0))
        return place.hand.send_fd(tree), int.from_bytes(stat.data[28:30], "little")
    finally:
        close(tree)
