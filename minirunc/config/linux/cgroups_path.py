"""linux.cgroupsPath: where the container's cgroup is made; cgroup/ reads it before the process exists."""

from minirunc.base import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    """Any path is one for the file system driver; the systemd driver's form is rarely meant as such (as in runc)."""
    path = config.linux.cgroups_path
    if "/" not in path and path.count(":") == 2:
        log.debug(f"linux.cgroupsPath: {path} is taken as it stands: slice:prefix:name is for --systemd-cgroup")
