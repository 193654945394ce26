"""The only code that reads and writes /proc from outside: files of a pid, by fd."""

import posix

_FLAGS = posix.O_NOFOLLOW | posix.O_CLOEXEC


class Stat:
    """What proc(5) stat says of a process: its state letter and its start time in clock ticks after boot."""

    __slots__ = ("start", "status")

    def __init__(self, status: str, start: int) -> None:
        self.status = status
        self.start = start


def stat(pid: int) -> Stat | None:
    """The process `pid`, or None if there is none."""
    try:
        text = read(f"{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return Stat(fields[0], int(fields[19]))


def read(name: str) -> str:
    """The text of /proc/<name>."""
    fd = posix.open(f"/proc/{name}", posix.O_RDONLY | _FLAGS)
    try:
        text = b""
        while part := posix.read(fd, 65536):
            text += part
        return text.decode("utf-8", "surrogateescape")
    finally:
        posix.close(fd)


def write(name: str, value: str) -> None:
    """Write /proc/<name> with one write(2), as uid_map and its like demand."""
    fd = posix.open(f"/proc/{name}", posix.O_WRONLY | _FLAGS)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)
