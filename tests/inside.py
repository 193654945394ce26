"""What a container says of itself, taken apart: /proc/self/mountinfo, status and limits, as the tests print them."""

import os
from typing import NamedTuple

TYPES = {  # linux.namespaces[].type: its file in /proc/PID/ns
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mount": "mnt",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}
NAMESPACES = f"for n in {' '.join(TYPES.values())}; do readlink /proc/self/ns/$n; done"  # a script for `namespaces`


class Mount(NamedTuple):
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    device: str  # major:minor
    root: str
    options: set[str]  # of the mount
    tags: dict[str, str]  # shared, master, unbindable
    fs_type: str
    source: str
    superblock: set[str]  # options of the file system


def mounts(mountinfo: str) -> dict[str, Mount]:
    """By mount point; where one covers another, the upper one."""
    found = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        _, _, device, root, point, options, *tags = before.split()
        fs_type, source, superblock = after.split(" ")
        named = dict(tag.partition(":")[::2] for tag in tags)
        found[point] = Mount(device, root, set(options.split(",")), named, fs_type, source, set(superblock.split(",")))
    return found


def status(text: str) -> dict[str, str]:
    """The fields of /proc/self/status by name."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def limits(text: str) -> dict[str, tuple[str, str]]:
    """/proc/self/limits: soft and hard limit by name ("Max open files")."""
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in text.splitlines()[1:]}


def namespaces(text: str) -> dict[str, str]:
    """What the script NAMESPACES prints, by the type's name in config.json."""
    return dict(zip(TYPES, text.split(), strict=True))


def namespaces_of(pid: int | str = "self") -> dict[str, str]:
    """The same of a process as we see it."""
    return {kind: os.readlink(f"/proc/{pid}/ns/{file}") for kind, file in TYPES.items()}
