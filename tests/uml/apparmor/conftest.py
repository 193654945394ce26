"""Profiles for the kernel that has AppArmor on."""

import subprocess
from pathlib import Path

import pytest

from tests.ground.runtime import IN_UML

PROFILES = """
profile minirunc-box flags=(attach_disconnected, mediate_deleted) {
    file, capability, network, mount, umount, pivot_root, signal, ptrace, unix, dbus,
    deny /denied rw,
}
profile minirunc-other flags=(attach_disconnected, mediate_deleted) {
    file, capability, network, mount, umount, signal, ptrace, unix, dbus,
}
"""


@pytest.fixture(scope="session", autouse=True)
def _profiles(tmp_path_factory: pytest.TempPathFactory) -> None:
    if IN_UML:
        subprocess.run(["mount", "-t", "securityfs", "securityfs", "/sys/kernel/security"], check=True)
        text = tmp_path_factory.mktemp("apparmor") / "profiles"
        Path(text).write_text(PROFILES)
        subprocess.run(["apparmor_parser", "--replace", "--skip-cache", text], check=True, stderr=subprocess.PIPE)
