"""Reading a whole file, for everybody who does."""

import posix

from minirunc.base.errors import Error

LARGEST = 16 << 20  # bytes of a file that a caller hands over
_KINDS = {0o010000: "a fifo", 0o020000: "a device", 0o060000: "a device", 0o140000: "a socket"}


def read(path: str, *, flags: int = 0, dir_fd: int | None = None) -> bytes:
    """What the file holds; `flags` go to open(2) beside O_RDONLY and O_CLOEXEC. Raises OSError."""
    return read_open(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | flags, dir_fd=dir_fd), path)


def read_plain(path: str) -> bytes:
    """What a file of a caller's holds; nothing but a plain one is opened, as that may wait or never end.

    Raises OSError; Error for any other file, or a larger one than a caller may have.
    """
    found = posix.stat(path)
    kind = _KINDS.get(found.st_mode & 0o170000)
    if kind:
        raise Error(f"{path}: expected a plain file, got {kind}")
    if found.st_size > LARGEST:
        raise _too_large(path)
    # it may be a fifo by now
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    return read_open(fd, path, most=LARGEST, expected=found.st_size + 1)


def read_open(fd: int, path: str, *, most: int = 0, expected: int = 65536) -> bytes:
    """What the open file holds; it is closed. `path` is for errors, `most` bytes are taken if it is not 0."""
    try:
        data = posix.read(fd, expected)
        while part := posix.read(fd, 65536):
            data += part
            if most and len(data) > most:
                raise _too_large(path)
        return data
    except OSError as error:
        error.filename = path  # read(2) does not know it
        raise
    finally:
        posix.close(fd)


def read_document(path: str) -> bytes:
    """What a file that an option names holds, which may well be a pipe, or stdin for -; raises Error."""
    try:
        fd = posix.dup(0) if path == "-" else posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        return read_open(fd, path, most=LARGEST)
    except OSError as error:
        raise Error(f"open {path}: {posix.strerror(error.errno or 0).lower()}") from None


def _too_large(path: str) -> Error:
    return Error(f"{path}: is larger than {LARGEST >> 20} MiB")
