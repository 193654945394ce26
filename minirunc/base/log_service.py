"""--log journald:IDENTIFIER and syslog:IDENTIFIER (crun's): log lines to a service, a datagram each.

Imported only for those. Sources: systemd's journal native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), syslog(3).
"""

from posix import getpid, strerror

from minirunc.base.errors import Error
from minirunc.base.log import Log, json_line, shown

SOCKETS = {"journald": "/run/systemd/journal/socket", "syslog": "/dev/log"}
_PRIORITIES = {"error": 3, "warning": 4, "debug": 7}
_USER = 1 << 3  # LOG_USER


def open_service(service: str, identifier: str, log_format: str) -> Log:
    """The log there; raises Error where nobody listens."""
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, socket

    connection = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        connection.connect(SOCKETS[service])
    except OSError as problem:
        reason = strerror(problem.errno or 0).lower()
        raise Error(f"open {service}:{identifier}: {SOCKETS[service]}: {reason}") from None
    form = _to_journal if service == "journald" else _to_syslog
    name = shown(identifier or "minirunc")

    def datagram(level: str, message: str, now: float) -> str:
        text = json_line(level, message, now).rstrip("\n") if log_format == "json" else shown(message)
        return form(name, _PRIORITIES[level], text, now)

    log = Log(connection.detach(), log_format)
    log.form = datagram
    return log


def _to_journal(name: str, priority: int, text: str, now: float) -> str:  # noqa: ARG001 - it has its own clock
    return f"PRIORITY={priority}\nSYSLOG_IDENTIFIER={name}\nMESSAGE={text}\n"


def _to_syslog(name: str, priority: int, text: str, now: float) -> str:
    from time import localtime, strftime

    return f"<{_USER | priority}>{strftime('%b %e %H:%M:%S', localtime(now))} {name}[{getpid()}]: {text}"
