"""What tests of systemd need: what it says of a unit, and a user with a service manager of his own."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.ground.rootless import USER, ordinary_user
from tests.ground.runtime import Runtime

CGROUP2 = Path("/sys/fs/cgroup")
BY_SYSTEMD = ["--systemd-cgroup"]  # minirunc.run(bundle, before=BY_SYSTEMD)


def systemctl(*words: str) -> str:
    """What it prints."""
    return subprocess.run(["systemctl", *words], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def scope(id: str) -> str:
    """The unit of a container that has no cgroupsPath."""
    return f"minirunc-{id}.scope"


def show(unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit, all if none is named; of a list each entry is a line."""
    told: dict[str, str] = {}
    for line in systemctl("show", *(f"--property={name}" for name in names), unit).splitlines():
        name, _, value = line.partition("=")
        told[name] = f"{told[name]}\n{value}" if name in told else value
    return told


def listed(pattern: str) -> list[str]:
    """The units of this name that systemd knows at all, failed and inactive ones too."""
    lines = systemctl("list-units", "--all", "--plain", "--no-legend", pattern).splitlines()
    return [line.split()[0] for line in lines]


class UserManager:
    """The `systemd --user` of the ordinary user, and how to run something as he."""

    runtime = f"/run/user/{USER}"
    cgroup = f"/user.slice/user-{USER}.slice/user@{USER}.service"
    where = ("env", f"XDG_RUNTIME_DIR={runtime}")  # as his login tells his programs
    prefix = ("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", *where)

    @classmethod
    def started(cls) -> Self:
        """To be called once; it is switched off with the kernel."""
        # The host's file is below an overlay.
        with Path("/etc/passwd").open("a") as file:
            file.write(f"minirunc-user:x:{USER}:{USER}::/:/bin/sh\n")
        systemctl("start", f"user@{USER}.service")
        return cls()

    def run(self, command: Sequence[str]) -> str:
        """What the command prints, as he."""
        return subprocess.run([*self.prefix, *command], stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="session")
def user_manager() -> UserManager:
    """Started when it is first needed."""
    return UserManager.started()


@pytest.fixture
def home(minirunc: Runtime, user_manager: UserManager) -> Iterator[Path]:
    """The ordinary user's directory; `minirunc` is run by him from now on, outside his manager's cgroup."""
    with ordinary_user(minirunc, delegated=False) as directory:
        minirunc.prefix += user_manager.where
        yield directory


@pytest.fixture(autouse=True)
def _own_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("DBUS_", "XDG_"))]:
        monkeypatch.delenv(name)
