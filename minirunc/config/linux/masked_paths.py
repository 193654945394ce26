"""linux.maskedPaths: paths hidden, files under /dev/null, directories under an empty tmpfs; last of all."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    """Without a mount namespace of its own the container would change the host's mounts."""
    if config.linux.namespace("mount") is None:
        why = "unable to restrict sys entries without a private MNT namespace"
        raise ConfigError("linux.maskedPaths", why)
