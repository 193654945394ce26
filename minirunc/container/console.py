"""The terminal: a pty of the container's own devpts, its slave as the process's streams, its master for us.

Everything is by fd and checked (CVE-2025-52565): the slave comes from TIOCGPTPEER, never by a path.
Sources: ioctl_tty(2), pty(7); runc's console socket protocol: one message, one SCM_RIGHTS fd.
"""

from struct import pack

from minirunc.base.errors import SecurityError
from minirunc.config.process import Process
from minirunc.kernel import inroot
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    DEVPTS_SUPER_MAGIC,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    O_CLOEXEC,
    O_NOCTTY,
    O_RDWR,
    OPEN_TREE_CLONE,
    TIOCGPTPEER,
    TIOCSCTTY,
    TIOCSPTLCK,
    TIOCSWINSZ,
)
from minirunc.kernel.hand import Hand
from minirunc.kernel.syscalls import Out


def make(hand: Hand, root: int, process: Process, *, dev_console: bool = False) -> int:
    """Give the hand a terminal on fds 0 to 2; returns our fd of the master. `dev_console`: also as /dev/console."""
    master = inroot.find(hand, root, "dev/pts/ptmx", O_RDWR | O_NOCTTY)
    if master < 0:
        master = inroot.open_path(hand, root, "dev/ptmx", O_RDWR | O_NOCTTY)
    magic = Out(120)
    with hand.batch() as do:
        do.fstatfs(master, magic)
    if int.from_bytes(magic.data[:8], "little") != DEVPTS_SUPER_MAGIC:
        raise SecurityError("/dev/pts/ptmx in the container is not of a devpts file system")
    with hand.batch() as do:
        do.ioctl(master, TIOCSPTLCK, pack("<i", 0))
        slave = do.ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)
        do.fchown(slave, process.user.uid, -1)
        if process.console_size is not None:
            size = pack("<4H", process.console_size.height, process.console_size.width, 0, 0)
            do.ioctl(master, TIOCSWINSZ, size)
    if dev_console:
        _bind(hand, root, int(slave))
    ours = hand.receive_fd(master)
    with hand.batch() as do:
        do.ioctl(slave, TIOCSCTTY, 0)
        for stream in (0, 1, 2):
            do.dup3(slave, stream)
        do.close(slave)
        do.close(master)
    return ours


def _bind(hand: Hand, root: int, slave: int) -> None:
    target = inroot.file(hand, root, "dev/console")
    with hand.batch() as do:
        tree = do.open_tree(slave, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH)
        do.move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
        do.close(tree)
        do.close(target)
