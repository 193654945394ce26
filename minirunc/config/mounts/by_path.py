"""mounts by mount(2), for what the newer calls cannot do: a remount, an option's value too long for fsconfig(2).

The target is still an fd: its path is that of the host's /proc, in place until pivot_root. Imported only when needed.
"""

from minirunc.base.errors import Error, SecurityError
from minirunc.config.mounts.target import Job, Place, Target
from minirunc.kernel import inroot
from minirunc.kernel.constants import AT_EMPTY_PATH, STATX_ATTR_MOUNT_ROOT, STATX_BASIC_STATS
from minirunc.kernel.syscalls import Out


def new(job: Job, onto: Target, place: Place) -> int:
    """Mount a new file system onto the target; returns its fd."""
    if job.options.idmap:
        raise Error("an option of more than 255 bytes does not go with an id mapping")
    label = [f'{place.context}="{place.label}"'] if place.label else []
    _mount(job, onto, ",".join([*job.options.data, *label]), place)
    place.mounted(job.in_root)
    tree = inroot.open_path(place.hand, *place.tree.at(job.in_root))
    stat = Out(256)
    with place.hand.batch() as do:
        do.statx(tree, "", AT_EMPTY_PATH, STATX_BASIC_STATS, stat)
    if not int.from_bytes(stat.data[8:16], "little") & STATX_ATTR_MOUNT_ROOT:
        raise SecurityError(f"{job.mount.destination} was replaced while it was mounted")
    return tree


def remount(job: Job, onto: Target, place: Place) -> None:
    """Change the mount that the target is the root of."""
    _mount(job, onto, ",".join(job.options.data), place)


def _mount(job: Job, onto: Target, data: str, place: Place) -> None:
    if place.live:
        raise Error("not in a container that exists: no remount, and no option of more than 255 bytes")
    with place.hand.batch() as do:
        do.mount(job.mount.source, f"/proc/self/fd/{onto.fd}", job.fs_type or None, job.options.flags, data or None)
        do.close(onto.fd)
