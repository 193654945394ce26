"""linux.sysctl: written below a /proc/sys of the runtime's own, in the container's namespaces."""

import posix

from minirunc.base.errors import ConfigError, SyscallError
from minirunc.kernel import procfs
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

# Only what belongs to a namespace can be set, all else is the host's; these are of the IPC namespace.
_IPC = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
)  # fmt: skip


def dotted(name: str) -> str:
    """The name with dots between its parts: `net/ipv4/conf/eth0.100/mtu` is `net.ipv4.conf.eth0/100.mtu`."""
    slash, dot = name.find("/"), name.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name.translate({46: "/", 47: "."})
    return name


def below_proc_sys(name: str) -> str:
    """The file of a name, relative to /proc/sys."""
    return dotted(name).translate({46: "/", 47: "."})


def check(config: "Config") -> None:
    for key in config.linux.sysctl:
        where = f'linux.sysctl["{key}"]'
        name = dotted(key)
        why = _why_not(config, name)
        if why:
            raise ConfigError(where, why)
        if {"", ".", ".."} & set(below_proc_sys(name).split("/")):
            raise ConfigError(where, "is not the name of a sysctl")


def _why_not(config: "Config", name: str) -> str:
    linux = config.linux
    if name in _IPC or name.startswith("fs.mqueue."):
        own = linux.namespace("ipc") is not None
        return "" if own else f'sysctl "{name}" is not allowed in the hosts ipc namespace'
    if name.startswith("net."):
        return f'sysctl "{name}" not allowed in host network namespace' if _host_network(config) else ""
    if linux.namespace("uts") is not None:
        if name == "kernel.domainname":
            return ""
        if name == "kernel.hostname":
            return f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field'
    if name.startswith("user."):
        own = linux.namespace("user") is not None
        return "" if own else f"setting ucounts without a user namespace not allowed: {name}"
    return f'sysctl "{name}" is not in a separate kernel namespace'


def _host_network(config: "Config") -> bool:
    """Whether the network namespace is the runtime's: shared, or joined by a path that leads there."""
    network = config.linux.namespace("network")
    if network is None or not network.path:
        return network is None
    try:
        theirs = posix.stat(network.path)
    except OSError as error:
        why = f"invalid netns path: stat {network.path}: {posix.strerror(error.errno or 0).lower()}"
        raise ConfigError("linux.namespaces", why) from None
    ours = posix.stat("/proc/self/ns/net")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def apply(sysctl: dict[str, str], root: int, hand: Hand) -> None:
    """Write them through a procfs of our own that nobody can cover or redirect (CVE-2025-52881)."""
    if not sysctl:
        return
    proc = procfs.private(hand, root)
    for name, value in sysctl.items():
        try:
            with hand.batch() as do:
                file = procfs.below(do, proc, "sys/" + below_proc_sys(name), posix.O_WRONLY)
                do.write(file, value.encode())
                do.close(file)
        except SyscallError as error:
            error.add_note(f'config.json: linux.sysctl["{name}"]')
            raise
    with hand.batch() as do:
        do.close(proc)
