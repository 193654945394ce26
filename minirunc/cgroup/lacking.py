"""Why a limit cannot be set: who has the controller instead, and what to do. Read only where one failed."""

import posix

from minirunc.base import files
from minirunc.kernel import cgroupfs, procfs

_SHOWN = 3  # processes named


def why(cgroup: int, where: str, file: str) -> str:
    """In words, for a `file` that the `cgroup` has not, or does not let us write; `where` is the limit's JSON path."""
    controller = file.partition(".")[0]
    _, hybrid = cgroupfs.mount_point()
    known = controller in cgroupfs.read(cgroup, "cgroup.controllers").split()
    if where.endswith(".unified"):
        missing = f"this kernel has no {file}" if known else f'controller "{controller}" not available'
        return f'unified resource "{file}" can\'t be set: {missing}'
    if known:
        return f"this kernel has no {file}"
    if not _has_kernel(controller):
        return f"this kernel has no {controller} controller; remove the limit"
    if hybrid:
        return (
            f"the {controller} controller is not available: this host is hybrid, cgroup v1 holds it; remove the limit,"
            " or boot with systemd.unified_cgroup_hierarchy=1"
        )
    remedy = _remedy(controller, cgroup)
    return f"the {controller} controller is not available in this cgroup; remove the limit, or {remedy}"


def _has_kernel(controller: str) -> bool:
    """Whether it is in this kernel, in use or not: cgroups(7), "/proc files"; by its name in cgroup v1."""
    name = {"io": "blkio"}.get(controller, controller)
    return f"\n{name}\t" in files.read("/proc/cgroups").decode()


def _remedy(controller: str, cgroup: int) -> str:
    """The nearest cgroup above that has the controller gives it on, unless processes are in it (cgroup-v2.rst,
    "No Internal Process Constraint"); above that, it has to be delegated.
    """
    here = posix.readlink(f"/proc/self/fd/{cgroup}")
    root, _ = cgroupfs.mount_point()
    while here.startswith(f"{root}/"):
        here = here.rpartition("/")[0]
        try:
            if controller not in files.read(f"{here}/cgroup.controllers").decode().split():
                continue
            pids = files.read(f"{here}/cgroup.procs").split()
            posix.stat(f"{here}/cgroup.type")  # not the root of all, which has no such rule
        except OSError:
            break
        if pids:
            there = ", ".join(procfs.described(int(pid)) for pid in pids[:_SHOWN])
            more = f" and {len(pids) - _SHOWN} more" if len(pids) > _SHOWN else ""
            return (
                f"move the processes of {here} ({there}{more}) to a cgroup below it: it gives it on to none meanwhile"
            )
        break
    if cgroupfs.read(cgroup, "cgroup.type") == "threaded":
        return "name another cgroup: those beside it are threaded, for which it is not"
    return f"have it delegated (with systemd: Delegate={controller} in user@.service)"
