"""process.consoleSize: the terminal's size in characters, set before the process starts."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record, UInt64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

_MOST = 2**16 - 1  # struct winsize of ioctl_tty(2)


class ConsoleSize(Record):
    height: UInt64 | None
    width: UInt64 | None


def check(process: "Process") -> None:
    """Spec: it MUST be ignored where there is no terminal."""
    size = process.console_size
    if size is None or not process.terminal:
        return
    for name, number in (("height", size.height), ("width", size.width)):
        where = f"process.consoleSize.{name}"
        if number is None:
            raise ConfigError(where, "missing")
        if number > _MOST:
            raise ConfigError(where, f"expected an integer from 0 to {_MOST}, got {number}")
