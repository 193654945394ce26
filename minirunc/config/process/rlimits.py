"""process.rlimits: set from outside by prlimit(2): the runtime may raise hard limits."""

from struct import pack

from minirunc.base.errors import ConfigError, SyscallError
from minirunc.base.record import Record, UInt64
from minirunc.config import none_of
from minirunc.kernel.hand import Batch
from minirunc.kernel.syscalls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

# asm-generic/resource.h
NUMBERS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}


class Rlimit(Record):
    type: str
    soft: UInt64
    hard: UInt64


def check(process: "Process") -> None:
    """Spec: a type given twice is an error."""
    seen = set()
    for index, limit in enumerate(process.rlimits):
        where = f"process.rlimits[{index}]"
        if limit.type not in NUMBERS:
            raise none_of(NUMBERS, f"{where}.type", f"wrong rlimit value: {limit.type}")
        if limit.soft > limit.hard:
            raise ConfigError(f"{where}.soft", f"{limit.soft} is above the hard limit {limit.hard}")
        if limit.type in seen:
            raise ConfigError(f"{where}.type", f"{limit.type} is given twice")
        seen.add(limit.type)


EPERM, EINVAL = 1, 22


def apply(rlimits: list[Rlimit], do: Batch) -> list[Fd]:
    """Set them inside, exactly as given; `finish` judges the answers."""
    return [do.tolerate(do.prlimit64(0, NUMBERS[each.type], pack("<2Q", each.soft, each.hard))) for each in rlimits]


def finish(rlimits: list[Rlimit], answers: list[Fd], pid: int) -> None:
    """What the hand was denied, as in a user namespace it is to raise a hard limit, is set from outside."""
    for rlimit, answer in zip(rlimits, answers, strict=True):
        errno = -int(answer)
        if errno == EPERM:
            from resource import prlimit  # a shared library that most need not load

            # rlim_t is unsigned, the module's numbers are signed: RLIM_INFINITY is -1.
            soft, hard = (value - (1 << 64) if value >> 63 else value for value in (rlimit.soft, rlimit.hard))
            try:
                prlimit(pid, NUMBERS[rlimit.type], (soft, hard))
                continue
            except (OSError, ValueError) as error:
                errno = (error.errno if isinstance(error, OSError) else 0) or EINVAL
        if errno:
            raise SyscallError("prlimit64", f"{pid}, {rlimit.type}, {rlimit.soft}, {rlimit.hard}", errno)
