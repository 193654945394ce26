"""linux.gidMappings: written from outside to /proc/PID/gid_map before anything runs in the namespace."""

from minirunc.base.errors import ConfigError
from minirunc.config import check_mappings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    if config.linux.namespace("user") is None:
        why = "user namespace mappings specified, but user namespace isn't enabled in the config"
        raise ConfigError("linux.gidMappings", why)
    check_mappings("linux.gidMappings", config.linux.gid_mappings)
