"""process.capabilities: five sets, set inside around setuid; absent means all five empty."""

from struct import pack, unpack_from

from minirunc.base.errors import ConfigError, Error
from minirunc.base.record import Record
from minirunc.kernel.constants import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

EINVAL = 22

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


def check(process: "Process") -> None:
    """What capset(2) would refuse by a bare EPERM when nobody listens any more."""
    sets = process.capabilities
    if sets is None:
        return
    for name, within in (("effective", "permitted"), ("inheritable", "bounding")):
        beyond = mask(getattr(sets, name)) & ~mask(getattr(sets, within))
        if beyond:
            why = f"{_lowest(beyond)} is not in the {within} set"
            raise ConfigError(f"process.capabilities.{name}", why)


def _lowest(bits: int) -> str:
    return NAMES[(bits & -bits).bit_length() - 1]


def warnings(capabilities: Capabilities | None, available: int) -> list[str]:
    """What is left out, in runc's words: names that are none, what the runtime lacks, what cannot be raised."""
    if capabilities is None:
        return []
    every = {name for field in Capabilities.fields for name in getattr(capabilities, field)}
    names = sorted(name for name in every if not mask([name]) & available)
    lines = [f"ignoring unknown or unavailable capabilities: [{' '.join(names)}]"] if names else []
    lost = [name for name in capabilities.ambient if mask([name]) & available & ~_raisable(capabilities)]
    return lines + [f"can't raise ambient capability {name}: operation not permitted" for name in lost]


def _raisable(capabilities: Capabilities) -> int:
    """What PR_CAP_AMBIENT_RAISE takes."""
    return mask(capabilities.permitted) & mask(capabilities.inheritable)


_HEADER = pack("<II", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process


def effective(capabilities: Capabilities | None) -> int:
    """The effective set as a mask."""
    return mask(capabilities.effective) if capabilities else 0


def held(do: Batch, room: Out) -> None:
    """Ask what the hand is permitted: no process it becomes can have more."""
    do.capget(_HEADER, room)


def held_mask(room: Out) -> int:
    """The answer to `held`."""
    low, high = unpack_from("<I", room.data, 4)[0], unpack_from("<I", room.data, 16)[0]
    return int(low | high << 32)


def set_effective(do: Batch, effective: int, permitted: int) -> None:
    """Effective on top of what is permitted; inheritable stays empty."""
    do.capset(_HEADER, _data(effective, permitted, 0))


def drop_bounding(do: Batch, capabilities: Capabilities | None) -> dict[int, Fd]:
    """Take from the bounding set what is not listed, while CAP_SETPCAP is still there; for `check_bounding`.

    What is permitted stays until the end.
    """
    keep = mask(capabilities.bounding) if capabilities else 0
    numbers = [number for number in range(64) if not keep >> number & 1]
    return {number: do.tolerate(do.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)) for number in numbers}


def check_bounding(dropped: dict[int, Fd], hand: Hand) -> None:
    """Raise Error for what is still there; EINVAL is what the kernel says beyond its last one."""
    denied = [number for number, result in dropped.items() if int(result) not in (0, -EINVAL)]
    if denied:
        with hand.batch() as do:
            there = [do.tolerate(do.prctl(PR_CAPBSET_READ, number, 0, 0, 0)) for number in denied]
        kept = [number for number, result in zip(denied, there, strict=True) if int(result) > 0]
        if kept:
            name = NAMES[kept[0]] if kept[0] < len(NAMES) else f"capability {kept[0]}"
            raise Error(f"{name} cannot be taken from the bounding set: the runtime itself lacks CAP_SETPCAP")


def apply(capabilities: Capabilities | None, do: Batch, available: int, for_now: int = 0) -> None:
    """Set the process's sets after its ids (which PR_SET_KEEPCAPS survived), as far as they are available.

    `for_now` stays permitted and in effect until execve, beside them.
    """
    if capabilities is None:
        do.capset(_HEADER, _data(for_now, for_now, 0))
        do.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        return
    permitted = mask(capabilities.permitted) & available
    inheritable = mask(capabilities.inheritable) & available
    effective = mask(capabilities.effective) & permitted
    do.capset(_HEADER, _data(effective | for_now, permitted | for_now, inheritable))
    do.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    ambient = mask(capabilities.ambient) & _raisable(capabilities) & available
    for number in range(64):
        if ambient >> number & 1:
            do.tolerate(do.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0))  # securebits may forbid it


def _data(effective: int, permitted: int, inheritable: int) -> bytes:
    low, high = 0xFFFFFFFF, 32
    return pack(
        "<6I",
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
