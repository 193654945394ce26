"""process.execCPUAffinity: the CPUs of an exec'ed process before it enters the cgroup, and after."""

from posix import sched_getaffinity, sched_setaffinity

from minirunc.base import log
from minirunc.base.errors import ConfigError
from minirunc.base.ranges import numbers
from minirunc.base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

_MOST = 64 * 1024  # runc's bound for a CPU's number


class ExecCPUAffinity(Record):
    initial: str = ""  # a CPU list: "0-3,7"
    final: str = ""


def check(process: "Process") -> None:
    affinity = process.exec_cpu_affinity
    if affinity is None:
        return
    for name, text in (("initial", affinity.initial), ("final", affinity.final)):
        try:
            numbers(text, _MOST)
        except ValueError as bad:
            why = f"bad CPUAffinity.{name.capitalize()}: {bad}"
            raise ConfigError(f"process.execCPUAffinity.{name}", why) from None


def begin(affinity: ExecCPUAffinity, pid: int) -> None:
    """Before the process enters the cgroup; a debug line in runc's words tells what it has, as nobody sees it later."""
    apply(affinity.initial, pid)
    if log.debugging():
        log.debug(f"nsexec[{pid}]: affinity: {sum(1 << cpu for cpu in sched_getaffinity(pid)):#x}")


def apply(text: str, pid: int) -> None:
    """From outside; a list that holds no CPU of this host is the kernel's EINVAL (sched_setaffinity(2))."""
    if text:
        sched_setaffinity(pid, numbers(text, _MOST))
