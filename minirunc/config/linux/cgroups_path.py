"""linux.cgroupsPath: where the container's cgroup is made; cgroup/ reads it before the process exists."""

from minirunc.config import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    """Paths are for the file system driver; `slice:prefix:name` is the systemd driver's form."""
    path = config.linux.cgroups_path
    if "/" not in path and path.count(":") == 2:
        raise unsupported("linux.cgroupsPath")
