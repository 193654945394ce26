"""linux.devices: device nodes made in the container beside the default ones."""

from posix import access
from struct import unpack_from

from minirunc.base.errors import ConfigError, SecurityError, SyscallError
from minirunc.base.record import Int64, Record, UInt32
from minirunc.config import need_namespace, none_of
from minirunc.kernel import inroot
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    STATX_BASIC_STATS,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

# The kernel's dev_t has 12 bits for major, 20 for minor.
_BOUNDS = (("major", 2**12 - 1), ("minor", 2**20 - 1))


class Device(Record):
    type: str  # c or u, b, p
    path: str
    major: Int64 | None  # of a p, none
    minor: Int64 | None
    file_mode: UInt32 | None  # absent: 0666
    uid: UInt32 | None  # absent: 0
    gid: UInt32 | None


def check(config: "Config") -> None:
    why = "unable to make devices without a private MNT namespace"
    if not any(mount.destination == "/dev" for mount in config.mounts):  # which is made in the caller's
        need_namespace(config, "mount", "linux.devices", why)
    for index, device in enumerate(config.linux.devices):
        where = f"linux.devices[{index}]"
        if device.type not in _KINDS:
            raise none_of(_KINDS, f"{where}.type", f'invalid device type "{device.type}"')
        if not device.path.startswith("/"):
            raise ConfigError(f"{where}.path", f'must be an absolute path, got "{device.path}"')
        if device.type != "p":
            for name, most in _BOUNDS:
                number = getattr(device, name)
                if number is None:
                    raise ConfigError(f"{where}.{name}", f"missing: a device of type {device.type} has one")
                if not 0 <= number <= most:
                    raise ConfigError(f"{where}.{name}", f"expected an integer from 0 to {most}, got {number}")


EPERM, EEXIST, EXDEV, ELOOP = 1, 17, 18, 40

# type (c, b, u or p), path, major and minor number, mode, owner and group if any
Node = tuple[str, str, int, int, int, int | None, int | None]

# runtime-spec config-linux.md "Default Devices"
_DEFAULT: list[Node] = [
    ("c", "/dev/null", 1, 3, 0o666, None, None),
    ("c", "/dev/zero", 1, 5, 0o666, None, None),
    ("c", "/dev/full", 1, 7, 0o666, None, None),
    ("c", "/dev/random", 1, 8, 0o666, None, None),
    ("c", "/dev/urandom", 1, 9, 0o666, None, None),
    ("c", "/dev/tty", 5, 0, 0o666, None, None),
]
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_KINDS = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}


def apply(devices: list[Device], tree: inroot.Tree, hand: Hand, *, bind: bool) -> None:
    """Make the default nodes, those of the list (which replace a default one), and the links of the runtime-spec.

    All below an fd of the container's real /dev, so that no link of an image leads to the host's (CVE-2026-41579).
    `bind`: in a user namespace no node can be made; the host's are bound instead.
    """
    nodes = _nodes(devices)
    to_bind = [node for node in nodes.values() if bind and node[0] != "p"]
    plain = [node for node in nodes.values() if node not in to_bind and node[1].rpartition("/")[0] == "/dev"]
    try:
        with hand.batch() as do:
            in_dev = open_dev(tree, do)
            checks = [_make(node, in_dev, do) for node in plain]
            _make_links(in_dev, do)
    except SyscallError as error:
        if error.errno in (ELOOP, EXDEV):
            what = "a symbolic link" if error.errno == ELOOP else "a mount that mounts[] does not name"
            raise SecurityError(f"/dev in the container is {what}: devices are not made there") from None
        raise
    for node, check in zip(plain, checks, strict=True):
        if _denied(node, check, hand):
            to_bind.append(node)
    for node in nodes.values():
        if node in plain or node in to_bind:
            continue
        parent = _parent(node, int(in_dev), tree, hand)
        with hand.batch() as do:
            check = _make(node, parent, do)
        if _denied(node, check, hand):
            to_bind.append(node)
        _close(parent, int(in_dev), hand)
    for node in to_bind:
        parent = _parent(node, int(in_dev), tree, hand)
        _bind(node, parent, hand)
        _close(parent, int(in_dev), hand)
    _close(int(in_dev), -1, hand)


def _nodes(devices: list[Device]) -> dict[str, Node]:
    """By path: the default ones, and those of the list."""
    nodes = {node[1]: node for node in _DEFAULT}
    for device in devices:
        mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
        numbers = device.major or 0, device.minor or 0
        nodes[device.path] = (device.type, device.path, *numbers, mode, device.uid, device.gid)
    nodes.pop("/dev/ptmx", None)  # a link, in any case
    return nodes


def _make_links(in_dev: Fd, do: Batch) -> None:
    do.tolerate(do.unlinkat(in_dev, "ptmx"))
    do.tolerate(do.symlinkat("pts/ptmx", in_dev, "ptmx"))
    for name, target in _LINKS:
        do.tolerate(do.symlinkat(target, in_dev, name))
    if access("/proc/kcore", 0):
        do.tolerate(do.symlinkat("/proc/kcore", in_dev, "core"))


def open_dev(tree: inroot.Tree, do: Batch) -> Fd:
    """The container's /dev as a real directory, made if missing."""
    flags = O_PATH | O_DIRECTORY | O_CLOEXEC
    own, name = tree.at("/dev/")
    if not name:
        return do.openat(own, ".", flags)
    do.tolerate(do.mkdirat(tree.root, "dev", 0o755))
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
    if "/dev" not in tree.own:  # what a link of the image brought here is not ours to change
        resolve |= RESOLVE_NO_XDEV
    return do.openat2(tree.root, "dev", flags, resolve)


def _parent(node: Node, in_dev: int, tree: inroot.Tree, hand: Hand) -> int:
    """The directory a node is made in."""
    above = node[1].rpartition("/")[0]
    return in_dev if above == "/dev" else inroot.directory(hand, *tree.at(above))


def _close(fd: int, unless: int, hand: Hand) -> None:
    if fd != unless:
        with hand.batch() as do:
            do.close(fd)


def _make(node: Node, parent: Fd, do: Batch) -> tuple[Fd, Fd, Out]:
    """mknod and reopen: what came of it, and what stands there now, to be compared; open, if it is to be owned."""
    kind, path, major, minor, mode, uid, gid = node
    name = path.rpartition("/")[2]
    room = Out(256)
    made = do.tolerate(do.mknodat(parent, name, _KINDS[kind] | mode, _dev(major, minor)))
    fd = do.tolerate(do.openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC))
    do.tolerate(do.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, room))
    if not (uid or gid):
        do.tolerate(do.close(fd))
    return made, fd, room


def _denied(node: Node, check: tuple[Fd, Fd, Out], hand: Hand) -> bool:
    """Whether no node can be made here; else it is seen to that this one is the one asked for, and its owner's."""
    made, fd, room = check
    kind, path, major, minor, _, uid, gid = node
    if int(made) == -EPERM:
        return True
    if int(made) not in (0, -EEXIST):
        raise SyscallError("mknodat", f"{path}, {kind} {major}:{minor}", -int(made))
    if not _is(node, room):
        raise SecurityError(f"{path} in the container is not the device {kind} {major}:{minor}")
    if uid or gid:
        with hand.batch() as do:
            do.fchownat(fd, "", uid or 0, gid or 0, AT_EMPTY_PATH)
            do.close(fd)
    return False


def _is(node: Node, room: Out) -> bool:
    """Whether a struct statx is that of the node."""
    kind, _, major, minor, *_ = node
    found = unpack_from("<H", room.data, 28)[0] & 0o170000, unpack_from("<2I", room.data, 128)
    return found == (_KINDS[kind], (0, 0) if kind == "p" else (major, minor))


def _bind(node: Node, parent: int, hand: Hand) -> None:
    """The host's node of the same name, if it is the device asked for, onto a file in `parent`: never onto a link."""
    kind, path, major, minor, *_ = node
    name = path.rpartition("/")[2]
    theirs, here = Out(256), Out(256)
    with hand.batch() as do:
        source = do.open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
        do.statx(source, "", AT_EMPTY_PATH, STATX_BASIC_STATS, theirs)
        do.tolerate(do.mknodat(parent, name, 0o100644, 0))
        target = do.openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)
        do.statx(target, "", AT_EMPTY_PATH, STATX_BASIC_STATS, here)
    if not _is(node, theirs):
        raise SecurityError(f"{path} on the host is not the device {kind} {major}:{minor}")
    if unpack_from("<H", here.data, 28)[0] & 0o170000 == 0o120000:
        raise SecurityError(f"{path} in the container is a symbolic link")
    with hand.batch() as do:
        do.move_mount(source, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
        do.close(source)
        do.close(target)


def _dev(major: int, minor: int) -> int:
    """dev_t as mknod(2) wants it (makedev(3))."""
    return minor & 0xFF | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32
