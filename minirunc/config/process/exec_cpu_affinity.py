"""process.execCPUAffinity: the CPUs of an exec'ed process before it enters the cgroup, and after."""

from posix import sched_setaffinity

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

_MOST = 64 * 1024  # runc's bound for a CPU's number


class ExecCPUAffinity(Record):
    initial: str = ""  # a CPU list: "0-3,7"
    final: str = ""


def cpus(text: str) -> list[int]:
    """The CPUs of a list like "0-3,7"; empty for an empty text. Raises ValueError, saying why."""
    found = 0  # a bit each: as quick for ranges that overlap, however many
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first and not dash:
            continue
        for number in (first, last) if dash else (first,):
            if not (number.isascii() and number.isdigit()):
                raise ValueError(f'"{number}" is not a CPU number')
            if len(number) > 9 or int(number) > _MOST:
                raise ValueError(f"values larger than {_MOST} are not supported")
        if dash and int(first) > int(last):
            raise ValueError(f"invalid range: {part.strip()}")
        found |= (1 << int(last or first) + 1) - (1 << int(first))
    if text and not found:
        raise ValueError(f'no members found in set "{text}"')
    return [number for number in range(found.bit_length()) if found >> number & 1]


def check(process: "Process") -> None:
    affinity = process.exec_cpu_affinity
    if affinity is None:
        return
    for name, text in (("initial", affinity.initial), ("final", affinity.final)):
        try:
            cpus(text)
        except ValueError as bad:
            why = f"bad CPUAffinity.{name.capitalize()}: {bad}"
            raise ConfigError(f"process.execCPUAffinity.{name}", why) from None


def apply(text: str, pid: int) -> None:
    """From outside; a list that holds no CPU of this host is the kernel's EINVAL (sched_setaffinity(2))."""
    if text:
        sched_setaffinity(pid, cpus(text))
