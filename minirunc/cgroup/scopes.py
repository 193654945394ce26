"""What is asked of systemd's scopes by few containers.

Source: org.freedesktop.systemd1(5).
"""

from minirunc.cgroup.dbus import Refused
from minirunc.cgroup.systemd import ROOT, TIMEOUT_S, Systemd, in_time


def attach(systemd: Systemd, unit: str, below: str, pid: int, timeout_s: float = TIMEOUT_S) -> None:
    """Have systemd put a process into the unit's cgroup, or into one `below` it."""
    body = (unit, below or "/", [pid])
    what = f"put process {pid} into unit {unit}"
    in_time(systemd, what, timeout_s, lambda end: systemd.call("AttachProcessesToUnit", "ssau", *body, end=end))


def have(systemd: Systemd, name: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether scopes have this property: asked of one that is always there, as distributions port back."""

    def work(end: float) -> bool:
        try:
            systemd.get(f"{ROOT}/unit/init_2escope", "Scope", name, end)
        except Refused:
            return False
        return True

    return bool(in_time(systemd, f"tell whether scopes have {name}", timeout_s, work))
