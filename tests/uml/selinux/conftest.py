"""A policy for the kernel that has SELinux on, enforced."""

import subprocess
from pathlib import Path

import pytest

from tests.ground.runtime import IN_UML

POLICY = Path(__file__).with_name("policy.conf")
SELINUXFS = Path("/sys/fs/selinux")


@pytest.fixture(scope="session", autouse=True)
def _policy(tmp_path_factory: pytest.TempPathFactory) -> None:
    if IN_UML:
        subprocess.run(["mount", "-t", "selinuxfs", "selinuxfs", SELINUXFS], check=True)
        compiled = tmp_path_factory.mktemp("selinux") / "policy"
        command = ["checkpolicy", "-U", "allow", "-c", "33", "-o", compiled, POLICY]
        subprocess.run(command, check=True, capture_output=True)
        (SELINUXFS / "load").write_bytes(compiled.read_bytes())
        (SELINUXFS / "enforce").write_text("1")
