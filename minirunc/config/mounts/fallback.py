"""What is mounted where the kernel denies a new proc, sysfs or cgroup2 in a user namespace (user_namespaces(7))."""

from minirunc.base.errors import SyscallError
from minirunc.config.mounts import Mount
from minirunc.config.mounts.target import Job, Place

EPERM, EBUSY = 1, 16
_NO_PROC = (
    ": a user namespace gets a new procfs only with a pid namespace of its own, and where nothing covers parts of the"
    " procfs it sees: add a pid namespace, or have the container around this one made without linux.maskedPaths and"
    " linux.readonlyPaths in /proc"
)


def instead_of(job: Job, place: Place, error: SyscallError) -> Mount:
    """The mount to try instead; raises `error`, with what to do about it, where there is none.

    A sysfs that is not the container's own is bound, and read-only throughout, with all that is mounted in it.
    The container's own cgroup is bound, too; without one nothing of the host's cgroups is shown (CVE-2023-25809).
    """
    if error.errno not in (EPERM, EBUSY):
        raise error
    if error.call not in ("fsopen", "fsconfig", "fsmount"):  # what the others say is not of the file system
        raise error
    mount = job.mount
    if job.fs_type == "proc":
        error.message += _NO_PROC
        raise error
    if job.fs_type == "sysfs":
        return _other(mount, "bind", "/sys", ["rbind", *mount.options, "ro", "rro"])
    if place.cgroup:
        return _other(mount, "bind", place.cgroup, ["bind", *mount.options])
    return _other(mount, "tmpfs", "tmpfs", ["ro", "nosuid", "nodev", "noexec", "nr_blocks=1", "nr_inodes=1"])


def _other(mount: Mount, fs_type: str, source: str, options: list[str]) -> Mount:
    return Mount(destination=mount.destination, type=fs_type, source=source, options=options)
