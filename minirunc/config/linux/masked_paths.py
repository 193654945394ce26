"""linux.maskedPaths: paths hidden, files under /dev/null, directories under an empty tmpfs; last of all."""

from struct import unpack_from

from minirunc.base.errors import ConfigError, SecurityError, SyscallError
from minirunc.config import need_namespace
from minirunc.kernel import inroot
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    O_CLOEXEC,
    O_NOFOLLOW,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    STATX_BASIC_STATS,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    """Without a mount namespace of its own the container would change the host's mounts."""
    why = "unable to restrict sys entries without a private MNT namespace"
    need_namespace(config, "mount", "linux.maskedPaths", why)
    for index, path in enumerate(config.linux.masked_paths):
        if not path.startswith("/"):
            raise ConfigError(f"linux.maskedPaths[{index}]", f'must be an absolute path, got "{path}"')
        if not path.strip("/."):
            raise ConfigError(f"linux.maskedPaths[{index}]", f'"{path}" is the root itself: all would be hidden')


ENOENT, EAGAIN, ENOTDIR = 2, 11, 20
_AT_ONCE = 256  # paths open at a time: a caller may be allowed few more
KIND = 0o170000


def apply(masked_paths: list[str], tree: inroot.Tree, hand: Hand, label: str = "") -> None:
    """Cover them: a file with the host's null device, checked to be it (CVE-2025-31133), directories with one empty
    read-only tmpfs that all share (a superblock each would stall big hosts); `label` is for that, as a mount option.
    What is not there needs no cover.

    In procfs and sysfs nobody can move what is covered. On a volume whose content others change, a path that is missing
    for a moment stays uncovered; they could as well move or remove what was covered later.
    """
    paths = list(dict.fromkeys(masked_paths))  # a path given twice is covered once
    covers = _Covers(label)
    for start in range(0, len(paths), _AT_ONCE):
        covers.lay(paths[start : start + _AT_ONCE], tree, hand, last=start + _AT_ONCE >= len(paths))


class _Covers:
    """What is laid over paths: kept open from one part of the list to the next."""

    __slots__ = ("empty", "label", "null")

    def __init__(self, label: str) -> None:
        self.label = label
        self.null: Fd = -1
        self.empty: Fd = -1

    def lay(self, paths: list[str], tree: inroot.Tree, hand: Hand, *, last: bool) -> None:
        """Cover them; the `last` ones close the covers."""
        tries = []
        first = int(self.null) < 0
        null_room = Out(256)
        with hand.batch() as do:
            if first:
                # the host's: before pivot_root
                self.null = do.openat(AT_FDCWD, "/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC)
                do.statx(self.null, "", AT_EMPTY_PATH, STATX_BASIC_STATS, null_room)
            for in_root in paths:
                room = Out(256)
                target = do.tolerate(inroot.openat2(do, *tree.at(in_root)))
                do.tolerate(do.statx(target, "", AT_EMPTY_PATH, STATX_BASIC_STATS, room))
                tries.append((in_root, target, room))
        if first and (_kind(null_room) != 0o020000 or unpack_from("<2I", null_room.data, 128) != (1, 3)):
            raise SecurityError("/dev/null is not the null device (character device 1:3)")
        files, directories = _found(tries, tree, hand)
        with hand.batch() as do:
            for file in files:
                cover = do.open_tree(self.null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)
                _move(do, cover, file)
                do.close(cover)
            if directories:
                self._lay_empty(directories, do)
            for fd in (*files, *directories):
                do.close(fd)
            if last:
                do.close(self.null)
                if self.empty != -1:
                    do.close(self.empty)

    def _lay_empty(self, targets: list[int], do: Batch) -> None:
        if self.empty == -1:
            fs = do.fsopen("tmpfs", FSOPEN_CLOEXEC)
            if self.label:
                context, _, value = self.label.partition("=")
                do.fsconfig(fs, FSCONFIG_SET_STRING, context, value)
            do.fsconfig(fs, FSCONFIG_SET_STRING, "source", "tmpfs")  # as mountinfo shows it
            do.fsconfig(fs, FSCONFIG_SET_FLAG, "ro", None)
            do.fsconfig(fs, FSCONFIG_SET_STRING, "nr_blocks", "1")
            do.fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1")
            do.fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)
            self.empty = do.fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY)
            do.close(fs)
            _move(do, self.empty, targets[0])
            targets = targets[1:]
        for target in targets:
            copy = do.open_tree(self.empty, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)
            _move(do, copy, target)
            do.close(copy)


def _found(tries: "list[tuple[str, Fd, Out]]", tree: inroot.Tree, hand: Hand) -> tuple[list[int], list[int]]:
    """The fds of those files and directories that are there."""
    files: list[int] = []
    directories: list[int] = []
    for in_root, target, room in tries:
        found, kind = int(target), _kind(room) if int(target) >= 0 else 0
        if found == -EAGAIN:
            found = inroot.find(hand, *tree.at(in_root))
            kind = inroot.kind_and_mode(hand, found) & KIND if found >= 0 else 0
        if found >= 0:
            (directories if kind == 0o040000 else files).append(found)
        elif found not in (-ENOENT, -ENOTDIR):
            raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', -found)
    return files, directories


def _kind(room: Out) -> int:
    return int(unpack_from("<H", room.data, 28)[0]) & KIND


def _move(do: Batch, tree: Fd, target: Fd) -> Fd:
    return do.move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
