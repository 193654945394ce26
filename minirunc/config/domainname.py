"""domainname: setdomainname(2), inside, in the container's own UTS namespace."""

from minirunc.base.errors import ConfigError
from minirunc.kernel.hand import Batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

_LENGTH = 64  # bytes; the kernel's __NEW_UTS_LEN


def check(config: "Config") -> None:
    """Without a UTS namespace of its own (new or joined) the name would be the host's."""
    if config.linux.namespace("uts") is None:
        raise ConfigError("domainname", "unable to set domainname without a private UTS namespace")
    if len(config.domainname.encode()) > _LENGTH:
        raise ConfigError("domainname", f"is longer than {_LENGTH} bytes")


def apply(domainname: str, do: Batch) -> None:
    """Set it; an empty one leaves what the namespace has."""
    if domainname:
        do.setdomainname(domainname.encode())
