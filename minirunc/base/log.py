"""Log lines as runc writes them; `debug` and `warning` for the core, heard only where a face listens."""

from posix import O_APPEND, O_CLOEXEC, O_CREAT, O_WRONLY, strerror, write
from posix import open as open_fd

from minirunc.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")
_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_SHORT |= {'"': '\\"', "\\": "\\\\"}

_debug: "Callable[[str], None] | None" = None
_warning: "Callable[[str], None] | None" = None


class Log:
    """Where log lines go: an fd open for appending, and the form they have there."""

    __slots__ = ("fd", "form")

    def __init__(self, fd: int = 2, log_format: str = "text") -> None:
        self.fd = fd
        self.form = json_line if log_format == "json" else text_line

    def line(self, level: str, message: str) -> None:
        """One line by one write(2): several processes append to the same file. Raises OSError."""
        from time import time  # most commands have nothing to say

        write(self.fd, self.form(level, message, time()).encode("utf-8", "backslashreplace"))

    def debug(self, message: str) -> None:
        """A line for who wants to see every step."""
        self._aside("debug", message)

    def warning(self, message: str) -> None:
        """A line for what went another way than asked, and still went."""
        self._aside("warning", message)

    def _aside(self, level: str, message: str) -> None:
        """A line that is not worth failing for."""
        try:
            self.line(level, message)
        except OSError:
            pass  # a full disk below the log must not undo a container


def open_file(path: str, log_format: str) -> Log:
    """The log of --log, made where it is missing; its directory must exist. crun's file:PATH and services, too."""
    kind, colon, rest = path.partition(":")
    if colon and kind in ("journald", "syslog"):
        from minirunc.base.log_service import open_service

        return open_service(kind, rest, log_format)
    if colon and kind == "file":
        path = rest
    try:
        return Log(open_fd(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644), log_format)
    except OSError as problem:
        raise Error(f"open {path}: {strerror(problem.errno or 0).lower()}") from None


def listen(debug: "Callable[[str], None] | None", warning: "Callable[[str], None] | None") -> None:
    """Take the core's lines from now on; None for those nobody wants."""
    global _debug, _warning
    _debug = debug
    _warning = warning


def debugging() -> bool:
    """Whether anyone reads debug lines: ask before building a costly one."""
    return _debug is not None


def debug(message: str) -> None:
    """Say what is being done."""
    if _debug is not None:
        _debug(message)


def warning(message: str) -> None:
    """Say what could not be had where going on is right; rare, as callers take any line for an error."""
    if _warning is not None:
        _warning(message)


def text_line(level: str, message: str, now: float) -> str:
    """logrus' text form; now in seconds since the epoch."""
    return f'time="{_rfc3339(now)}" level={level} msg={quoted(message)}\n'


def json_line(level: str, message: str, now: float) -> str:
    """logrus' JSON form, keys sorted."""
    from _json import encode_basestring_ascii  # a shared library: 0.2 ms that most commands need not spend

    return f'{{"level":"{level}","msg":{encode_basestring_ascii(message)},"time":"{_rfc3339(now)}"}}\n'


def quoted(text: str) -> str:
    """The text as it is where it is one plain word, else in double quotes, escaped as Go's %q does."""
    if _PLAIN.issuperset(text):
        return text
    return '"' + "".join([_SHORT.get(char) or _printable(char) for char in text]) + '"'


def shown(text: str) -> str:
    """The text with an escape for what a terminal would obey or a log take for a line's end."""
    return text if text.isprintable() else "".join([_printable(char) for char in text])


def _printable(char: str) -> str:
    """A character, or its escape where it would not be seen."""
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python keeps it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _rfc3339(now: float) -> str:
    """Seconds since the epoch as date and time in UTC."""
    from time import gmtime

    at = gmtime(now)
    return f"{at[0]:04}-{at[1]:02}-{at[2]:02}T{at[3]:02}:{at[4]:02}:{at[5]:02}Z"
