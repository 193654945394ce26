"""mounts[].options `copy-symlink`, crun's: a source that is a link is made anew at the destination, not followed.

Imported only for mounts that ask for it. The link is made below a parent's fd and followed by nobody here.
"""

from posix import O_NOFOLLOW, close
from posix import readlink as posix_readlink

from minirunc.base.errors import Error, SyscallError
from minirunc.config.mounts.target import Job, Place
from minirunc.kernel import inroot, procfs
from minirunc.kernel.constants import AT_FDCWD
from minirunc.kernel.syscalls import Fd, Out

EACCES, EEXIST = 13, 17


def copy(source: str, job: Job, place: Place) -> bool:
    """Make the link again, its parents where missing; False if the source is no link, so that it is to be bound."""
    text = _read(source, place)
    if not text:
        return False
    root, in_root = place.tree.at(job.in_root)
    above, _, last = in_root.rpartition("/")
    parent = inroot.directory(place.hand, root, above)
    there = Out(4096)
    with place.hand.batch() as do:
        made = do.tolerate(do.symlinkat(text, parent, last))
        length = do.tolerate(do.readlinkat(parent, last, there))
        do.close(parent)
    if int(made) == -EEXIST and _text(there, length) != text:
        raise Error(f'"{job.mount.destination}" already exists and is not the link "{text}"')
    if int(made) < 0 and int(made) != -EEXIST:
        raise SyscallError("symlinkat", f'"{text}", root, "{job.in_root}"', -int(made))
    return True


def _read(source: str, place: Place) -> str:
    """The text of the link `source`; empty if it is none, or cannot be told: to bind it says why."""
    if place.live:
        try:
            return posix_readlink(source)
        except OSError:
            return ""
    room = Out(4096)
    with place.hand.batch() as do:
        length = do.tolerate(do.readlinkat(AT_FDCWD, source, room))
    if int(length) == -EACCES and place.userns:
        fd = procfs.open_in_mount_ns(place.hand.pid, source, O_NOFOLLOW)  # we may walk there
        try:
            return posix_readlink("", dir_fd=fd)
        except FileNotFoundError:  # as readlinkat(2) has it for what is no link
            return ""
        finally:
            close(fd)
    return _text(room, length)


def _text(room: Out, length: Fd) -> str:
    return room.data[: max(int(length), 0)].decode("utf-8", "surrogateescape")
