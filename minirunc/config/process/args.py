"""process.args: the program and its arguments; the program is looked up in the container before start."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    if not process.args:
        raise ConfigError("process.args", "args must not be empty")
