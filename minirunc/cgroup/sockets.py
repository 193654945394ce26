"""Where systemd listens: on the bus of the system or of a user, else at a socket of its own.

Source: systemctl(1), and dbus-daemon(1) on the variables of the environment.
"""

import posix

from minirunc.base.errors import Error
from minirunc.cgroup.dbus import Connection, socket_addresses


def connect(user: bool, end: float) -> Connection:
    """By the bus, else by systemd's private socket, as systemctl(1) does."""
    tried = []
    for address, is_bus in _addresses(user):
        try:
            return Connection(address, is_bus=is_bus, end=end)
        except OSError as error:
            tried.append(f"{address}: {posix.strerror(error.errno or 0).lower()}")
    if user and not tried:
        tried = ["neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR names a socket"]
    advice = "log in by a session of this user (machinectl shell USER@), or" if user else "start dbus, or"
    raise Error(f"systemd cannot be reached: {'; '.join(tried)}; {advice} use --cgroup-manager cgroupfs")


def _addresses(user: bool) -> list[tuple[str, bool]]:
    """The sockets to try, and whether a bus is behind."""
    if not user:
        named = socket_addresses(_variable(b"DBUS_SYSTEM_BUS_ADDRESS")) or ["/run/dbus/system_bus_socket"]
        return [*((address, True) for address in named), ("/run/systemd/private", False)]
    directory = _variable(b"XDG_RUNTIME_DIR")
    named = socket_addresses(_variable(b"DBUS_SESSION_BUS_ADDRESS")) or [f"{directory}/bus"][: bool(directory)]
    private = [(f"{directory}/systemd/private", False)] if directory else []
    return [*((address, True) for address in named), *private]


def _variable(name: bytes) -> str:
    return posix.environ.get(name, b"").decode("utf-8", "surrogateescape")
