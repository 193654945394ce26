"""process.capabilities: five sets, set inside around setuid; absent means all five empty."""

from minirunc.base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

# linux/capability.h; a name's place is its number
NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
    "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip


class Capabilities(Record):
    bounding: list[str] = []
    effective: list[str] = []
    inheritable: list[str] = []
    permitted: list[str] = []
    ambient: list[str] = []


def mask(names: list[str]) -> int:
    """The set as bits, bit N for capability N; unknown names are left out."""
    bits = 0
    for name in names:
        if name in NAMES:
            bits |= 1 << NAMES.index(name)
    return bits


def unknown(capabilities: Capabilities) -> list[str]:
    """The names that are no capability, sorted."""
    every = [name for field in Capabilities.fields for name in getattr(capabilities, field)]
    return sorted({name for name in every if name not in NAMES})


def warnings(process: "Process") -> list[str]:
    names = unknown(process.capabilities) if process.capabilities is not None else []
    return [f"ignoring unknown or unavailable capabilities: [{' '.join(names)}]"] if names else []
