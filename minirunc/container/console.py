"""The terminal: a pty of the container's own devpts, its slave as the process's streams, its master for us.

Everything is by fd, and checked before it is opened: a device that an image has put there may act when it is
(CVE-2025-52565). The slave comes from TIOCGPTPEER, never by a path.
Sources: ioctl_tty(2), pty(7); runc's console socket protocol: one message, one SCM_RIGHTS fd.
"""

from struct import pack, unpack_from

from minirunc.base.errors import SecurityError
from minirunc.config.linux import devices
from minirunc.config.process import Process
from minirunc.kernel import inroot, procfs
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    DEVPTS_SUPER_MAGIC,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    O_CLOEXEC,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_RDWR,
    OPEN_TREE_CLONE,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    STATX_BASIC_STATS,
    TIOCGPTPEER,
    TIOCSCTTY,
    TIOCSPTLCK,
    TIOCSWINSZ,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out

_PTMX = 0o020000, 5, 2
_SLAVES = range(136, 144)  # UNIX98_PTY_SLAVE_MAJOR and the seven after it


class _Found:
    """What an fd is: kind, device numbers, and the magic of its file system."""

    __slots__ = ("fs", "stat")

    def __init__(self, fd: Fd, do: Batch) -> None:
        self.stat, self.fs = Out(256), Out(120)
        do.tolerate(do.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, self.stat))
        do.tolerate(do.fstatfs(fd, self.fs))

    def device(self) -> tuple[int, int, int]:
        """File type, major and minor number."""
        kind = int.from_bytes(self.stat.data[28:30], "little") & 0o170000
        major, minor = unpack_from("<2I", self.stat.data, 128)
        return kind, major, minor

    def on_devpts(self) -> bool:
        return int.from_bytes(self.fs.data[:8], "little") == DEVPTS_SUPER_MAGIC


def make(hand: Hand, tree: inroot.Tree, process: Process, *, dev_console: bool = False) -> int:
    """Give the hand a terminal on fds 0 to 2; returns our fd of the master. `dev_console`: also as /dev/console."""
    master = _open_ptmx(hand, tree)
    with hand.batch() as do:
        opened = _Found(master, do)
        do.ioctl(master, TIOCSPTLCK, pack("<i", 0))
        slave = do.ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)
        peer = _Found(slave, do)
    kind, major, _ = peer.device()
    if opened.device() != _PTMX or kind != _PTMX[0] or major not in _SLAVES or not peer.on_devpts():
        raise SecurityError("the terminal in the container is not of a devpts file system")
    with hand.batch() as do:
        do.fchown(slave, process.user.uid, -1)
        if process.console_size is not None:
            size = pack("<4H", process.console_size.height, process.console_size.width, 0, 0)
            do.ioctl(master, TIOCSWINSZ, size)
    if dev_console:
        _bind(hand, tree, int(slave), peer)
    ours = hand.receive_fd(master)
    with hand.batch() as do:
        do.ioctl(slave, TIOCSCTTY, 0)
        for stream in (0, 1, 2):
            do.dup3(slave, stream)
        do.close(slave)
        do.close(master)
    return ours


def _open_ptmx(hand: Hand, tree: inroot.Tree) -> int:
    """The ptmx of the devpts on /dev/pts: nobody can put another there, and what is mounted over it is not taken.

    Where there is none, whatever /dev/ptmx leads to, if it is that device.
    """
    pts = inroot.find(hand, *tree.at("/dev/pts/"))
    if pts >= 0:
        with hand.batch() as do:
            found = _Found(pts, do)
        master: Fd = -1
        with hand.batch() as do:
            if found.on_devpts():
                resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
                master = do.tolerate(do.openat2(pts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, resolve))
            do.close(pts)
        if int(master) >= 0:
            return int(master)
    node = inroot.open_path(hand, *tree.at("/dev/ptmx"))
    with hand.batch() as do:
        found = _Found(node, do)
    if found.device() != _PTMX:
        raise SecurityError("/dev/ptmx in the container is not the device c 5:2")
    proc = procfs.private(hand, tree.root)  # to open what was looked at, not what has this name now
    with hand.batch() as do:
        opened = do.openat(proc, f"self/fd/{node}", O_RDWR | O_NOCTTY | O_CLOEXEC)
        do.close(proc)
        do.close(node)
    return int(opened)


def _bind(hand: Hand, tree: inroot.Tree, slave: int, peer: _Found) -> None:
    """The slave as /dev/console, in the container's real /dev and never through a link."""
    with hand.batch() as do:
        in_dev = devices.open_dev(tree, do)
        do.tolerate(do.mknodat(in_dev, "console", 0o100644, 0))
        target = do.openat(in_dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC)
        before = _Found(target, do)
    if before.device()[0] == 0o120000:
        raise SecurityError("/dev/console in the container is a symbolic link")
    with hand.batch() as do:
        copy = do.open_tree(slave, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH)
        do.move_mount(copy, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
        again = do.tolerate(do.openat(in_dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC))
        after = _Found(again, do)
        for fd in (copy, target, again, in_dev):
            do.tolerate(do.close(fd))
    if after.device() != peer.device() or not after.on_devpts():
        raise SecurityError("/dev/console was replaced while it was mounted")
