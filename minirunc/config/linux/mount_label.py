"""linux.mountLabel: the SELinux context of the container's mounts. Not supported yet."""

from minirunc.config import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    if config.linux.mount_label:
        raise unsupported("linux.mountLabel")
