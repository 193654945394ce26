"""The ground of these tests: systemd as on a server, for root and for an ordinary user."""

import subprocess
from pathlib import Path

from tests.uml.systemd.conftest import UserManager, systemctl

CONTROLLERS = {"cpu", "io", "memory", "pids"}
CGROUP = "cut -d: -f3 /proc/self/cgroup"


def test_systemd_runs() -> None:
    """It is the first process, has booted without a failed unit, and is on the bus."""
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    assert systemctl("is-system-running") == "running"
    call = "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager"
    told = subprocess.run(["busctl", "get-property", *call.split(), "Tainted"], capture_output=True, check=True)
    assert told.stdout.startswith(b"s ")


def test_scope_is_given_all_controllers() -> None:
    """Below /sys/fs/cgroup is cgroup2 alone, and a delegated scope has cpu, io, memory and pids."""
    read = f"cat /sys/fs/cgroup$({CGROUP})/cgroup.controllers"
    scope = ["systemd-run", "--quiet", "--scope", "--property=Delegate=yes", "sh", "-c", read]
    told = subprocess.run(scope, capture_output=True, text=True, check=True)
    assert set(told.stdout.split()) >= CONTROLLERS


def test_ordinary_user_has_a_manager(user_manager: UserManager) -> None:
    """`systemd --user` of his, on a bus of his, to which all controllers are delegated."""
    read = f"{CGROUP}; cat /sys/fs/cgroup$({CGROUP})/cgroup.controllers"
    scope = ["systemd-run", "--user", "--quiet", "--scope", "--unit=own", "--property=Delegate=yes"]
    told = user_manager.run([*scope, "sh", "-c", read])
    cgroup, controllers = told.splitlines()
    assert cgroup == f"{user_manager.cgroup}/app.slice/own.scope"
    assert set(controllers.split()) >= CONTROLLERS
