"""The only code that opens a path below a rootfs: openat2(2) with RESOLVE_IN_ROOT, so that no link leads out of it.

The tree belongs to an attacker who may change it meanwhile (CVE-2021-30465, CVE-2024-45310): what is found is used by
fd, directories are made below a verified parent, and EAGAIN (a rename raced with the walk) is retried a bounded time.
"""

from minirunc.base.errors import SyscallError
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    STATX_BASIC_STATS,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out

ENOENT, EAGAIN, EEXIST, ENOTDIR, EINVAL, ELOOP = 2, 11, 17, 20, 22, 40
_RETRIES = 128
_LINKS = 40  # as the kernel's own limit on links in a path
_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


class Tree:
    """The container's file tree as the hand has it open: its root, and the mounts of our own making in it.

    What such a mount holds nobody else can change, so what is below it is opened from its fd: wherever its mount point
    is moved meanwhile, and whatever stands there then (CVE-2019-19921, CVE-2023-27561).
    """

    __slots__ = ("above", "own", "root")

    def __init__(self, root: int) -> None:
        self.root = root
        self.own: dict[str, int] = {}  # destination, clean: fd of the mount, or -1 for one with others' content
        self.above: set[str] = set()  # directories that hold one of them, at any depth

    def at(self, in_root: str) -> tuple[int, str]:
        """Where to open the path from, and what is left of it."""
        above = in_root if self.own and ".." not in in_root else ""
        while above := above.rpartition("/")[0]:
            fd = self.own.get(above)
            if fd is not None:
                return (fd, in_root[len(above) + 1 :]) if fd >= 0 else (self.root, in_root)
        return self.root, in_root

    def mounted(self, in_root: str, fd: int = -1) -> list[int]:
        """Note what is mounted there now; returns the fds of what that covers, for the caller to close."""
        gone: list[int] = []
        if in_root in self.own or in_root in self.above:
            covered = [name for name in self.own if f"{name}/".startswith(f"{in_root}/")]
            gone = [self.own.pop(name) for name in covered]
        # What is others' on others' is opened from the root all the same; of /dev it is asked whether there is a mount.
        if fd >= 0 or in_root == "/dev" or self.at(in_root)[0] != self.root:
            self.own[in_root] = fd
            above = in_root
            while above := above.rpartition("/")[0]:
                self.above.add(above)
        return [fd for fd in gone if fd >= 0]


def openat2(do: Batch, root: int, in_root: str, flags: int = O_PATH, mode: int = 0) -> Fd:
    """One try, as a call of a batch; close-on-exec."""
    return do.openat2(root, in_root or ".", flags | O_CLOEXEC, _IN_ROOT, mode)


def find(hand: Hand, root: int, in_root: str, flags: int = O_PATH) -> int:
    """The fd of what `in_root` names, or -ENOENT, -ENOTDIR, -ELOOP; raises SyscallError for anything else."""
    for _ in range(_RETRIES):
        with hand.batch() as do:
            fd = do.tolerate(openat2(do, root, in_root, flags))
        if int(fd) != -EAGAIN:
            break
    if int(fd) < 0 and int(fd) not in (-ENOENT, -ENOTDIR, -ELOOP):
        raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', -int(fd))
    return int(fd)


def settled(hand: Hand, root: int, in_root: str, tried: Fd) -> int:
    """What a single try in a batch found, tried again where a rename raced with it."""
    return find(hand, root, in_root) if int(tried) == -EAGAIN else int(tried)


def open_path(hand: Hand, root: int, in_root: str, flags: int = O_PATH) -> int:
    """The fd of what `in_root` names; raises SyscallError."""
    fd = find(hand, root, in_root, flags)
    if fd < 0:
        raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', -fd)
    return fd


def open_itself(hand: Hand, root: int, in_root: str) -> int:
    """The O_PATH fd of what stands at `in_root`, reached over no link, a link itself too; ELOOP for one on the way."""
    with hand.batch() as do:
        flags = O_PATH | O_NOFOLLOW | O_CLOEXEC
        fd = do.openat2(root, in_root, flags, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    return int(fd)


def kind_and_mode(hand: Hand, fd: int) -> int:
    """st_mode of what an fd names."""
    room = Out(256)
    with hand.batch() as do:
        do.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, room)
    return int.from_bytes(room.data[28:30], "little")


def usual_directory(do: Batch, root: int, above: str, last: str, mode: int = 0o755) -> Fd:
    """The directory above/last, made where only the last part is missing; negative where it takes more than that."""
    parent = do.tolerate(openat2(do, root, above, O_PATH | O_DIRECTORY))
    do.tolerate(do.mkdirat(parent, last, mode))
    found = do.tolerate(openat2(do, root, f"{above}/{last}" if above else last, O_PATH | O_DIRECTORY))
    do.tolerate(do.close(parent))
    return found


def directory(hand: Hand, root: int, in_root: str, mode: int = 0o755) -> int:
    """An fd of the directory `in_root`, made with all its parents where missing; links are followed inside the root."""
    above, _, last = in_root.rstrip("/").rpartition("/")
    if last not in ("", ".", ".."):
        with hand.batch() as do:
            found = usual_directory(do, root, above, last, mode)
        if int(found) >= 0:
            return int(found)
    fd = find(hand, root, in_root, O_PATH | O_DIRECTORY)
    if fd != -ENOENT:
        if fd < 0:
            raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', -fd)
        return fd
    parts = [part for part in in_root.split("/") if part not in ("", ".")]
    here = "."
    links = 0
    parent = open_path(hand, root, here, O_PATH | O_DIRECTORY)
    while parts:
        name = parts.pop(0)
        below = f"{here}/{name}"
        fd = find(hand, root, below, O_PATH | O_DIRECTORY)
        if fd == -ENOENT and name != "..":
            with hand.batch() as do:
                made = do.tolerate(do.mkdirat(parent, name, mode))
            if int(made) == -EEXIST:  # a link whose target is missing: go where it points, below the root
                links += 1
                if links > _LINKS:
                    raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', ELOOP)
                target = readlink(hand, parent, name)
                if target.startswith("/"):
                    here = "."
                    _close(hand, parent)
                    parent = open_path(hand, root, here, O_PATH | O_DIRECTORY)
                parts = [part for part in target.split("/") if part not in ("", ".")] + parts
                continue
            if int(made) < 0:
                raise SyscallError("mkdirat", f'root, "{below}", {mode:#o}', -int(made))
            fd = find(hand, root, below, O_PATH | O_DIRECTORY | O_NOFOLLOW)
        if fd < 0:
            raise SyscallError("openat2", f'root, "{below}", RESOLVE_IN_ROOT', -fd)
        _close(hand, parent)
        parent, here = fd, below
    return parent


def readlink(hand: Hand, parent: int, name: str) -> str:
    """The text of the link `name` right below `parent`; `name` if it is none (any more): another birth changed it."""
    room = Out(4096)
    with hand.batch() as do:
        length = do.tolerate(do.readlinkat(parent, name, room))
    if int(length) in (-EINVAL, -ENOENT):
        return name
    if int(length) < 0:
        raise SyscallError("readlinkat", f'parent, "{name}"', -int(length))
    return room.text().decode("utf-8", "surrogateescape")


def file(hand: Hand, root: int, in_root: str, mode: int = 0o644) -> int:
    """An O_PATH fd of the file `in_root`, made empty with its parents where missing."""
    links = 0
    while (fd := find(hand, root, in_root)) == -ENOENT:
        above, _, name = in_root.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', ENOENT)
        parent = directory(hand, root, above)
        with hand.batch() as do:
            made = do.tolerate(do.openat(parent, name, O_CLOEXEC | O_NOFOLLOW | 0o301, mode))  # O_CREAT|O_EXCL|O_WRONLY
        if int(made) >= 0:
            _close(hand, int(made))
        elif int(made) != -EEXIST:
            raise SyscallError("openat", f'root, "{in_root}", O_CREAT|O_EXCL, {mode:#o}', -int(made))
        else:
            links += 1
            if links > _LINKS:
                raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', ELOOP)
            target = readlink(hand, parent, name)
            in_root = target if target.startswith("/") else f"{above}/{target}"
        _close(hand, parent)
    if fd < 0:
        raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_IN_ROOT', -fd)
    return fd


def _close(hand: Hand, fd: int) -> None:
    with hand.batch() as do:
        do.close(fd)
