"""Where a mount goes: its destination opened below the root, made if missing, and refused where it must not be.

No link of an image may bring a mount to the root itself, into a procfs, or a procfs elsewhere than it seems
(CVE-2019-16884, CVE-2019-19921, CVE-2021-30465).
"""

from struct import unpack_from

from minirunc.base.errors import Error, SecurityError, SyscallError
from minirunc.config.mounts import Mount
from minirunc.config.mounts.options import parse_options
from minirunc.kernel import inroot
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    STATX_BASIC_STATS,
    STATX_MNT_ID,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out

EPERM, ENOENT, ENOSYS = 1, 2, 38
DIRECTORY, LINK = 0o040000, 0o120000
KIND = 0o170000
NOT_A_DIRECTORY = "not a directory: a directory cannot be mounted onto a file, nor a file onto a directory"
_IN_PROC = frozenset(
    "/proc/" + name
    for name in ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
                 "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled")
)  # fmt: skip


class Place:
    """Where the mounts go: the hand, the root it has open, and what relative sources are relative to."""

    __slots__ = (
        "attached", "bundle", "cgroup", "context", "hand", "label", "late", "live", "of_host_cgroups", "root", "rootfs",
        "slave", "tree", "used", "user_namespaces", "userns",
    )  # fmt: skip

    def __init__(self, hand: Hand, root: int, bundle: str, rootfs: str, cgroup: str, userns: bool) -> None:
        self.hand = hand
        self.root = root
        self.tree = inroot.Tree(root)
        self.bundle = bundle
        self.rootfs = rootfs  # the root as the host sees it
        self.of_host_cgroups = False  # in the host's cgroup namespace, where a new cgroup2 changes all others' options
        self.cgroup = cgroup  # host path of the container's cgroup, for where cgroup2 cannot be mounted
        self.userns = userns
        self.label = ""  # linux.mountLabel
        self.slave = False  # what is bound is to be a slave of its source: nobody said so of the whole tree
        self.live = False  # the hand is in a container that exists: what is bound is not to be found from there
        self.attached: list[Fd] = []  # in such a one: open until all are there, or to be taken back
        self.context = "context"  # the option it is given by: mount(8), "Mounting with SELinux"
        self.used: list[int] = []  # fds of attached mounts, to be closed with the next batch
        self.late: list[int] = []  # mounts to be made read-only when everything is in place
        self.user_namespaces: dict[tuple[str, str], int] = {}  # our fds, by uid_map and gid_map, of id-mapped mounts

    def label_option(self) -> str:
        """The mount option of linux.mountLabel, or "" without one."""
        return f"{self.context}={self.label}" if self.label else ""

    def mounted(self, destination: str, fd: int = -1) -> None:
        """Note a mount, and its fd if it is of our own making."""
        self.used += [covered for covered in self.tree.mounted(destination, fd) if covered not in self.late]


class Job:
    """One mount on its way: what config.json says, its options resolved, where it is to go."""

    __slots__ = ("fs_type", "in_root", "late", "mount", "nofollow", "options")

    def __init__(self, mount: Mount) -> None:
        self.mount = mount
        self.options = parse_options(mount.options)
        if mount.uid_mappings:
            self.options.idmap = self.options.idmap or "idmap"
        self.fs_type = "cgroup2" if mount.type == "cgroup" else mount.type
        self.in_root = clean(mount.destination)
        self.late = False  # it becomes read-only when everything is in place
        # Of the destination, if its last part is a link. A link that is bound would lead away from where it stands.
        self.nofollow = O_NOFOLLOW if self.options.dest_nofollow else 0


class Target:
    """A mount's target, opened; `stat` is its struct statx, `made` whether it was missing."""

    __slots__ = ("fd", "gid", "made", "mode", "uid")

    def __init__(self, fd: int, stat: bytes, *, made: bool) -> None:
        self.fd = fd
        self.made = made
        self.uid, self.gid, self.mode = unpack_from("<IIH", stat, 20)


class Look:
    """What a batch finds out of a target, for `refuse` to judge."""

    __slots__ = ("fs", "root", "stat")

    def __init__(self, fd: Fd, place: Place, do: Batch) -> None:
        self.stat, self.root, self.fs = Out(256), Out(256), Out(120)
        do.tolerate(do.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, self.stat))
        do.statx(place.root, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, self.root)
        do.tolerate(do.fstatfs(fd, self.fs))

    def refuse(self, job: Job, *, procfs: bool) -> None:
        """Raise Error for the root's own top, and in a procfs, where a mount could forge what others read there.

        `procfs`: what is mounted is one itself, so that it may cover one.
        """
        if identity(self.stat.data) == identity(self.root.data):
            raise _on_top(job.mount.destination)
        if int.from_bytes(self.fs.data[:8], "little") != PROC_SUPER_MAGIC:
            return
        if job.in_root not in _IN_PROC and (not procfs or job.in_root.startswith("/proc/")):
            raise _inside_proc(job.mount.destination)


def refuse(destination: str, stat: bytes, root: bytes, fs: bytes) -> None:
    """The same for what may not stand in a procfs at all; `root` is an identity."""
    if identity(stat) == root:
        raise _on_top(destination)
    if int.from_bytes(fs[:8], "little") == PROC_SUPER_MAGIC:
        raise _inside_proc(destination)


class Landing:
    """Where a mount came to stand: what is at its destination right after it was attached, for `verify` to judge.

    Who shares the directory may have moved it meanwhile (CVE-2021-30465). What is below a mount of our own nobody can
    move, and nothing is asked there.
    """

    __slots__ = ("again", "flags", "in_root", "stats")

    def __init__(self, tree: Fd, job: Job, place: Place, do: Batch) -> None:
        self.in_root = job.in_root
        self.flags = O_PATH | job.nofollow
        self.again: Fd = -1
        self.stats = Out(256), Out(256)
        if place.live:
            place.attached.append(tree)
        root, _ = place.tree.at(self.in_root)
        if root == place.root:
            self.again = do.tolerate(inroot.openat2(do, root, self.in_root, self.flags))
            do.statx(tree, "", AT_EMPTY_PATH, STATX_MNT_ID, self.stats[0])
            do.tolerate(do.statx(self.again, "", AT_EMPTY_PATH, STATX_MNT_ID, self.stats[1]))
            do.tolerate(do.close(self.again))

    def verify(self, place: Place) -> None:
        """Raise SecurityError if what is found at the destination is not this mount."""
        if not self.stats[0].data:
            return
        if int(self.again) < 0:  # a rename raced with it; or why it was not found is no attack
            again = inroot.find(place.hand, place.root, self.in_root, self.flags)
            with place.hand.batch() as do:
                do.tolerate(do.statx(again, "", AT_EMPTY_PATH, STATX_MNT_ID, self.stats[1]))
                do.tolerate(do.close(again))
        ours, found = (stat.data[144:152] for stat in self.stats)
        if ours != found:
            raise SecurityError(f"{self.in_root} was replaced while it was mounted")


def identity(stat: bytes) -> bytes:
    """Inode, device and mount of a struct statx."""
    return stat[32:40] + stat[136:152]


def _on_top(destination: str) -> Error:
    return Error(f'mountpoint "{destination}" is on the top of rootfs')


def _inside_proc(destination: str) -> Error:
    return Error(f'"{destination}" cannot be mounted because it is inside /proc')


def clean(destination: str) -> str:
    """The destination from the root, without `.` and `..`; raises Error if that is the root."""
    parts: list[str] = []
    for part in destination.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise _on_top(destination)
    return "/" + "/".join(parts)


def bound(job: Job, place: Place, mode: int, procfs: bool) -> Target:
    """For a bind mount of a file of this st_mode; `procfs` if it is of one."""
    if job.in_root == "/proc" and not procfs:
        raise _not_proc(job.mount)
    target = _open(job, place, mode & KIND == DIRECTORY, procfs=procfs and job.in_root == "/proc")
    if (target.mode & KIND == DIRECTORY) != (mode & KIND == DIRECTORY):
        raise Error(NOT_A_DIRECTORY)
    return target


def existing(job: Job, place: Place) -> Target:
    """For a remount of what stands there."""
    return _open(job, place, True, procfs=True)


def directory(job: Job, place: Place) -> Target:
    """For a new mount of a file system."""
    if job.fs_type in ("proc", "sysfs"):
        return _ordinary_directory(job, place)
    target = _open(job, place, True)
    if target.mode & KIND != DIRECTORY:
        raise Error(NOT_A_DIRECTORY)
    return target


def check(job: Job) -> None:
    """What the destination's name tells: /proc is for a procfs."""
    if job.fs_type != "proc" and job.in_root == "/proc":
        raise _not_proc(job.mount)


def usual(job: Job, place: Place, do: Batch) -> Fd:
    """As `directory`, in a batch, if the destination's parent is there; a negative result sends the caller that way."""
    root, in_root = place.tree.at(job.in_root)
    above, _, last = in_root.lstrip("/").rpartition("/")
    if job.fs_type not in ("proc", "sysfs"):
        return inroot.usual_directory(do, root, above, last)
    if not above:
        do.tolerate(do.mkdirat(root, last, 0o755))
    return do.tolerate(_ordinary(root, in_root, do))


def _not_proc(mount: Mount) -> Error:
    return Error(f'"{mount.destination}" cannot be mounted because it is not of type proc')


def _open(job: Job, place: Place, is_directory: bool, *, procfs: bool = False) -> Target:
    root, in_root = place.tree.at(job.in_root)
    with place.hand.batch() as do:
        fd = first = do.tolerate(inroot.openat2(do, root, in_root, O_PATH | job.nofollow))
        look = Look(fd, place, do)
    if int(first) < 0:
        make = inroot.directory if is_directory else inroot.file
        fd = make(place.hand, root, in_root)
        with place.hand.batch() as do:  # somebody else may have put something there meanwhile
            look = Look(fd, place, do)
    look.refuse(job, procfs=procfs)
    return Target(int(fd), look.stat.data, made=int(first) == -ENOENT)


def _ordinary(root: int, in_root: str, do: Batch) -> Fd:
    flags = O_PATH | O_DIRECTORY | O_CLOEXEC
    return do.openat2(root, in_root.lstrip("/"), flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def _ordinary_directory(job: Job, place: Place) -> Target:
    """The target of proc and sysfs: a directory reached by no link, or writes to it could land elsewhere."""
    root, in_root = place.tree.at(job.in_root)
    for made in (False, True):
        with place.hand.batch() as do:
            fd = do.tolerate(_ordinary(root, in_root, do))
            look = Look(fd, place, do)
        if int(fd) >= 0:
            look.refuse(job, procfs=job.fs_type == "proc")
            return Target(int(fd), look.stat.data, made=made)
        if made or int(fd) != -ENOENT:
            if int(fd) in (-EPERM, -ENOSYS):  # says nothing of the directory
                raise SyscallError("openat2", f'root, "{in_root}", RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS', -int(fd))
            break
        # Its links are followed, so it is only a help: what counts is found by the second try.
        made_fd = inroot.directory(place.hand, root, in_root)
        with place.hand.batch() as do:
            do.close(made_fd)
    raise Error(f'filesystem "{job.fs_type}" must be mounted on ordinary directory')
