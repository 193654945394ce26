"""process.cwd: where the process starts, a path in the container; made if missing."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    if not process.cwd:
        raise ConfigError("process.cwd", "Cwd property must not be empty")
    if not process.cwd.startswith("/"):
        raise ConfigError("process.cwd", "Cwd must be an absolute path")
