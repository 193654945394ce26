"""linux.namespaces: what the container gets anew or joins by path; what is not listed is the host's."""

from posix import geteuid, strerror
from struct import pack

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record
from minirunc.config import none_of
from minirunc.kernel.constants import (
    AT_FDCWD,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    O_CLOEXEC,
    O_RDONLY,
    SIOCSIFFLAGS,
)
from minirunc.kernel.hand import Batch, Hand

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


EINVAL = 22


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
            raise none_of(FLAGS, f"{where}.type", f'namespace "{namespace.type}" does not exist')
        if namespace.type in seen:
            raise ConfigError(where, f'malformed spec file: duplicated ns "{namespace.type}"')
        if namespace.path and not namespace.path.startswith("/"):
            raise ConfigError(f"{where}.path", f'must be an absolute path, got "{namespace.path}"')
        seen.add(namespace.type)
    user = linux.namespace("user")
    if user is None and geteuid() != 0:
        why = "rootless container requires user namespaces"
        raise ConfigError("linux.namespaces", f'{why}: linux.namespaces has no "user"')
    if user is not None and not user.path:
        if not linux.uid_mappings and not linux.gid_mappings:
            why = "user namespaces enabled, but no namespace path to join nor mappings to apply specified"
            why += ": linux.uidMappings and linux.gidMappings are missing"
            raise ConfigError("linux.namespaces", why)
        for name, mappings in (("uid", linux.uid_mappings), ("gid", linux.gid_mappings)):
            if not mappings:
                why = f"user namespaces enabled, but no {name} mappings found: linux.namespaces has a new one"
                raise ConfigError(f"linux.{name}Mappings", why)
            if not any(mapping.container_id == 0 for mapping in mappings):
                why = f"user namespaces enabled, but no mapping found for {name} 0"
                raise ConfigError(f"linux.{name}Mappings", why)


def is_new(namespaces: list[Namespace], kind: str) -> bool:
    """Whether the container gets a namespace of this kind of its own."""
    return any(namespace.type == kind and not namespace.path for namespace in namespaces)


def flags(namespaces: list[Namespace], *, new: bool = False) -> int:
    """CLONE_NEW* of all, or of those without a path."""
    bits = 0
    for namespace in namespaces:
        if not (new and namespace.path):
            bits |= FLAGS[namespace.type]
    return bits


def hold(namespaces: list[Namespace], hand: Hand) -> dict[str, int]:
    """Those that the hand is in, an fd of ours for each kind; from the host's root.

    It opens them itself: as it is not dumpable, an ordinary user may neither look at them by its pid nor join them by a
    pidfd (PTRACE_MODE_READ in ptrace(2)). For him alone: only a pidfd joins a new user namespace and the network of
    others at once.
    """
    names = {"mount": "mnt", "network": "net"}
    kinds = [namespace.type for namespace in namespaces]
    with hand.batch() as do:
        fds = [do.openat(AT_FDCWD, f"/proc/self/ns/{names.get(kind, kind)}", O_RDONLY | O_CLOEXEC) for kind in kinds]
    held = {kind: hand.receive_fd(fd) for kind, fd in zip(kinds, fds, strict=True)}
    with hand.batch() as do:
        for fd in fds:
            do.close(fd)
    return held


def join(namespaces: list[Namespace], hand: Hand) -> None:
    """Enter those given by path, from outside.

    The user namespace goes between: what our own rights open is joined before, what only its owner's rights open,
    after. The pid namespace takes effect for the next child.
    """
    paths = [namespace for namespace in namespaces if namespace.path]
    if not paths:
        return
    with hand.batch() as do:
        fds = [do.tolerate(do.openat(AT_FDCWD, namespace.path, O_RDONLY | O_CLOEXEC)) for namespace in paths]
    for fd, namespace in zip(fds, paths, strict=True):
        if int(fd) < 0:
            raise _refusal(namespaces, namespace, -int(fd))
    opened = [(int(fd), namespace) for fd, namespace in zip(fds, paths, strict=True)]
    failed = _setns([pair for pair in opened if pair[1].type != "user"], hand)
    user = [pair for pair in opened if pair[1].type == "user"]
    if user:
        failed = _setns(user, hand) or _setns([(fd, namespace) for fd, namespace, _ in failed], hand)
    for _, namespace, errno in failed:
        raise _refusal(namespaces, namespace, errno)
    with hand.batch() as do:
        for fd in fds:
            do.close(fd)


def _setns(opened: "list[tuple[int, Namespace]]", hand: Hand) -> "list[tuple[int, Namespace, int]]":
    """Enter each; the answer is what could not be entered, with its errno."""
    with hand.batch() as do:
        tried = [do.tolerate(do.setns(fd, FLAGS[namespace.type])) for fd, namespace in opened]
    return [(*pair, -int(result)) for pair, result in zip(opened, tried, strict=True) if int(result) < 0]


def _refusal(namespaces: list[Namespace], namespace: Namespace, errno: int) -> ConfigError:
    why = f"{namespace.path} is not a {namespace.type} namespace"
    if errno != EINVAL:
        why = f"{namespace.path}: {strerror(errno).lower()}"
    return ConfigError(f"linux.namespaces[{namespaces.index(namespace)}].path", why)


def loopback_up(do: Batch) -> None:
    """In a new network namespace `lo` is down: IFF_UP by SIOCSIFFLAGS (netdevice(7))."""
    socket = do.socket(2, 2, 0)  # AF_INET, SOCK_DGRAM
    do.ioctl(socket, SIOCSIFFLAGS, pack("<16sh22x", b"lo", 1))
    do.close(socket)
