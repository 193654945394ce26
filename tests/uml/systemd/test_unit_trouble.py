"""--systemd-cgroup where systemd cannot be reached, or does not answer: an error in time, and nothing left."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.bus import SYSTEM_BUS, SilentBus
from tests.ground.runtime import Runtime, wait_until
from tests.uml.systemd.conftest import BY_SYSTEMD, CGROUP2, listed, scope, show

TIMEOUT_S = 30  # of the driver's
PRIVATE = "/run/systemd/private"


def without(*sockets: str) -> list[str]:
    """What to start minirunc with where nobody listens at these."""
    script = " && ".join(f"mount --bind /dev/null {socket}" for socket in sockets)
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", f'{script} && exec "$@"', "sh"]


def test_no_socket_of_systemd(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Neither bus nor systemd's own socket: one line, at once, that names both and the other driver."""
    minirunc.prefix = without(SYSTEM_BUS, PRIVATE)
    began = time.monotonic()
    result = minirunc.run(limited("true"), before=BY_SYSTEMD)
    assert time.monotonic() - began < 10
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert "systemd cannot be reached" in result.err
    for word in (SYSTEM_BUS, PRIVATE, "connection refused", "--cgroup-manager cgroupfs"):
        assert word in result.err


def test_without_a_bus_systemd_itself_is_asked(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """root needs no D-Bus daemon, as for systemctl."""
    minirunc.prefix = without(SYSTEM_BUS)
    id = minirunc.start(limited("sleep 1000", pids={"limit": 9}), before=BY_SYSTEMD)
    assert show(scope(id), "ActiveState", "TasksMax") == {"ActiveState": "active", "TasksMax": "9"}
    minirunc.ok("update", "--pids-limit", "11", id)
    minirunc.ok("delete", "--force", id)
    assert listed(f"*{id}*") == []


def test_wrong_address_of_the_bus(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """DBUS_SYSTEM_BUS_ADDRESS is what it is everywhere; where nobody listens, the error names it."""
    nowhere = minirunc.root.parent / "nowhere"
    minirunc.prefix = [*without(PRIVATE), "env", f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={nowhere}"]
    result = minirunc.run(limited("true"), before=BY_SYSTEMD)
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert str(nowhere) in result.err
    assert "no such file or directory" in result.err


# At which word the bus falls silent, whether systemd hears it yet, and what the error says was waited for.
BIRTHS = [
    (b"", False, "no authentication"),
    (b"StartTransientUnit", False, "no answer to StartTransientUnit"),
    (b"StartTransientUnit", True, "no answer to StartTransientUnit"),
]


def test_silent_bus_at_a_birth(minirunc: Runtime, limited: Callable[..., Bundle], tmp_path: Path) -> None:
    """A bus that takes what it is told and never answers: the deadline ends it, the error says what was waited for, and
    no process, cgroup or unit is left, had systemd even begun."""
    bundle = limited("sleep 1000")
    bundle.write()
    with ExitStack() as stack:
        began = time.monotonic()
        births = []
        for word, passed_on, phase in BIRTHS:
            bus = stack.enter_context(SilentBus(tmp_path / f"bus{len(births)}", word, passed_on=passed_on))
            minirunc.prefix = ["env", f"DBUS_SYSTEM_BUS_ADDRESS={bus.address}"]
            id = minirunc.id()
            births.append((minirunc.popen("run", "--bundle", bundle.path, id, before=BY_SYSTEMD), id, bus, phase))
        for process, id, bus, phase in births:
            out, err = process.communicate(timeout=4 * TIMEOUT_S)
            assert time.monotonic() - began > TIMEOUT_S - 1
            assert (process.returncode, out, err.count("\n")) == (1, "", 1)
            assert bus.heard.is_set()
            assert phase in err
            assert f"within {TIMEOUT_S} seconds" in err
            wait_until(lambda id=id: not listed(f"*{id}*"), "systemd has forgotten the unit", timeout_s=5)
            assert not (CGROUP2 / "system.slice" / scope(id)).exists()


def test_silent_bus_at_a_delete(minirunc: Runtime, limited: Callable[..., Bundle], tmp_path: Path) -> None:
    """`delete --force` ends the processes whether systemd answers or not; without its answer it only warns, and
    systemd, which may have heard nothing, sees an empty cgroup."""
    id = minirunc.start(limited("sleep 1000"), before=BY_SYSTEMD)
    cgroup, pid = minirunc.cgroup(id), minirunc.pid(id)
    with SilentBus(tmp_path / "bus", b"") as bus:
        minirunc.prefix = ["env", f"DBUS_SYSTEM_BUS_ADDRESS={bus.address}"]
        result = minirunc("delete", "--force", id, timeout_s=4 * TIMEOUT_S)
        assert bus.heard.is_set()
    assert (result.status, result.out) == (0, "")
    assert scope(id) in result.err
    minirunc.prefix = []
    assert pid not in leftovers.alive(set())
    wait_until(lambda: not listed(f"*{id}*") and not cgroup.exists(), "systemd has forgotten the unit", timeout_s=5)
