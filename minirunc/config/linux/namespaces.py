"""linux.namespaces: what the container gets anew or joins by path; what is not listed is the host's."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record
from minirunc.kernel.constants import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

FLAGS = {
    "cgroup": CLONE_NEWCGROUP,
    "ipc": CLONE_NEWIPC,
    "mount": CLONE_NEWNS,
    "network": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "time": CLONE_NEWTIME,
    "user": CLONE_NEWUSER,
    "uts": CLONE_NEWUTS,
}


class Namespace(Record):
    type: str
    path: str = ""  # empty: a new one


def check(config: "Config") -> None:
    """Whether a path is a namespace of that type is seen when it is joined."""
    linux = config.linux
    seen = set()
    for index, namespace in enumerate(linux.namespaces):
        where = f"linux.namespaces[{index}]"
        if namespace.type not in FLAGS:
            raise ConfigError(f"{where}.type", f'namespace "{namespace.type}" does not exist')
        if namespace.type in seen:
            raise ConfigError(where, f'malformed spec file: duplicated ns "{namespace.type}"')
        if namespace.path and not namespace.path.startswith("/"):
            raise ConfigError(f"{where}.path", f'must be an absolute path, got "{namespace.path}"')
        seen.add(namespace.type)
    user = linux.namespace("user")
    if user is not None and not user.path:
        if not linux.uid_mappings and not linux.gid_mappings:
            why = "user namespaces enabled, but no namespace path to join nor mappings to apply specified"
            raise ConfigError("linux.namespaces", why)
        for name, mappings in (("uid", linux.uid_mappings), ("gid", linux.gid_mappings)):
            if not mappings:
                raise ConfigError(
                    f"linux.{name}Mappings", f"user namespaces enabled, but no {name} mappings found"
                )
            if not any(mapping.container_id == 0 for mapping in mappings):
                why = f"user namespaces enabled, but no mapping found for {name} 0"
                raise ConfigError(f"linux.{name}Mappings", why)
