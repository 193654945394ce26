"""process.oomScoreAdj: how soon the kernel kills the process when memory is short (oom_score_adj)."""

from posix import geteuid

from minirunc.base.errors import ConfigError
from minirunc.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    score = process.oom_score_adj
    if score is not None and not -1000 <= score <= 1000:
        raise ConfigError("process.oomScoreAdj", f"expected an integer from -1000 to 1000, got {score}")


def apply(value: int | None, pid: int) -> None:
    """From outside, by our own /proc; an ordinary user may not lower it, which is let pass as runc does (proc(5)).

    Raises ConfigError for root without CAP_SYS_RESOURCE.
    """
    if value is None:
        return
    try:
        procfs.write(f"{pid}/oom_score_adj", str(value))
    except PermissionError:
        if geteuid() == 0:
            why = f"{value} is below the runtime's own, which takes CAP_SYS_RESOURCE"
            raise ConfigError("process.oomScoreAdj", why) from None
