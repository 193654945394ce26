"""linux.uidMappings: written from outside to /proc/PID/uid_map before anything runs in the namespace."""

from posix import strerror

from minirunc.base.errors import ConfigError
from minirunc.config import IDMapping, check_joined, check_mapped, check_mappings, need_namespace
from minirunc.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    why = "user namespace mappings specified, but user namespace isn't enabled in the config"
    need_namespace(config, "user", "linux.uidMappings", why)
    mappings = config.linux.uid_mappings
    check_mappings("linux.uidMappings", mappings)
    check_mapped("process.user.uid", config.process.user.uid, "uidMappings", mappings)


def joined(mappings: list[IDMapping], pid: int) -> list[IDMapping]:
    """Those of the user namespace that `pid` has joined: callers may give them, too, if they are the same."""
    return check_joined("linux.uidMappings", mappings, procfs.read(f"{pid}/uid_map"))


def apply(mappings: list[IDMapping], pid: int) -> None:
    """In one write(2), before anything runs in the namespace of `pid`."""
    text = "".join([f"{m.container_id} {m.host_id} {m.size}\n" for m in mappings])
    try:
        procfs.write_id_map(pid, "uid", text)
    except OSError as error:
        raise ConfigError("linux.uidMappings", strerror(error.errno or 0).lower()) from None
