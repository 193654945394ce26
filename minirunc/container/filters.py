"""The compiled system call filters, kept below the state root by what they were compiled from.

    <root>/:seccomp/<digest>   of the linux.seccomp section and of how it is compiled
        digest of what follows | libseccomp's mtime in ns, size, inode | length of its path | path | BPF program

The name is no container's, as ids have no colon. What somebody else could have written there is not believed, what
is broken is compiled anew; a libseccomp that was replaced makes new filters.
"""

import posix
from struct import Struct

from minirunc.base import log
from minirunc.config.linux import seccomp as field
from minirunc.config.linux.seccomp import Filter, Seccomp
from minirunc.container.store import Store, make_root

DIRECTORY = ":seccomp"
MOST = 64  # filters; each has at most 32 KiB
_FORM = b"minirunc seccomp 1"  # another number where the same section compiles to something else
_HEAD = Struct("<32s3QH")
_LONGEST = _HEAD.size + 4096 + 8 * 4096
_S_IFMT, _S_IFDIR, _S_IFREG = 0o170000, 0o040000, 0o100000


def compiled(seccomp: Seccomp | None, store: Store) -> Filter | None:
    """The filter of a checked section, None if it is none. Raises ConfigError, Error."""
    if seccomp is None or not field.is_filter(seccomp):
        return None
    key = _digest(_FORM, posix.uname().machine.encode(), repr(seccomp).encode("utf-8", "surrogateescape"))
    name = key.hex()
    program = _look_up(store.root, name, key)
    if program is None:
        program, library = _compile(seccomp)
        _keep(store.root, name, key, _described(library) + program)
    flags = field.flags(seccomp)
    log.debug(f"seccomp filter flags: {flags}")  # runc's words: tools look for them
    return Filter(program, flags)


def _digest(*parts: bytes) -> bytes:
    from _blake2 import blake2b  # built into the interpreter: hashlib costs a millisecond

    made = blake2b(digest_size=32)
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()


def _compile(seccomp: Seccomp) -> tuple[bytes, str]:
    """The program, and the path of the libseccomp that made it."""
    from minirunc.kernel.seccomp import Library

    library = Library()
    return field.compile_(seccomp, library), library.path()


def _described(library: str) -> bytes:
    """What stands before a program, but for the digest; the file as it is now."""
    path = library.encode("utf-8", "surrogateescape")
    found = posix.stat(path) if path else posix.stat("/")
    return _HEAD.pack(b"", found.st_mtime_ns, found.st_size, found.st_ino, len(path))[32:] + path


def _open(root: str) -> int:
    """The directory of the filters; raises OSError if it is not there or not ours alone."""
    fd = posix.open(f"{root}/{DIRECTORY}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    if not _is_ours(posix.fstat(fd), _S_IFDIR):
        posix.close(fd)
        raise OSError(1, posix.strerror(1), f"{root}/{DIRECTORY}")
    return fd


def _is_ours(found: posix.stat_result, kind: int) -> bool:
    """Whether nobody but us can have written it."""
    return found.st_mode & _S_IFMT == kind and found.st_uid == posix.geteuid() and not found.st_mode & 0o077


def _look_up(root: str, name: str, key: bytes) -> bytes | None:
    """The program kept under a name, if it is whole, ours and made by the libseccomp that is there now."""
    try:
        directory = _open(root)
        try:
            flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
            fd = posix.open(name, flags, dir_fd=directory)
        finally:
            posix.close(directory)
        try:
            text = posix.read(fd, _LONGEST + 1) if _is_ours(posix.fstat(fd), _S_IFREG) else b""
        finally:
            posix.close(fd)
        if not _HEAD.size < len(text) <= _LONGEST or text[:32] != _digest(key, text[32:]):
            return None
        end = _HEAD.size + _HEAD.unpack_from(text)[4]
        program = text[end:]
        library = text[_HEAD.size : end].decode("utf-8", "surrogateescape")
        return program if program and not len(program) % 8 and text[32:end] == _described(library) else None
    except OSError:
        return None


def _keep(root: str, name: str, key: bytes, text: bytes) -> None:
    """Put a program there for the next time; where that cannot be, it is compiled again then."""
    try:
        try:
            posix.mkdir(f"{root}/{DIRECTORY}", 0o700)
        except FileNotFoundError:
            make_root(root)
            posix.mkdir(f"{root}/{DIRECTORY}", 0o700)
    except FileExistsError:
        pass
    except OSError:
        return
    try:
        directory = _open(root)
    except OSError as error:
        log.debug(f"no seccomp filter is kept in {root}/{DIRECTORY}: {str(error.strerror).lower()}")
        return
    aside = f".{name}.{posix.getpid()}"
    try:
        _make_room(directory)
        fd = posix.open(aside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            whole = _digest(key, text) + text
            if posix.write(fd, whole) == len(whole):
                posix.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                posix.unlink(aside, dir_fd=directory)
        finally:
            posix.close(fd)
    except OSError as error:
        log.debug(f"no seccomp filter is kept in {root}/{DIRECTORY}: {str(error.strerror).lower()}")
    finally:
        posix.close(directory)


def _make_room(directory: int) -> None:
    """Remove the oldest, and what a killed process left aside, so that there are never more than MOST."""
    names = posix.listdir(directory)
    if len(names) < MOST:
        return
    ages = []
    for name in names:
        try:
            ages.append((posix.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns, name))
        except FileNotFoundError:
            continue  # another process makes room, too
    for _, name in sorted(ages)[: len(names) - MOST + 1]:
        try:
            posix.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            continue
