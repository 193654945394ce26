"""linux.mountLabel: the SELinux context of what is mounted new; config.mounts and linux.maskedPaths apply it."""

from minirunc.base.errors import ConfigError
from minirunc.kernel import lsm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:  # noqa: ARG001 - every field's check gets it
    """runc leaves the refusal to the first mount."""
    if not lsm.selinux():
        why = "selinux label is specified in config, but selinux is disabled or not supported"
        raise ConfigError("linux.mountLabel", why)
