"""mounts, applied: each made detached, then attached to a target that was opened below the root and checked.

The target is found before the mount is attached and used by fd alone, so that no link changed meanwhile leads
elsewhere (CVE-2019-16884, CVE-2019-19921, CVE-2021-30465). Sources: mount_setattr(2), move_mount(2), fsopen(2).
"""

from posix import close

from minirunc.base.errors import ConfigError, Error, SyscallError
from minirunc.config.mounts import Mount, target
from minirunc.config.mounts.options import CLEARABLE, Options, attributes, chosen_flags, parse_options
from minirunc.config.mounts.target import Job, Place
from minirunc.kernel import cgroupfs, procfs, trace
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_BIND,
    MS_DIRSYNC,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_RDONLY,
    MS_REC,
    MS_SLAVE,
    MS_SYNCHRONOUS,
    O_NOFOLLOW,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    STATX_BASIC_STATS,
)
from minirunc.kernel.hand import Batch
from minirunc.kernel.syscalls import Fd, Out, Words

EPERM, ENOENT, EACCES, EBUSY = 1, 2, 13, 16

# Of the superblock, so a file system shared with others (kernfs) must not get them.
_SUPERBLOCK = ((MS_RDONLY, "ro"), (MS_SYNCHRONOUS, "sync"), (MS_DIRSYNC, "dirsync"), (MS_LAZYTIME, "lazytime"),
               (MS_MANDLOCK, "mand"))  # fmt: skip
_SHARED_SUPERBLOCK = ("proc", "sysfs", "cgroup2", "mqueue")
KEPT = ("/proc", "/dev", "/dev/pts", "/sys")  # something of ours is found below these later
_OWN = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2")  # empty or the kernel's: nothing of an image's
# The kernel labels what is in them itself; a queue is labelled by its directory, which takes a label as files do.
_UNLABELLED = ("proc", "sysfs", "cgroup2", "mqueue")
LONGEST = 255  # bytes fsconfig(2) takes as a value
MANY = 32  # from here on they are sent by the dozen, which costs two modules


def apply(mounts: list[Mount], place: Place) -> None:
    """Mount them in order."""
    try:
        _apply(mounts, place)
    finally:
        for namespace in place.user_namespaces.values():
            close(namespace)


def _apply(mounts: list[Mount], place: Place) -> None:
    for mount in mounts:
        if mount.destination.startswith(place.rootfs + "/"):  # some name it as the host sees it, and runc knows
            mount.destination = mount.destination.removeprefix(place.rootfs)
    if len(mounts) > MANY and not trace.sink:
        from minirunc.config.mounts import many

        many.apply(mounts, place)
        return
    for index, mount in enumerate(mounts):
        one(index, mount, place)


def one(index: int, mount: Mount, place: Place) -> None:
    """Mount it; an error names it."""
    try:
        _one(mount, place)
    except Error as error:
        note(error, index, mount)
        raise


def note(error: Error, index: int, mount: Mount) -> None:
    error.add_note(f'error mounting "{mount.source}" to rootfs at "{mount.destination}" (mounts[{index}])')
    if not isinstance(error, SyscallError | ConfigError):
        error.add_note("error during container init")  # to a system call's error a birth adds it, wherever it was


def _one(mount: Mount, place: Place) -> None:
    job = Job(mount)
    if job.options.remount:
        _remount(job, place)
    elif job.options.bind:
        _bind(job, place)
    elif job.fs_type in ("proc", "sysfs", "cgroup2"):
        _of_a_namespace(job, place)
    else:
        _new(job, place)


def is_bound(mounts: list[Mount], destination: str) -> bool:
    """Whether a bind mount of the configuration stands there: its content is the user's then."""
    return any(target.clean(mount.destination) == destination and parse_options(mount.options).bind for mount in mounts)


def finish(place: Place, do: Batch) -> None:
    """Read-only what was asked to be, now that nothing is to be made in it any more."""
    for tree in place.late:
        do.mount_setattr(tree, "", AT_EMPTY_PATH, Words(MOUNT_ATTR_RDONLY, 0, 0, 0))
    for tree in {*place.late, *place.used, *place.tree.own.values()} - {-1}:
        do.close(tree)


def move(tree: Fd, target: Fd, do: Batch) -> Fd:
    return do.move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)


def _attach(tree: Fd, onto: target.Target | None, job: Job, place: Place) -> None:
    """Attach, if it is not yet, then what can only be said of an attached mount."""
    landing: target.Landing | None = None
    with place.hand.batch() as do:
        close_used(place, do)
        if onto:
            move(tree, onto.fd, do)
            landing = target.Landing(tree, job, place, do)
            do.close(onto.fd)
        settle(tree, job.options, do)
    if landing:
        landing.verify(place)


def close_used(place: Place, do: Batch) -> None:
    if not place.live:
        for fd in place.used:
            do.close(fd)
        place.used.clear()


def settle(tree: Fd, options: Options, do: Batch) -> None:
    """Recursive attributes, propagation."""
    if options.rec_set or options.rec_clear:
        words = Words(options.rec_set, options.rec_clear, 0, 0)
        do.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, words)
    for propagation in options.propagation:
        recursive = AT_RECURSIVE if propagation & MS_REC else 0
        do.mount_setattr(tree, "", AT_EMPTY_PATH | recursive, Words(0, 0, propagation & ~MS_REC, 0))


def _bind(job: Job, place: Place) -> None:
    source, options = job.mount.source, job.options
    if not source.startswith("/"):
        source = f"{place.bundle}/{source}"
    if options.copy_symlink:
        from minirunc.config.mounts import links

        if links.copy(source, job, place):
            return
    if place.userns and options.recursive and options.flags & MS_RDONLY and source.rstrip("/") == "/sys":
        options.rec_set |= MOUNT_ATTR_RDONLY  # its cgroups, too: some are the user's own (CVE-2023-25809)
    tree, mode = _source_tree(source, options, place)
    if mode & target.KIND == target.LINK:
        job.nofollow = O_NOFOLLOW
    onto_proc = job.in_root == "/proc"
    onto = target.bound(job, place, mode, procfs=onto_proc and _is_procfs(tree, place))
    _map_ids(tree, job, place)
    if place.slave and not options.propagation:
        options.propagation = [MS_SLAVE | MS_REC]
    if options.flags & ~(MS_BIND | MS_REC) or options.cleared:
        _set_flags(tree, options, place)
    _attach(tree, onto, job, place)
    place.mounted(job.in_root, tree if onto_proc else -1)  # what is on /proc is a procfs, or it had been refused
    if not onto_proc:
        place.used.append(tree)


def _map_ids(tree: int, job: Job, place: Place) -> None:
    if job.options.idmap:
        from minirunc.config.mounts import idmap

        idmap.apply(tree, job, place)


def _set_flags(tree: int, options: Options, place: Place) -> None:
    """As MS_REMOUNT|MS_BIND has it: flags that are not named go, but for atime's, of which only a new one counts.

    In a user namespace those of the source that are locked stay, unless a word clears them (mount_setattr(2) EPERM).
    """
    chosen, all_of_them = chosen_flags(options)
    with place.hand.batch() as do:
        done = do.tolerate(do.mount_setattr(tree, "", AT_EMPTY_PATH, Words(chosen, all_of_them, 0, 0)))
    if int(done) == -EPERM:
        named = attributes(options.cleared) & CLEARABLE | MOUNT_ATTR_NOSYMFOLLOW | all_of_them & ~CLEARABLE
        with place.hand.batch() as do:
            do.mount_setattr(tree, "", AT_EMPTY_PATH, Words(chosen, named, 0, 0))
    elif int(done) < 0:
        raise SyscallError("mount_setattr", f"{chosen:#x}, {all_of_them:#x}", -int(done))


def _source_tree(source: str, options: Options, place: Place) -> tuple[int, int]:
    """A detached copy of the source's mounts, and the source's st_mode."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if options.recursive else 0)
    if options.src_nofollow:
        flags |= AT_SYMLINK_NOFOLLOW
    if place.live:
        from minirunc.config.mounts import live

        return live.source_tree(source, flags, place)
    stat = Out(256)
    with place.hand.batch() as do:
        tree = do.tolerate(do.open_tree(AT_FDCWD, source, flags))
        do.tolerate(do.statx(tree, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat))
    if int(tree) == -EACCES and place.userns:
        # The container's root may not walk there; we may.
        outside = procfs.open_in_mount_ns(place.hand.pid, source, O_NOFOLLOW if options.src_nofollow else 0)
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


def _new(job: Job, place: Place) -> None:
    """A new file system, its target looked at before where it depends on that."""
    options = job.options
    target.check(job)
    long = any(len(word) > LONGEST for word in options.data)
    as_it_was = job.fs_type == "tmpfs" and not any(word.startswith("mode=") for word in options.data)
    onto: target.Target | None = None
    if long or as_it_was or options.tmpcopyup or options.idmap or options.dest_nofollow:
        onto = target.directory(job, place)
        if as_it_was and not onto.made:
            options.data.insert(0, f"mode={onto.mode & 0o7777:04o}")
        if options.tmpcopyup and not onto.made:
            options.data[:0] = [f"uid={onto.uid}", f"gid={onto.gid}"]
        if long:
            _by_path(job, onto, place)
            return
    if job.fs_type == "tmpfs" and options.flags & MS_RDONLY:
        options.flags &= ~MS_RDONLY
        job.late = True
    tree, attached = _make_and_attach(job, place, onto)
    if not attached or options.rec_set or options.rec_clear or options.propagation:
        if options.tmpcopyup and onto:
            from minirunc.config.mounts.tmpcopyup import copy_up

            copy_up(place.hand, onto.fd, tree)
        _map_ids(tree, job, place)
        _attach(tree, None if attached else onto or target.directory(job, place), job, place)
    if place.label and job.fs_type == "mqueue":
        from minirunc.kernel import lsm

        lsm.label(place.hand, tree, place.label)
    _note(tree, job, place)


def _by_path(job: Job, onto: target.Target, place: Place) -> None:
    from minirunc.config.mounts import by_path

    tree = by_path.new(job, onto, place)
    _attach(tree, None, job, place)
    place.used.append(tree)


def _note(tree: int, job: Job, place: Place) -> None:
    """Keep the fd of a mount that only we can have filled, to find what is below it by."""
    own = job.in_root in KEPT and job.fs_type in _OWN and not job.options.tmpcopyup
    place.mounted(job.in_root, tree if own else -1)
    if job.late:
        place.late.append(tree)
    elif not own:
        place.used.append(tree)


def _make_and_attach(job: Job, place: Place, onto: target.Target | None) -> tuple[int, bool]:
    """A new mount; and, without `onto` given, in the same batch its attaching, where the target's parent is there.

    Returns its fd and whether it is attached.
    """
    fs: Fd = -1
    look: target.Look | None = None
    landing: target.Landing | None = None
    moved: Fd = -1
    try:
        with place.hand.batch() as do:
            close_used(place, do)
            fs = do.fsopen(job.fs_type, FSOPEN_CLOEXEC)
            configure(fs, job, place, do)
            tree = do.fsmount(fs, FSMOUNT_CLOEXEC, attributes(job.options.flags))
            do.close(fs)
            if onto is None:
                found = target.usual(job, place, do)
                look = target.Look(found, place, do)
                moved = do.tolerate(move(tree, found, do))
                landing = target.Landing(tree, job, place, do)
                do.tolerate(do.close(found))
    except SyscallError as error:
        if error.call.startswith("fs"):
            error.message += _kernel_says(int(fs), place)
        if error.call == "fsopen" and job.fs_type in ("", "none", "bind"):
            error.message += ": no file system; a bind mount has the option bind or rbind"
        raise
    if look and landing and int(moved) >= 0:
        look.refuse(job, procfs=job.fs_type == "proc")
        landing.verify(place)
    return int(tree), int(moved) >= 0


def configure(fs: Fd, job: Job, place: Place, do: Batch) -> None:
    if place.label and job.fs_type not in _UNLABELLED:
        do.fsconfig(fs, FSCONFIG_SET_STRING, place.context, place.label)
    if job.mount.source:
        do.fsconfig(fs, FSCONFIG_SET_STRING, "source", job.mount.source)
    for flag, name in _SUPERBLOCK:
        if job.options.flags & flag and job.fs_type not in _SHARED_SUPERBLOCK:
            do.fsconfig(fs, FSCONFIG_SET_FLAG, name, None)
    for word in job.options.data:
        key, equals, value = word.partition("=")
        if equals:
            do.fsconfig(fs, FSCONFIG_SET_STRING, key, value)
        elif key:
            do.fsconfig(fs, FSCONFIG_SET_FLAG, key, None)
    do.fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)


def _kernel_says(fs: int, place: Place) -> str:
    """What the file system itself put into the context's log (fsopen(2)), as ": tmpfs: Unknown parameter 'x'"."""
    if fs < 0:
        return ""
    room = Out(256)
    with place.hand.batch() as do:
        length = do.tolerate(do.read(fs, room, 256))
    return f": {room.text().decode(errors='replace')[2:].rstrip()}" if int(length) > 2 else ""


def _remount(job: Job, place: Place) -> None:
    from minirunc.config.mounts import by_path

    by_path.remount(job, target.existing(job, place), place)


def _of_a_namespace(job: Job, place: Place) -> None:
    """proc, sysfs, cgroup2: the kernel denies a new one in a user namespace that does not own what it shows."""
    if job.fs_type == "cgroup2" and not place.cgroup:
        job.options.flags |= MS_RDONLY  # the cgroup it shows is not the container's own (CVE-2023-25809)
    if job.fs_type == "cgroup2" and place.of_host_cgroups:
        job.options.data += cgroupfs.mount_options()
    try:
        _new(job, place)
    except SyscallError as error:
        if job.options.idmap:
            raise  # nothing else would be what was asked for
        from minirunc.config.mounts import fallback  # what most containers do not need

        _one(fallback.instead_of(job, place, error), place)
