"""Reading a whole file, for everybody who does."""

import posix


def read(path: str, *, flags: int = 0, dir_fd: int | None = None) -> bytes:
    """What the file holds; `flags` go to open(2) beside O_RDONLY and O_CLOEXEC. Raises OSError."""
    return read_open(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | flags, dir_fd=dir_fd), path)


def read_open(fd: int, path: str) -> bytes:
    """What the open file holds; it is closed. `path` is for errors."""
    try:
        data = posix.read(fd, 65536)
        while part := posix.read(fd, 65536):
            data += part
        return data
    except OSError as error:
        error.filename = path  # read(2) does not know it
        raise
    finally:
        posix.close(fd)
