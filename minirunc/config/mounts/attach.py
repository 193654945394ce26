"""mounts, applied: each made detached, then attached to a target that was opened below the root and checked.

The target is found before the mount is attached and used by fd alone, so that no link changed meanwhile leads
elsewhere (CVE-2019-16884, CVE-2019-19921, CVE-2021-30465). Sources: mount_setattr(2), move_mount(2), fsopen(2).
"""

from posix import close

from minirunc.base.errors import Error, SyscallError
from minirunc.config.mounts import Mount
from minirunc.config.mounts.options import Options, parse_options
from minirunc.kernel import inroot, procfs
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_BIND,
    MS_DIRSYNC,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_NOSYMFOLLOW,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    O_DIRECTORY,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    STATX_BASIC_STATS,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out, Words

EPERM, ENOENT, EACCES, EBUSY = 1, 2, 13, 16

_ATTRIBUTES = (
    (MS_RDONLY, MOUNT_ATTR_RDONLY),
    (MS_NOSUID, MOUNT_ATTR_NOSUID),
    (MS_NODEV, MOUNT_ATTR_NODEV),
    (MS_NOEXEC, MOUNT_ATTR_NOEXEC),
    (MS_NODIRATIME, MOUNT_ATTR_NODIRATIME),
    (MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW),
    (MS_NOATIME, MOUNT_ATTR_NOATIME),
    (MS_STRICTATIME, MOUNT_ATTR_STRICTATIME),
)
# Of the superblock, so a file system shared with others (kernfs) must not get them.
_SUPERBLOCK = ((MS_RDONLY, "ro"), (MS_SYNCHRONOUS, "sync"), (MS_DIRSYNC, "dirsync"), (MS_LAZYTIME, "lazytime"),
               (MS_MANDLOCK, "mand"))  # fmt: skip
_SHARED_SUPERBLOCK = ("proc", "sysfs", "cgroup2", "mqueue")
_IN_PROC = frozenset(
    "/proc/" + name
    for name in ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
                 "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled")
)  # fmt: skip
_LONGEST = 255  # bytes fsconfig(2) takes as a value


class Place:
    """Where the mounts go: the hand, the root it has open, and what relative sources are relative to."""

    __slots__ = ("bundle", "cgroup", "hand", "late", "root", "used", "userns")

    def __init__(self, hand: Hand, root: int, bundle: str, cgroup: str, userns: bool) -> None:
        self.hand = hand
        self.root = root
        self.bundle = bundle
        self.cgroup = cgroup  # host path of the container's cgroup, for where cgroup2 cannot be mounted
        self.userns = userns
        self.used: list[int] = []  # fds of attached mounts, to be closed with the next batch
        self.late: list[int] = []  # mounts to be made read-only when everything is in place


class Target:
    """A mount's target, opened: its fd, st_mode, and whether it had to be made."""

    __slots__ = ("fd", "made", "mode")

    def __init__(self, fd: int, mode: int, made: bool) -> None:
        self.fd = fd
        self.mode = mode
        self.made = made


def apply(mounts: list[Mount], place: Place) -> None:
    """Mount them in order."""
    for index, mount in enumerate(mounts):
        options = parse_options(mount.options)
        try:
            if options.remount:
                _remount(mount, options, place)
            elif options.bind:
                _bind(mount, options, place)
            elif mount.type in ("cgroup", "cgroup2"):
                _cgroup(mount, options, place)
            else:
                _new(mount.type, mount, options, place)
        except Error as error:
            error.add_note(f'error mounting "{mount.source}" to rootfs at "{mount.destination}" (mounts[{index}])')
            raise


def is_bound(mounts: list[Mount], destination: str) -> bool:
    """Whether a bind mount of the configuration stands there: its content is the user's then."""
    return any(_clean(mount.destination) == destination and parse_options(mount.options).bind for mount in mounts)


def finish(place: Place, do: Batch) -> None:
    """Read-only what was asked to be, now that nothing is to be made in it any more."""
    for tree in place.late:
        do.mount_setattr(tree, "", AT_EMPTY_PATH, Words(MOUNT_ATTR_RDONLY, 0, 0, 0))
    for tree in (*place.late, *place.used):
        do.close(tree)


def _clean(destination: str) -> str:
    parts: list[str] = []
    for part in destination.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise Error(f'mountpoint "{destination}" is on the top of rootfs')
    return "/" + "/".join(parts)


def _target(mount: Mount, place: Place, directory: bool, fresh_proc: bool = False) -> Target:
    """Open the destination, made if missing as what the source is; refuse what lies in a procfs."""
    in_root = _clean(mount.destination)
    stat, fs = Out(256), Out(120)
    with place.hand.batch() as do:
        fd = do.tolerate(inroot.openat2(do, place.root, in_root))
        do.tolerate(do.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat))
        do.tolerate(do.fstatfs(fd, fs))
    if int(fd) < 0:
        make = inroot.directory if directory else inroot.file
        return Target(make(place.hand, place.root, in_root), 0, True)
    if not fresh_proc:
        _refuse_proc(fs, mount)
    return Target(int(fd), int.from_bytes(stat.data[28:30], "little"), False)


def _refuse_proc(fs: Out, mount: Mount) -> None:
    """`fs` is the struct statfs of the target: a mount there could forge what others read of the kernel."""
    if int.from_bytes(fs.data[:8], "little") == PROC_SUPER_MAGIC and _clean(mount.destination) not in _IN_PROC:
        raise Error(f'"{mount.destination}" cannot be mounted because it is inside /proc')


def _move(tree: Fd, target: Fd, do: Batch) -> Fd:
    return do.move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)


def _attach(tree: Fd, target: Target | None, options: Options, place: Place) -> None:
    """Attach, if it is not yet, then what can only be said of an attached mount: recursive attributes, propagation."""
    with place.hand.batch() as do:
        if target:
            _move(tree, target.fd, do)
            do.close(target.fd)
        if options.rec_set or options.rec_clear:
            words = Words(options.rec_set, options.rec_clear, 0, 0)
            do.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, words)
        for propagation in options.propagation:
            recursive = AT_RECURSIVE if propagation & MS_REC else 0
            do.mount_setattr(tree, "", AT_EMPTY_PATH | recursive, Words(0, 0, propagation & ~MS_REC, 0))


def attributes(flags: int) -> int:
    """MOUNT_ATTR_* of MS_*."""
    bits = 0
    for flag, attribute in _ATTRIBUTES:
        if flags & flag:
            bits |= attribute
    return bits


def _bind(mount: Mount, options: Options, place: Place) -> None:
    source = mount.source if mount.source.startswith("/") else f"{place.bundle}/{mount.source}"
    tree, mode = _source_tree(source, options, place)
    if _clean(mount.destination) == "/proc" and not _is_procfs(tree, place):
        raise Error(f'"{mount.destination}" cannot be mounted because it is not of type proc')
    fresh_proc = _clean(mount.destination) == "/proc"
    target = _target(mount, place, mode & 0o170000 == 0o040000, fresh_proc)
    if not target.made and (target.mode ^ mode) & 0o170000 and 0o040000 in (target.mode & 0o170000, mode & 0o170000):
        raise Error("not a directory: a directory cannot be mounted onto a file, nor a file onto a directory")
    chosen = attributes(options.flags)
    cleared = attributes(options.cleared) & ~MOUNT_ATTR__ATIME
    if (options.flags | options.cleared) & (MS_NOATIME | MS_RELATIME | MS_STRICTATIME):
        cleared |= MOUNT_ATTR__ATIME
    if chosen or cleared:
        with place.hand.batch() as do:
            do.mount_setattr(tree, "", AT_EMPTY_PATH, Words(chosen, cleared, 0, 0))
    _attach(tree, target, options, place)
    place.used.append(tree)


def _source_tree(source: str, options: Options, place: Place) -> tuple[int, int]:
    """A detached copy of the source's mounts, and the source's st_mode."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if options.recursive else 0)
    stat = Out(256)
    with place.hand.batch() as do:
        tree = do.tolerate(do.open_tree(AT_FDCWD, source, flags))
        do.tolerate(do.statx(tree, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat))
    if int(tree) == -EACCES and place.userns:
        # The container's root may not walk there; we may.
        outside = procfs.open_in_mount_ns(place.hand.pid, source)
        found = place.hand.send_fd(outside)
        close(outside)
        with place.hand.batch() as do:
            tree = do.open_tree(found, "", flags | AT_EMPTY_PATH)
            do.statx(tree, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat)
            do.close(found)
    if int(tree) < 0:
        raise SyscallError("open_tree", f'AT_FDCWD, "{source}", OPEN_TREE_CLONE', -int(tree))
    return int(tree), int.from_bytes(stat.data[28:30], "little")


def _is_procfs(fd: int, place: Place) -> bool:
    fs = Out(120)
    with place.hand.batch() as do:
        do.fstatfs(fd, fs)
    return int.from_bytes(fs.data[:8], "little") == PROC_SUPER_MAGIC


def _ordinary_directory(fs_type: str, mount: Mount, place: Place) -> Target:
    """The target of proc and sysfs: a directory reached by no link, or writes to it could land elsewhere."""
    in_root = _clean(mount.destination).lstrip("/")
    flags = O_PATH | O_DIRECTORY | OPEN_TREE_CLOEXEC
    with place.hand.batch() as do:
        fd = do.tolerate(do.openat2(place.root, in_root, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))
    if int(fd) == -ENOENT:
        return Target(inroot.directory(place.hand, place.root, in_root), 0, True)
    if int(fd) < 0:
        raise Error(f'filesystem "{fs_type}" must be mounted on ordinary directory')
    return Target(int(fd), 0, False)


def _new(fs_type: str, mount: Mount, options: Options, place: Place) -> None:
    data = list(options.data)
    late = bool(fs_type == "tmpfs" and options.flags & MS_RDONLY)
    flags = options.flags & ~MS_RDONLY if late else options.flags
    long = any(len(word) > _LONGEST for word in ",".join(data).split(","))
    as_it_was = fs_type == "tmpfs" and not any(word.startswith("mode=") for word in ",".join(data).split(","))
    target: Target | None = None
    if long or as_it_was or options.tmpcopyup:
        target = _target_for(fs_type, mount, place)
        if as_it_was and not target.made:
            data.insert(0, f"mode={target.mode & 0o7777:04o}")
        if long:
            _mount_by_path(fs_type, mount, flags, ",".join(data), target, place)
            return
    tree, attached = _make_and_attach(fs_type, mount, flags, data, place, target)
    if not attached or options.rec_set or options.rec_clear or options.propagation:
        if options.tmpcopyup and target:
            from minirunc.config.mounts.tmpcopyup import copy_up

            copy_up(place.hand, target.fd, tree)
        _attach(tree, None if attached else target or _target_for(fs_type, mount, place), options, place)
    (place.late if late else place.used).append(tree)


def _target_for(fs_type: str, mount: Mount, place: Place) -> Target:
    if fs_type in ("proc", "sysfs"):
        return _ordinary_directory(fs_type, mount, place)
    return _target(mount, place, True)


def _make_and_attach(
    fs_type: str, mount: Mount, flags: int, data: list[str], place: Place, target: Target | None
) -> tuple[int, bool]:
    """A new mount; and, without a target given, in the same batch its attaching, where the target's parent is there.

    Returns its fd and whether it is attached.
    """
    fs: Fd = -1
    magic = Out(120)
    moved: Fd = -1
    try:
        with place.hand.batch() as do:
            for fd in place.used:
                do.close(fd)
            place.used.clear()
            fs = do.fsopen(fs_type, FSOPEN_CLOEXEC)
            _configure(fs, fs_type, mount.source, flags, data, do)
            tree = do.fsmount(fs, FSMOUNT_CLOEXEC, attributes(flags))
            do.close(fs)
            if target is None:
                found = _usual_target(fs_type, mount, place, do)
                do.tolerate(do.fstatfs(found, magic))
                moved = do.tolerate(_move(tree, found, do))
                do.tolerate(do.close(found))
    except SyscallError as error:
        if error.call.startswith("fs"):
            error.message += _kernel_says(int(fs), place)
        raise
    if int(moved) >= 0 and fs_type not in ("proc", "sysfs"):
        _refuse_proc(magic, mount)
    return int(tree), int(moved) >= 0


def _configure(fs: Fd, fs_type: str, source: str, flags: int, data: list[str], do: Batch) -> None:
    if source:
        do.fsconfig(fs, FSCONFIG_SET_STRING, "source", source)
    for flag, name in _SUPERBLOCK:
        if flags & flag and fs_type not in _SHARED_SUPERBLOCK:
            do.fsconfig(fs, FSCONFIG_SET_FLAG, name, None)
    for word in data:
        for item in word.split(","):
            key, equals, value = item.partition("=")
            if equals:
                do.fsconfig(fs, FSCONFIG_SET_STRING, key, value)
            elif key:
                do.fsconfig(fs, FSCONFIG_SET_FLAG, key, None)
    do.fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)


def _usual_target(fs_type: str, mount: Mount, place: Place, do: Batch) -> Fd:
    """The destination, made if its parent is there; a negative result sends the caller the long way."""
    in_root = _clean(mount.destination)[1:]
    above, _, last = in_root.rpartition("/")
    if fs_type not in ("proc", "sysfs"):
        return inroot.usual_directory(do, place.root, above, last)
    if not above:
        do.tolerate(do.mkdirat(place.root, last, 0o755))
    flags = O_PATH | O_DIRECTORY | OPEN_TREE_CLOEXEC
    return do.tolerate(do.openat2(place.root, in_root, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))


def _kernel_says(fs: int, place: Place) -> str:
    """What the file system itself put into the context's log (fsopen(2)), as ": tmpfs: Unknown parameter 'x'"."""
    if fs < 0:
        return ""
    room = Out(256)
    with place.hand.batch() as do:
        length = do.tolerate(do.read(fs, room, 256))
    return f": {room.text().decode(errors='replace')[2:].rstrip()}" if int(length) > 2 else ""


def _mount_by_path(fs_type: str, mount: Mount, flags: int, data: str, target: Target, place: Place) -> None:
    """mount(2) takes longer values; its target is still the fd, by the host's /proc that is in place until pivot."""
    with place.hand.batch() as do:
        do.mount(mount.source, f"/proc/self/fd/{target.fd}", fs_type, flags, data)
        do.close(target.fd)


def _remount(mount: Mount, options: Options, place: Place) -> None:
    target = _target(mount, place, True, fresh_proc=True)
    with place.hand.batch() as do:
        data = ",".join(options.data)
        do.mount(mount.source, f"/proc/self/fd/{target.fd}", mount.type or None, options.flags, data or None)
        do.close(target.fd)


def _cgroup(mount: Mount, options: Options, place: Place) -> None:
    """cgroup2, as the cgroup namespace shows it; where it may not be mounted, the container's own cgroup bound."""
    try:
        _new("cgroup2", mount, options, place)
        return
    except SyscallError as error:
        if error.errno not in (EPERM, EBUSY) or not place.cgroup:
            raise
    options.flags |= MS_BIND
    bound = Mount(destination=mount.destination, source=place.cgroup, type="bind", options=["bind"])
    _bind(bound, options, place)
