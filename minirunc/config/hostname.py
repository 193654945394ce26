"""hostname: sethostname(2), inside, in the container's own UTS namespace."""

from minirunc.base.errors import ConfigError
from minirunc.config import need_namespace
from minirunc.kernel.hand import Batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

_LENGTH = 64  # bytes; the kernel's __NEW_UTS_LEN


def check(config: "Config") -> None:
    """Without a UTS namespace of its own (new or joined) the name would be the host's."""
    need_namespace(config, "uts", "hostname", "unable to set hostname without a private UTS namespace")
    length = len(config.hostname.encode())
    if length > _LENGTH:
        raise ConfigError("hostname", f"has {length} bytes, the kernel takes {_LENGTH}")


def apply(hostname: str, do: Batch) -> None:
    """Set it; an empty one leaves what the namespace has."""
    if hostname:
        do.sethostname(hostname.encode())
