"""linux.timeOffsets: clock offsets of a new time namespace, written from outside before a process enters."""

from posix import strerror

from minirunc.base.errors import ConfigError
from minirunc.base.record import Int64, Record, UInt32
from minirunc.config import need_namespace
from minirunc.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


class TimeOffset(Record):
    secs: Int64 = 0
    nanosecs: UInt32 = 0


def check(config: "Config") -> None:
    """time_namespaces(7)."""
    why = "time namespace offsets specified, but time namespace isn't enabled in the config"
    need_namespace(config, "time", "linux.timeOffsets", why)
    why = "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
    need_namespace(config, "time", "linux.timeOffsets", why, new=True)
    for clock, offset in config.linux.time_offsets.items():
        if clock not in ("boottime", "monotonic"):
            raise ConfigError(f'linux.timeOffsets["{clock}"]', "has no offset: expected boottime or monotonic")
        if offset.nanosecs >= 10**9:
            where = f'linux.timeOffsets["{clock}"].nanosecs'
            raise ConfigError(where, f"must be below 1000000000, got {offset.nanosecs}")


def apply(offsets: dict[str, TimeOffset], pid: int) -> None:
    """For the children of `pid`, which has unshared its time namespace (time_namespaces(7))."""
    if offsets:
        lines = (f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in offsets.items())
        try:
            procfs.write(f"{pid}/timens_offsets", "".join(lines))
        except OSError as error:  # ERANGE: a clock would be negative, or near its end
            raise ConfigError("linux.timeOffsets", strerror(error.errno or 0).lower()) from None
