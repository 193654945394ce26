"""A birth without a cgroup: where the host gives none and none is asked for (--rootless), or none is wanted."""

import posix

from minirunc.base import log
from minirunc.base.errors import ConfigError
from minirunc.cgroup import fs
from minirunc.config import Config
from minirunc.config.linux import namespaces, resources
from minirunc.kernel import cgroupfs, procfs
from minirunc.kernel.constants import CLONE_NEWUSER

NO_RIGHTS = (1, 13, 30)  # EPERM, EACCES, EROFS: what a cgroup that is not ours to make answers

EINVAL, ENOSPC = 22, 28

_FILES = {"mount": "mnt", "network": "net"}  # in /proc/PID/ns, where not named as the kind of namespace
_DELEGATED = "start it in a cgroup that is delegated to you, as `systemd-run --user --scope -p Delegate=yes` does"
_UNCLEAN = (
    "Creating a rootless container with no cgroup and no private pid namespace. Such configuration is strongly"
    " discouraged: what its first process leaves behind cannot be found any more"
)


def go_without(said: str, config: Config, error: Exception) -> None:
    """Return if the container may run without the cgroup that `error` denied; `said` is --rootless.

    Raises `error` itself where it is no question of rights, ConfigError naming what needs the cgroup.
    """
    asked = said == "true" or (said == "auto" and not procfs.is_host_root())
    absent = isinstance(error, cgroupfs.NotMounted)
    if not (absent or (isinstance(error, OSError) and error.errno in NO_RIGHTS)) or not asked:
        raise error
    linux = config.linux
    why = str(error) if absent else f"it cannot be made: {posix.strerror(getattr(error, 'errno', 0)).lower()}"
    if linux.cgroups_path:
        path = f"unable to apply cgroup configuration: {linux.cgroups_path}: {why}"
        raise ConfigError("linux.cgroupsPath", f"{path}; leave it out, or {_DELEGATED}") from None
    wanted = resources.limits(linux.resources, lambda _: False)
    if wanted:
        rule = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"  # runc's words
        line = " ".join(sorted({file.partition(".")[0] for _, file, _ in wanted}))
        remedy = f"remove the limit, or {_DELEGATED}, with the line `Delegate={line}` in user@.service"
        raise ConfigError(wanted[0][0], f"{rule}: {why}; {remedy}") from None
    if linux.namespace("user") is None and procfs.is_host_root() and not _allows_all(config):
        rule = "without a cgroup only a user namespace keeps devices away"
        raise ConfigError("linux.resources.devices", f"{rule}: {why}") from None
    if not namespaces.is_new(linux.namespaces, "pid"):
        log.warning(_UNCLEAN)
    log.debug(f"no cgroup: {why}")


def check_disabled(config: Config) -> None:
    """--cgroup-manager disabled: no cgroup is made, so no limit can hold. Raises ConfigError naming one."""
    wanted = resources.limits(config.linux.resources, lambda _: False)
    if wanted:
        why = "--cgroup-manager disabled makes no cgroup that could hold it; remove the limit, or the option"
        raise ConfigError(wanted[0][0], why)
    if config.linux.resources.devices and not _allows_all(config):
        log.debug("linux.resources.devices has no effect: --cgroup-manager disabled makes no cgroup")
    if not namespaces.is_new(config.linux.namespaces, "pid"):
        log.warning(_UNCLEAN)


def check_enter(path: str) -> None:
    """Raise PermissionError unless an ordinary user may move a process of his to the cgroup `path`.

    The kernel asks for write access to cgroup.procs of the nearest cgroup above both (cgroup-v2.rst, "Delegation
    Containment").
    """
    common = ""
    for own, wanted in zip(cgroupfs.own_path().split("/")[1:], path.split("/")[1:], strict=False):
        if own != wanted:
            break
        common += f"/{own}"
    root, _ = cgroupfs.mount_point()
    file = f"{root}{common}/cgroup.procs"
    if not posix.access(file, posix.W_OK):
        denied = PermissionError(13, "may not be entered", file)
        denied.add_note("unable to apply cgroup configuration")
        raise denied


def _allows_all(config: Config) -> bool:
    rules = config.linux.resources.devices
    return bool(rules) and rules[-1].allow and rules[-1].type in ("", "a")


def why_no_namespaces(errno: int, kinds: int) -> str:
    """What to add to a clone3(2) or unshare(2) that failed, as ": ..."; nothing where its errno says enough."""
    if errno == ENOSPC:
        return ": the limit is /proc/sys/user/max_*_namespaces, here or in a user namespace around this one"
    if errno == EINVAL:
        there = posix.listdir("/proc/self/ns")
        asked = [kind for kind, flag in namespaces.FLAGS.items() if flag & kinds]
        lacking = [kind for kind in asked if _FILES.get(kind, kind) not in there]
        return f": {lacking[0]} namespaces aren't enabled in the kernel" if lacking else ""
    if kinds & CLONE_NEWUSER and errno in NO_RIGHTS and posix.geteuid() != 0:
        return (
            ": this host does not let ordinary users make user namespaces: kernel.unprivileged_userns_clone,"
            " kernel.apparmor_restrict_unprivileged_userns or a seccomp filter may say so"
        )
    return ""


def enter_below(config: Config, cgroup: int, pid: int) -> None:
    """Have the process `pid` begin in a cgroup of its own below the container's: annotation run.oci.delegate-cgroup."""
    if cgroup < 0:
        raise ConfigError('annotations["run.oci.delegate-cgroup"]', "the container has no cgroup of its own")
    below = fs.enter_below(cgroup, config.annotations["run.oci.delegate-cgroup"], pid)
    delegate(config, below)
    posix.close(below)


def delegate(config: Config, cgroup: int) -> None:
    """Give the cgroup to the process's user, where it is what he is shown, writable, as /sys/fs/cgroup.

    The directory and the files that are his in a delegated cgroup (cgroup-v2.rst, "Model of Delegation"): no limits.
    """
    linux = config.linux
    if cgroup < 0 or not namespaces.is_new(linux.namespaces, "cgroup"):
        return
    uid = config.process.user.uid
    if linux.namespace("user") is not None:
        found = [one for one in linux.uid_mappings if 0 <= uid - one.container_id < one.size]
        if not found:
            return
        uid += found[0].host_id - found[0].container_id
    if uid == posix.geteuid():
        return
    for name in (".", *cgroupfs.delegated_files()):
        try:
            posix.chown(name, uid, -1, dir_fd=cgroup, follow_symlinks=False)
        except FileNotFoundError:  # of a controller that is not there
            continue
        except PermissionError:  # an ordinary user gives nothing away
            return
