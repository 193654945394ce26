"""mounts: file systems mounted in order into the new root, before it becomes `/`."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record
from minirunc.config import IDMapping
from minirunc.config.mounts.options import Options, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


_MANY = 1000  # so many that the kernel's limit is worth a look


class Mount(Record):
    destination: str
    type: str = ""  # without meaning for a bind mount
    source: str = ""
    options: list[str] = []  # as words; options.parse_options makes flags of them
    uid_mappings: list[IDMapping] = []
    gid_mappings: list[IDMapping] = []


def check(config: "Config") -> None:
    """What can be known of a mount before there is a root to mount it in."""
    if config.linux.namespace("mount") is None and config.linux.namespace("user"):
        why = "unable to mount in the host's mount namespace from a user namespace: list a mount namespace, too"
        raise ConfigError("mounts", why)
    if len(config.mounts) > _MANY:
        _check_number(len(config.mounts))
    for index, mount in enumerate(config.mounts):
        where = f"mounts[{index}]"
        if not mount.destination:
            raise ConfigError(f"{where}.destination", "must not be empty")
        options = parse_options(mount.options)
        if options.bind and options.data:
            what = ",".join(options.data)
            why = f"bind mounts cannot have any filesystem-specific options applied ({what})"
            raise ConfigError(f"{where}.options", why)
        if options.tmpcopyup and mount.type != "tmpfs":
            raise ConfigError(f"{where}.options", "tmpcopyup is for tmpfs only")
        if options.copy_symlink or options.src_nofollow:
            _check_links(options, f"{where}.options")
        if options.idmap or mount.uid_mappings or mount.gid_mappings:
            from minirunc.config.mounts import idmap

            idmap.check(config, mount, options, where)


def _check_number(count: int) -> None:
    """Before the kernel says so, after as many were made."""
    from minirunc.kernel import procfs

    most = int(procfs.read("sys/fs/mount-max"))
    if count >= most:
        raise ConfigError("mounts", f"has {count} mounts, in a mount namespace may be {most} (sysctl fs.mount-max)")


def _check_links(options: Options, where: str) -> None:
    if not options.bind or options.remount:
        raise ConfigError(where, "copy-symlink and src-nofollow are of a source that is bound: add bind or rbind")
    if options.copy_symlink and (options.src_nofollow or options.dest_nofollow):
        raise ConfigError(where, "copy-symlink is mutually exclusive with src-nofollow and dest-nofollow")


def warnings(config: "Config") -> list[str]:
    return [
        f"mount destination {mount.destination} is not absolute. Support for non-absolute mount destinations"
        " will be removed in a future release."
        for mount in config.mounts
        if not mount.destination.startswith("/")
    ]
