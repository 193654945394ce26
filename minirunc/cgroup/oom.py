"""Whether the kernel killed for want of memory, and what to tell of it; read where something failed, or may have."""

from minirunc.kernel import cgroupfs


def killed(cgroup: int) -> bool:
    """Whether a process in it was killed for want of memory, as far as that can be told."""
    try:
        return cgroupfs.flag(cgroup, "memory.events", "oom_kill") > 0
    except OSError:
        return False


def is_gone(cgroup: int) -> bool:
    """Whether it was removed, and with it what the kernel counted: systemd does so as soon as nobody is in it."""
    try:
        cgroupfs.read(cgroup, "cgroup.events")
    except OSError:
        return True
    return False


def figures(cgroup: int) -> str:
    """Limit and peak in bytes, as the files of the cgroup call them (memory.peak is there since Linux 5.19)."""
    found = []
    for file in ("memory.max", "memory.peak", "memory.swap.max"):
        try:
            found.append(f"{file} is {cgroupfs.read(cgroup, file)}")
        except OSError:
            continue
    return ", ".join(found)
