"""process.oomScoreAdj: how soon the kernel kills the process when memory is short (oom_score_adj)."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    score = process.oom_score_adj
    if score is not None and not -1000 <= score <= 1000:
        raise ConfigError("process.oomScoreAdj", f"expected an integer from -1000 to 1000, got {score}")
