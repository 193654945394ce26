"""Mounts of a container without a mount namespace of its own: made in the caller's, below its root, and undone.

    birth    a copy of the root's mount, detached; its id is written down; attached onto the root, private: all mounts
             of the container are below it
    a birth that failed, delete    what stands at the root, if it is that very mount, is detached with all below

After delete the root stays mounted onto itself, bare, for who unmounts it as after runc, which leaves everything.
Imported only for such containers. Sources: open_tree(2), statx(2), umount(2).
"""

import posix
from struct import unpack_from

from minirunc.base import log
from minirunc.container.store import Store, boot_id
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_PRIVATE,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    STATX_ATTR_MOUNT_ROOT,
    STATX_MNT_ID,
    STATX_MNT_ID_UNIQUE,
)
from minirunc.kernel.hand import Hand
from minirunc.kernel.syscalls import Calls, Fd, Out, Words, local

FILE = "mounted"  # in the state directory: boot id, mount id, root
_OPEN = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
_EMPTY = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH


def prepare(rootfs: str, hand: Hand, store: Store) -> int:
    """Mount the root onto itself; returns the hand's fd of it."""
    stat = Out(256)
    with hand.batch() as do:
        fd = do.openat(AT_FDCWD, rootfs, _OPEN)
        tree = do.open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH)
        _look(do, tree, stat)
    store.write(FILE, f"{boot_id()} {_mount_id(stat)} {rootfs}".encode("utf-8", "surrogateescape"))
    with hand.batch() as do:
        do.move_mount(tree, "", fd, "", _EMPTY)
        # Of a shared mount it has become a peer: what is mounted below is nobody else's.
        do.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, Words(0, 0, MS_PRIVATE, 0))
        do.close(fd)
    return int(tree)


def undo(store: Store, *, failed: bool = False) -> None:
    """Let go of all that was mounted below the root, and after a birth that failed of the root's own mount.

    What else stands there by now is left alone: the mount is known by its id and held by an fd, never by its path.
    """
    if not store.exists(FILE):
        return
    boot, _, rest = store.read(FILE).decode("utf-8", "surrogateescape").partition(" ")
    number, _, rootfs = rest.partition(" ")
    try:
        mounted = posix.open(rootfs, _OPEN)
    except OSError:
        return  # it is gone, and what was mounted on it, too
    do = local()
    try:
        stat = Out(256)
        _look(do, mounted, stat)
        if boot != boot_id() or str(_mount_id(stat)) != number:
            return
        do.umount2(f"/proc/self/fd/{mounted}", MNT_DETACH)
    finally:
        posix.close(mounted)
    if not failed:
        _put_back(rootfs)


def _put_back(rootfs: str) -> None:
    """Mount the root onto itself again, without anything below, if it is no mount point anyhow."""
    do = local()
    fd = posix.open(rootfs, _OPEN)
    try:
        stat = Out(256)
        _look(do, fd, stat)
        if not unpack_from("<Q", stat.data, 8)[0] & STATX_ATTR_MOUNT_ROOT:
            bare = do.open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)
            try:
                do.move_mount(bare, "", fd, "", _EMPTY)
            finally:
                posix.close(int(bare))
        log.warning(f"{rootfs} stays a mount point, as the container had no mount namespace: umount it")
    finally:
        posix.close(fd)


def _look(do: Calls, fd: Fd, stat: Out) -> None:
    do.statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_MNT_ID_UNIQUE, stat)


def _mount_id(stat: Out) -> int:
    """One that never comes again, from Linux 6.8 on."""
    return int.from_bytes(stat.data[144:152], "little")
