"""The compiled system call filters, kept below the state root by what they were compiled from.

    <root>/:seccomp/<digest>   of the linux.seccomp section and of how it is compiled
        digest of what follows | libseccomp's mtime in ns, size, inode | length of its path | path | BPF program

The name is no container's, as ids have no colon. What somebody else could have written there is not believed, what
is broken is compiled anew; a libseccomp that was replaced makes new filters.
"""

import posix
from struct import Struct

from minirunc.base import log
from minirunc.config import Config
from minirunc.config.linux import seccomp as field
from minirunc.config.linux.seccomp import Filter, Seccomp
from minirunc.container.store import Store

DIRECTORY = ":seccomp"
_FORM = b"minirunc seccomp 1"  # another number where the same section compiles to something else
_HEAD = Struct("<32s3QH")
_LONGEST = _HEAD.size + 4096 + 8 * 4096
_S_IFMT, _S_IFDIR, _S_IFREG = 0o170000, 0o040000, 0o100000


def compiled(config: Config, store: Store) -> Filter | None:
    """The filter of a checked config, None if it has none. Raises ConfigError, Error."""
    seccomp = config.linux.seccomp
    given = config.annotations.get(field.BPF_DATA)
    if given is not None:
        from minirunc.container import compiling

        seccomp = seccomp or Seccomp()
        program = compiling.decoded(given)
        asks = compiling.asks(program)
    elif seccomp is not None and field.is_filter(seccomp):
        program = _of_section(seccomp, store.root, strict=config.annotations.get(field.FAIL_UNKNOWN, "0") != "0")
        asks = field.asks(seccomp)
    else:
        return None
    agent = field.agent(seccomp, config.annotations) if asks else None
    flags = field.flags(seccomp) | (field.NEW_LISTENER if agent else 0)
    log.debug(f"seccomp filter flags: {flags}")  # runc's words: tools look for them
    return Filter(program, flags, agent)


def _of_section(seccomp: Seccomp, root: str, *, strict: bool) -> bytes:
    """The program that linux.seccomp makes; a strict one has no name that libseccomp does not know."""
    rules = field.without_agent(seccomp) if seccomp.listener_path or seccomp.listener_metadata else seccomp
    text = repr(rules).encode("utf-8", "surrogateescape")
    key = digest(_FORM, posix.uname().machine.encode(), text, *([b"strict"] if strict else []))
    name = key.hex()
    program = _look_up(root, name, key)
    if program is None:
        from minirunc.container import compiling

        program = compiling.compiled(seccomp, root, name, key, strict=strict)
    return program


def digest(*parts: bytes) -> bytes:
    """Of the parts, each with its length."""
    from _blake2 import blake2b  # built into the interpreter: hashlib costs a millisecond

    made = blake2b(digest_size=32)
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()


def described(library: str) -> bytes:
    """What stands before a program, but for the digest; the file as it is now."""
    path = library.encode("utf-8", "surrogateescape")
    found = posix.stat(path)
    return _HEAD.pack(b"", found.st_mtime_ns, found.st_size, found.st_ino, len(path))[32:] + path


def open_directory(root: str) -> int:
    """The directory of the filters; raises OSError if it is not there or not ours alone."""
    fd = posix.open(f"{root}/{DIRECTORY}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    if not is_ours(posix.fstat(fd), _S_IFDIR):
        posix.close(fd)
        raise OSError(1, posix.strerror(1), f"{root}/{DIRECTORY}")
    return fd


def is_ours(found: posix.stat_result, kind: int) -> bool:
    """Whether nobody but us can have written it."""
    return found.st_mode & _S_IFMT == kind and found.st_uid == posix.geteuid() and not found.st_mode & 0o077


def _look_up(root: str, name: str, key: bytes) -> bytes | None:
    """The program kept under a name, if it is whole, ours and made by the libseccomp that is there now."""
    try:
        directory = open_directory(root)
        try:
            flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
            fd = posix.open(name, flags, dir_fd=directory)
        finally:
            posix.close(directory)
        try:
            text = posix.read(fd, _LONGEST + 1) if is_ours(posix.fstat(fd), _S_IFREG) else b""
        finally:
            posix.close(fd)
        if not _HEAD.size < len(text) <= _LONGEST or text[:32] != digest(key, text[32:]):
            return None
        end = _HEAD.size + _HEAD.unpack_from(text)[4]
        program = text[end:]
        library = text[_HEAD.size : end].decode("utf-8", "surrogateescape")
        return program if program and not len(program) % 8 and text[32:end] == described(library) else None
    except OSError:
        return None
