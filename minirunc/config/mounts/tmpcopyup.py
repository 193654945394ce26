"""mounts[].options tmpcopyup: a copy of what a new tmpfs will cover, made in it before it is attached, from outside.

The tree that is copied is the image's and may change meanwhile: every step is by fd, no link is followed, no mount is
crossed, nothing but a regular file is read (CVE-2021-30465). The tmpfs is nobody else's yet.
"""

import posix

from minirunc.base.errors import Error, SecurityError, SyscallError
from minirunc.kernel.constants import (
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from minirunc.kernel.hand import Hand
from minirunc.kernel.syscalls import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ENXIO, ENOTSUP = 6, 95
SEEK_DATA, SEEK_HOLE = 3, 4
_KIND, _REGULAR, _DIRECTORY, _LINK = 0o170000, 0o100000, 0o040000, 0o120000
_WRITE_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | O_NOFOLLOW | O_CLOEXEC
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV


def copy_up(hand: Hand, target: int, tree: int) -> None:
    """Copy what lies below the directory `target` into the file system `tree`; both are fds of the hand's."""
    covered = hand.receive_fd(target)
    made = hand.receive_fd(tree)
    try:
        _Copy(made).everything(covered)
    finally:
        posix.close(covered)
        posix.close(made)


class _Copy:
    """One copy on its way: modes, owners, times, extended attributes, holes and hard links are kept."""

    __slots__ = ("links", "owner", "tree")

    def __init__(self, tree: int) -> None:
        root = posix.fstat(tree)
        self.tree = tree
        self.owner = root.st_uid, root.st_gid
        self.links: dict[tuple[int, int], str] = {}  # device and inode: its first name in the copy

    def everything(self, source: int) -> None:
        """All that is below the directory `source`.

        A directory is opened from the one before, if that is its parent, else from the top: their depth takes neither
        files nor stack.
        """
        waiting = [""]
        here = before = ""
        at = _open(source, ".", O_DIRECTORY), _open(self.tree, ".", O_DIRECTORY)
        top = source, self.tree
        try:
            while waiting:
                here = path = waiting.pop()
                near = path.startswith(before) and "/" not in path[len(before) : -1]
                at = _step(at, at if near else top, (path[len(before) :] if near else path) or ".")
                before = path
                for name in posix.listdir(at[0]):
                    here = path + name
                    if self._entry(*at, name, here):
                        waiting.append(f"{here}/")
                if path:
                    _attributes(*at)  # nothing is made in it any more
        except (OSError, SyscallError) as error:
            raise Error(f"tmpcopyup: {here.rstrip('/')}: {posix.strerror(error.errno or 0).lower()}") from None
        finally:
            for fd in at:
                posix.close(fd)

    def _entry(self, source: int, copy: int, name: str, path: str) -> bool:
        """Copy one; whether it is a directory, of which only the copy is made."""
        found = posix.stat(name, dir_fd=source, follow_symlinks=False)
        kind = found.st_mode & _KIND
        if kind == _DIRECTORY:
            self._make(lambda: posix.mkdir(name, 0o700, dir_fd=copy))
            return True
        identity = found.st_dev, found.st_ino
        if found.st_nlink > 1 and identity in self.links:
            posix.link(self.links[identity], name, src_dir_fd=self.tree, dst_dir_fd=copy, follow_symlinks=False)
            return False
        self.links[identity] = path
        if kind == _REGULAR:
            self._file(source, copy, name)
            return False
        if kind == _LINK:
            text = posix.readlink(name, dir_fd=source)
            self._make(lambda: posix.symlink(text, name, dir_fd=copy))
        else:
            self._make(lambda: posix.mknod(name, kind | 0o600, found.st_rdev, dir_fd=copy))
        posix.chown(name, found.st_uid, found.st_gid, dir_fd=copy, follow_symlinks=False)
        if kind != _LINK:
            posix.chmod(name, found.st_mode & 0o7777, dir_fd=copy)
        posix.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=copy, follow_symlinks=False)
        return False

    def _file(self, source: int, copy: int, name: str) -> None:
        opened = _open(source, name, O_NONBLOCK)
        try:
            if posix.fstat(opened).st_mode & _KIND != _REGULAR:
                raise SecurityError(f"tmpcopyup: {name} was replaced while it was copied")
            made = self._make(lambda: posix.open(name, _WRITE_NEW, 0o600, dir_fd=copy))
            try:
                _content(opened, made)
                _attributes(opened, made)
            finally:
                posix.close(made)
        finally:
            posix.close(opened)

    def _make(self, make: "Callable[[], int | None]") -> int:
        """Make something in the copy as its owner: who is not mapped in the file system's user namespace cannot."""
        uid, gid = posix.geteuid(), posix.getegid()
        if self.owner == (uid, gid):
            return make() or 0
        do = local()
        do.setfsgid(self.owner[1])
        do.setfsuid(self.owner[0])
        try:
            return make() or 0
        finally:
            do.setfsuid(uid)
            do.setfsgid(gid)


def _step(old: tuple[int, int], start: tuple[int, int], path: str) -> tuple[int, int]:
    """Open the directory `path` and its copy, from `start`; `old` is closed."""
    source = _open(start[0], path, O_DIRECTORY)
    try:
        copy = _open(start[1], path, O_DIRECTORY)
    except BaseException:
        posix.close(source)
        raise
    for fd in old:
        posix.close(fd)
    return source, copy


def _open(directory: int, name: str, flags: int) -> int:
    """Open for reading what `name` is here: no link, no other mount."""
    return int(local().openat2(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags, _RESOLVE))


def _content(source: int, copy: int) -> None:
    """All bytes; holes stay holes, as they would cost memory."""
    size = posix.fstat(source).st_size
    posix.ftruncate(copy, size)
    at = 0
    while at < size:
        try:
            at = posix.lseek(source, at, SEEK_DATA)
        except OSError as error:
            if error.errno != ENXIO:  # nothing but a hole up to the end
                raise
            return
        end = posix.lseek(source, at, SEEK_HOLE)
        posix.lseek(copy, at, 0)
        while at < end:
            sent = posix.sendfile(copy, source, at, end - at)
            if not sent:  # it became shorter meanwhile
                return
            at += sent


def _attributes(source: int, copy: int) -> None:
    """Owner before mode and extended attributes: a change of owner takes set-id bits and capabilities away."""
    found = posix.fstat(source)
    posix.chown(copy, found.st_uid, found.st_gid)
    posix.chmod(copy, found.st_mode & 0o7777)
    try:
        for name in posix.listxattr(source):
            posix.setxattr(copy, name, posix.getxattr(source, name))
    except OSError as error:
        if error.errno != ENOTSUP:
            raise
    posix.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
