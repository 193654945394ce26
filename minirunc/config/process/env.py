"""process.env: the environment, `NAME=value` each; given to execve."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    for index, entry in enumerate(process.env):
        if entry.find("=") <= 0:
            why = "name cannot be empty" if entry.startswith("=") else "missing '='"
            raise ConfigError(f"process.env[{index}]", f"invalid environment variable: {why}")
