"""What tests of systemd need: what it says of a unit, and a user with a service manager of his own."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.ground.rootless import USER


def systemctl(*words: str) -> str:
    """What it prints."""
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=True).stdout.strip()


class UserManager:
    """The `systemd --user` of the ordinary user, and how to run something as he."""

    runtime = f"/run/user/{USER}"
    cgroup = f"/user.slice/user-{USER}.slice/user@{USER}.service"
    # As from his login: his ids, and where his manager is.
    prefix = (
        *("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"),
        *("env", f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus"),
    )

    def run(self, command: Sequence[str]) -> str:
        """What the command prints, as he."""
        return subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def user_manager() -> UserManager:
    """Started when it is first needed; the kernel is switched off with it."""
    # The host's file is below an overlay.
    with Path("/etc/passwd").open("a") as file:
        file.write(f"minirunc-user:x:{USER}:{USER}::/:/bin/sh\n")
    systemctl("start", f"user@{USER}.service")
    return UserManager()
