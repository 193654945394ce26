"""root: the container's root file system; container/birth opens it first and makes it `/` last."""

from posix import close, readlink, stat, strerror
from posix import open as posix_open

from minirunc.base.errors import ConfigError, Error, SyscallError
from minirunc.base.record import Record
from minirunc.config import need_namespace
from minirunc.kernel import procfs
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_SLAVE,
    MS_UNBINDABLE,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


class Root(Record):
    path: str  # relative to the bundle, or absolute
    readonly: bool = False


def check(config: "Config") -> None:
    """Whether it is there is seen when it is opened."""
    if not config.root.path:
        raise ConfigError("root.path", "must not be empty")
    if config.root.readonly and config.linux.namespace("mount") is None and config.linux.namespace("user"):
        raise ConfigError("root.readonly", "a user namespace needs a mount namespace for it: list one, or set false")
    if config.root.readonly and config.linux.namespace("mount"):  # without one, it is in the caller's
        why = "unable to make the root read-only without a private MNT namespace"
        need_namespace(config, "mount", "root.readonly", why, new=True)


EACCES, EINVAL = 13, 22


def on_host(root: Root, bundle: str) -> str:
    """The rootfs as an absolute host path; raises Error if it is not a directory, or below the bundle or `/` by a link.

    Who unpacks an image may have been given a link in place of its root: the container would get the host's files.
    """
    path = root.path if root.path.startswith("/") else f"{bundle}/{root.path}"
    try:
        found = stat(path)
    except OSError as error:
        raise Error(f"invalid rootfs: stat {path}: {strerror(error.errno or 0).lower()}") from None
    if found.st_mode & 0o170000 != 0o040000:
        raise Error(f"invalid rootfs: {path} is not a directory")
    real = _real(path)
    if real != _clean(path) and (root.path.startswith("/") or real != _clean(f"{_real(bundle)}/{root.path}")):
        raise Error("invalid rootfs: not an absolute path, or a symlink")  # runc's words
    return real


def _real(path: str) -> str:
    """realpath(3), at a tenth of the cost."""
    fd = posix_open(path, O_PATH | O_CLOEXEC)
    try:
        return readlink(f"/proc/self/fd/{fd}")
    finally:
        close(fd)


def _clean(path: str) -> str:
    """The absolute path without `.` and `..`, by its text alone."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def prepare(on_host: str, propagation: int, hand: Hand, *, mounted: bool) -> int:
    """Make the root file system a mount of the container's own; returns the hand's fd of it.

    `on_host` is the rootfs; without a mount namespace (`mounted` is false) it is only opened.
    """
    if not mounted:
        with hand.batch() as do:
            fd = do.openat(AT_FDCWD, on_host, O_PATH | O_DIRECTORY | O_CLOEXEC)
        return int(fd)
    if propagation & MS_UNBINDABLE:  # said of the new root when it is in place: till then it is to be bound
        propagation = propagation & MS_REC | MS_PRIVATE
    alone = propagation in (MS_SLAVE | MS_REC, MS_PRIVATE | MS_REC)
    if not alone:
        # pivot_root(2) refuses a root below a shared mount; which mount that is, the kernel knows: ask upwards.
        with hand.batch() as do:
            do.mount(None, "/", None, propagation)
        _unshare_parent(on_host, MS_SLAVE if propagation & MS_SLAVE else MS_PRIVATE, hand)
    with hand.batch() as do:
        if alone:
            do.mount(None, "/", None, propagation)
        # The name is whole: where a link stands now, none stood when it was found.
        fd = do.tolerate(do.openat(AT_FDCWD, on_host, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
        tree = do.tolerate(_attach_onto(fd, do))
        do.tolerate(do.close(fd))
    if int(fd) == -EACCES:  # root of a user namespace may not walk there: we may
        ours = procfs.open_in_mount_ns(hand.pid, on_host)
        fd = hand.send_fd(ours)
        close(ours)
        with hand.batch() as do:
            tree = _attach_onto(fd, do)
            do.close(fd)
    elif int(fd) < 0:
        raise Error(f"invalid rootfs: open {on_host}: {strerror(-int(fd)).lower()}")
    if int(tree) < 0:
        raise SyscallError("open_tree", f'"{on_host}", OPEN_TREE_CLONE|AT_RECURSIVE', -int(tree))
    return int(tree)


def _attach_onto(fd: Fd, do: Batch) -> Fd:
    """A copy of the tree mounted onto itself; the fd of the copy."""
    tree = do.open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH)
    do.tolerate(do.move_mount(tree, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
    return tree


def _unshare_parent(on_host: str, propagation: int, hand: Hand) -> None:
    path = on_host
    while True:
        with hand.batch() as do:
            done = do.tolerate(do.mount(None, path or "/", None, propagation))
        if int(done) != -EINVAL or not path:  # EINVAL: not the root of a mount
            return
        path = path.rpartition("/")[0]


def pivot(root: int, do: Batch) -> None:
    """Make it `/` and let go of the host's tree, which is on top of it for a moment (pivot_root(2) "." ".")."""
    old = do.openat(AT_FDCWD, "/", O_DIRECTORY | O_CLOEXEC)
    do.fchdir(root)
    do.pivot_root(".", ".")
    do.fchdir(old)
    do.mount(None, ".", None, MS_SLAVE | MS_REC)  # so that unmounting it does not reach the host
    do.umount2(".", MNT_DETACH)
    do.close(old)
    do.chdir("/")


def move(root: int, rootfs: str, hand: Hand) -> None:
    """--no-pivot: move it over `/`; what lies below stays, and is only out of sight.

    A procfs or sysfs there would allow a new one in a user namespace, so they go (mount_namespaces(7), and
    mount_too_revealing in fs/namespace.c).
    """
    for on_host in procfs.mounts_of(hand.pid, ("proc", "sysfs"), beside=rootfs):
        with hand.batch() as do:
            do.tolerate(do.mount(None, on_host, None, MS_SLAVE | MS_REC))
            gone = do.tolerate(do.umount2(on_host, MNT_DETACH))
        if int(gone) < 0:
            with hand.batch() as do:
                do.mount("tmpfs", on_host, "tmpfs", MS_RDONLY)
    with hand.batch() as do:
        do.fchdir(root)
        do.move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH)
        do.chroot(".")
        do.chdir("/")


def change(root: int, hand: Hand) -> None:
    """Without a mount namespace: chroot(2) is all there is."""
    with hand.batch() as do:
        do.fchdir(root)
        do.chroot(".")
        do.chdir("/")


def finish(root: Root, fd: int, do: Batch) -> None:
    """Read-only, when everything is in place."""
    if root.readonly:
        do.mount_setattr(fd, "", AT_EMPTY_PATH, Words(MOUNT_ATTR_RDONLY, 0, 0, 0))
