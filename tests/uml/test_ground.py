"""User-Mode Linux is the ground that the tests of this directory need."""

import os
from pathlib import Path

import pytest


def test_all_controllers_are_delegated() -> None:
    """The root cgroup gives cpu, io, memory and pids to those below it."""
    given = Path("/sys/fs/cgroup/cgroup.subtree_control").read_text().split()
    assert {"cpu", "io", "memory", "pids"} <= set(given)


def test_cgroup2_is_the_only_hierarchy() -> None:
    """A process is in one hierarchy, the unified one."""
    assert Path("/proc/self/cgroup").read_text() == "0::/\n"


def test_root_of_the_initial_user_namespace() -> None:
    """Tests are root, and their uid is not a mapped one."""
    assert os.geteuid() == 0
    assert Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


@pytest.mark.parametrize("file_system", ["overlay", "tmpfs", "cgroup2", "mqueue"])
def test_file_system_is_there(file_system: str) -> None:
    """The kernel knows the file systems that bundles use."""
    assert f"\t{file_system}\n" in Path("/proc/filesystems").read_text()
