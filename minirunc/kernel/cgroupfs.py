"""The only code that reads and writes below a cgroup: by names relative to a directory fd, never through a link."""

import posix

from minirunc.base import files
from minirunc.base.errors import Error
from minirunc.kernel import procfs

ENOENT, EBUSY, ENODEV, ENOTEMPTY, EOPNOTSUPP = 2, 16, 19, 39, 95
_GONE = (ENOENT, ENODEV)
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


class NotMounted(Error):
    """There is no cgroup v2 to be seen."""


def mount_point() -> tuple[str, bool]:
    """Where cgroup v2 is mounted, and whether the host is hybrid (v1 holds some of the controllers).

    Only cgroup2 has cgroup.controllers in its root (cgroups(7)). Raises NotMounted.
    """
    for path, hybrid in (("/sys/fs/cgroup", False), ("/sys/fs/cgroup/unified", True)):
        try:
            posix.stat(path + "/cgroup.controllers", follow_symlinks=False)
        except OSError:
            continue
        return path, hybrid
    raise NotMounted(
        "cgroup v2 is not mounted at /sys/fs/cgroup nor at /sys/fs/cgroup/unified: mount it, or boot with it"
    )


def mount_options() -> list[str]:
    """What cgroup2 is mounted with, such as nsdelegate (cgroup-v2.rst, "Mounting"); none if that is not told."""
    try:
        point, _ = mount_point()
    except NotMounted:
        return []
    for line in procfs.read("self/mountinfo").split("\n"):
        fields = line.split(" ")
        if fields[4:5] == [point] and fields[-3:-2] == ["cgroup2"]:
            return [word for word in fields[-1].split(",") if word not in ("rw", "ro")]
    return []


def own_path() -> str:
    """The cgroup this process is in."""
    return path_of("self").removesuffix(" (deleted)")


def path_of(pid: int | str) -> str:
    """The cgroup a process is in, as /proc/<pid>/cgroup names it; "/" where cgroup v2 is not mounted."""
    # A name may hold anything but a newline, also what str.splitlines() takes for the end of a line.
    for line in procfs.read(f"{pid}/cgroup").split("\n"):
        if line.startswith("0::"):
            return line[3:]
    return "/"


def open_directory(path: str) -> int:
    """An fd of the cgroup's directory; the path is below mount_point(), where there are no links.

    Raises Error for one with `..`: /proc names a process so that is not below the root of our cgroup namespace.
    """
    if "/../" in f"{path}/":
        raise Error(f"cgroup {path} is not below the root of the cgroup hierarchy")
    return posix.open(path, _DIRECTORY)


def make(parent: int, name: str) -> bool:
    """Make the cgroup `name` below `parent`; False if it is there already."""
    try:
        posix.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def child(parent: int, name: str) -> int:
    """An fd of the cgroup `name` below `parent`."""
    return posix.open(name, _DIRECTORY, dir_fd=parent)


def read(cgroup: int, file: str) -> str:
    """The text of a cgroup's file, without the last newline."""
    return files.read(file, flags=posix.O_NOFOLLOW, dir_fd=cgroup).decode().removesuffix("\n")


def write(cgroup: int, file: str, value: str) -> None:
    """Write a cgroup's file with one write(2)."""
    fd = posix.open(file, posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=cgroup)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)


def delegated_files() -> list[str]:
    """The files of a cgroup that belong to whom it is delegated; the kernel lists them since Linux 4.15."""
    return files.read("/sys/kernel/cgroup/delegate").decode().split()


def has(cgroup: int, file: str) -> bool:
    """Whether the cgroup has a file of this name: its controller is enabled and the kernel knows it."""
    try:
        posix.stat(file, dir_fd=cgroup, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def flag(cgroup: int, file: str, key: str) -> int:
    """The number behind `key` in a flat keyed file such as cgroup.events."""
    for line in read(cgroup, file).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def open_file(cgroup: int, file: str) -> int:
    """An fd of a cgroup's file, for who reads it again and again and waits in between."""
    return posix.open(file, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=cgroup)


def names(cgroup: int) -> list[str]:
    """The names of the cgroup's files, and of the cgroups right below."""
    return posix.listdir(cgroup)


def children(cgroup: int) -> list[str]:
    """The names of the cgroups right below."""
    with posix.scandir(cgroup) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def processes(cgroup: int) -> list[int]:
    """The pids in the cgroup and below, as this process's pid namespace counts them.

    A container may nest cgroups without end: that takes neither stack nor files. None can be moved, so `..` is where
    we came from.
    """
    here = posix.dup(cgroup)
    try:
        pids = _pids(here)
        waiting = [children(here)]
        while True:
            while not waiting[-1]:
                waiting.pop()
                if not waiting:
                    return list(dict.fromkeys(pids))  # a process may have threads in several
                here = _go(here, "..")
            try:
                here = _go(here, waiting[-1].pop())
            except OSError as error:
                if error.errno not in _GONE:  # it was removed meanwhile
                    raise
                continue
            waiting.append([])
            try:
                pids += _pids(here)
                waiting[-1] = children(here)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
    finally:
        posix.close(here)


def _pids(cgroup: int) -> list[int]:
    try:
        return [int(pid) for pid in read(cgroup, "cgroup.procs").split()]
    except OSError as error:
        if error.errno != EOPNOTSUPP:  # threaded: it has threads, whose processes the domain above lists
            raise
        return [procfs.process_of(int(tid)) for tid in read(cgroup, "cgroup.threads").split()]


def _go(here: int, name: str) -> int:
    """From a directory to another, relative to it; the first is closed."""
    there = child(here, name)
    posix.close(here)
    return there


def remove(parent: int, name: str) -> None:
    """Remove the cgroup `name` and all below it, deepest first; raises OSError EBUSY while processes are in it."""
    here = posix.dup(parent)
    try:
        waiting = [[name]]
        while True:
            if not _removed(here, waiting[-1][-1]):
                try:
                    here = _go(here, waiting[-1][-1])
                    waiting.append([])
                    waiting[-1] = children(here)
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
            else:
                waiting[-1].pop()
            while not waiting[-1]:  # all below is gone: now the one we are in
                waiting.pop()
                if not waiting:
                    return
                here = _go(here, "..")
                if not _removed(here, waiting[-1].pop()):
                    raise OSError(EBUSY, posix.strerror(EBUSY), name)
    finally:
        posix.close(here)


def _removed(parent: int, name: str) -> bool:
    """Whether it could be removed, or is gone; False if it has something in it."""
    try:
        posix.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (EBUSY, ENOTEMPTY):
            raise
        return False
    return True
