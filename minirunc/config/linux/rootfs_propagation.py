"""linux.rootfsPropagation: the propagation of the container's `/`; without it, rslave before pivot_root."""

from minirunc.base.errors import ConfigError
from minirunc.config import need_namespace, none_of
from minirunc.kernel.constants import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE
from minirunc.kernel.hand import Batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

FLAGS = {
    "": MS_SLAVE | MS_REC,
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}


def check(config: "Config") -> None:
    wanted = config.linux.rootfs_propagation
    if wanted not in FLAGS:
        words = [word for word in FLAGS if word]
        raise none_of(words, "linux.rootfsPropagation", f"rootfsPropagation={wanted} is not supported")
    why = "unable to set the propagation of the root without a private MNT namespace"
    need_namespace(config, "mount", "linux.rootfsPropagation", why, new=True)


def check_no_pivot(wanted: str) -> None:
    """Without pivot_root(2) the host's mounts stay below the root, and private ones would never be let go of."""
    if wanted in ("private", "rprivate"):
        why = f"rootfsPropagation of {wanted} is not safe without pivot_root: not with --no-pivot"
        raise ConfigError("linux.rootfsPropagation", why)


def apply(wanted: str, do: Batch) -> None:
    """After pivot_root, which would refuse a shared root: what was asked for is said of the new `/`."""
    flags = FLAGS[wanted]
    if wanted and flags & (MS_SHARED | MS_UNBINDABLE):
        do.mount(None, "/", None, flags)
