"""The only code that reads and writes below resctrl, the file system of Intel RDT and its kin, by an fd of its root.

A directory is a group, and the kernel fills a new one: `schemata` says what its tasks may use of caches and memory
bandwidth, `tasks` who they are, `mon_groups` has groups that only measure. A child begins in its parent's groups. When
a group is removed, its tasks go to the one above. Source: Documentation/filesystems/resctrl.rst.
"""

import posix

from minirunc.base import files
from minirunc.base.errors import Error
from minirunc.kernel import procfs
from minirunc.kernel.syscalls import Out, local

RDTGROUP_SUPER_MAGIC = 0x7655821
_PLACE = "/sys/fs/resctrl"  # made by the kernel where it finds something to control
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC


class NotMounted(Error):
    """There is no resctrl to be seen."""


def find() -> int:
    """An fd of the root of the mounted resctrl, told by its magic. Raises NotMounted, saying what to do."""
    try:
        posix.stat(_PLACE)
    except OSError:
        raise NotMounted(f"there is no {_PLACE}: neither this kernel nor this processor has it") from None
    for path in (_PLACE, *procfs.mounts_of(posix.getpid(), ("resctrl",), "/dev/null")):
        try:
            fd = posix.open(path, _DIRECTORY)
        except OSError:
            continue
        magic = Out(120)
        local().fstatfs(fd, magic)
        if int.from_bytes(magic.data[:8], "little") == RDTGROUP_SUPER_MAGIC:
            return fd
        posix.close(fd)
    raise NotMounted(f"resctrl is not mounted: mount -t resctrl resctrl {_PLACE}")


class Tree:
    """The mounted resctrl: `with Tree() as tree`. A group is named by its path from the root on, which is "/"."""

    __slots__ = ("root",)

    def __init__(self) -> None:
        self.root = find()

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        posix.close(self.root)

    def has(self, path: str) -> bool:
        """Whether there is a group, or a file, of this path."""
        try:
            posix.stat(_below(path), dir_fd=self.root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def make(self, path: str) -> bool:
        """Make a group; False if it is there already."""
        try:
            posix.mkdir(_below(path), 0o755, dir_fd=self.root)
        except FileExistsError:
            return False
        return True

    def directories(self, path: str) -> list[str]:
        """The names of the directories right below, sorted."""
        fd = posix.open(_below(path), _DIRECTORY | posix.O_NOFOLLOW, dir_fd=self.root)
        try:
            with posix.scandir(fd) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        finally:
            posix.close(fd)

    def read(self, path: str) -> str:
        """The text of a file."""
        return files.read(_below(path), flags=posix.O_NOFOLLOW, dir_fd=self.root).decode()

    def write(self, path: str, text: str) -> None:
        """Write a file with one write(2), as the kernel wants it: all the lines of a `schemata` are taken, or none."""
        fd = posix.open(_below(path), posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=self.root)
        try:
            posix.write(fd, text.encode("utf-8", "surrogateescape"))
        finally:
            posix.close(fd)

    def remove(self, path: str) -> None:
        """Remove a group and the monitoring groups in it, if it is there."""
        try:
            posix.rmdir(_below(path), dir_fd=self.root)
        except FileNotFoundError:
            pass

    def in_use(self, path: str) -> bool:
        """Whether somebody lives in the group."""
        try:
            found = [procfs.stat(int(pid)) for pid in self.read(f"{path}/tasks").split()]
        except FileNotFoundError:
            return False
        return any(stat is not None and not stat.ended for stat in found)

    def why(self, error: OSError) -> str:
        """An error with what the kernel says of the last command that failed."""
        try:
            status = self.read("/info/last_cmd_status").strip()
        except OSError:
            status = "ok"
        text = posix.strerror(error.errno or 0).lower()
        return text if status == "ok" else f"{text}, last_cmd_status: {status}"


def _below(path: str) -> str:
    return path.strip("/") or "."
