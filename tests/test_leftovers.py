"""tests/ground/leftovers.py: the watch over what a test leaves does see it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime


def test_orphan_is_found_and_ended(tmp_path: Path) -> None:
    """A process whose parent is gone comes to us, is told and killed."""
    leftovers.become_subreaper()
    runtime = Runtime(tmp_path)
    subprocess.run(["sh", "-c", "sleep 1000 &"], check=True)
    (line,) = runtime.close()
    assert line.endswith(": sleep 1000")
    assert runtime.close() == []


def test_cgroup_is_found_and_removed(tmp_path: Path) -> None:
    """A cgroup named after the test's token is told and removed, with those below it."""
    runtime = Runtime(tmp_path)
    cgroup = leftovers.cgroup2_mounts()[0] / runtime.id()
    (cgroup / "below").mkdir(parents=True)
    assert runtime.close() == [f"cgroup {cgroup}/below", f"cgroup {cgroup}"]
    assert not cgroup.exists()


def test_state_directory_is_found(tmp_path: Path) -> None:
    """A state directory of a container that no command has given is told."""
    runtime = Runtime(tmp_path)
    (runtime.root / "stranger").mkdir(parents=True)
    assert f"state directory {runtime.root}/stranger" in runtime.close()


def test_mount_is_found(tmp_path: Path) -> None:
    """A mount below the test's directory is told."""
    target = tmp_path / "mounted"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", target], check=True)
    try:
        (line,) = leftovers.mounts(tmp_path)
    finally:
        subprocess.run(["umount", target], check=True)
    assert str(target) in line
    assert leftovers.mounts(tmp_path) == []


def test_container_that_was_asked_for_is_no_leftover(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What create and run --detach gave is deleted, and not held against the test."""
    minirunc.create(bundle())
    minirunc.start(bundle("sleep 1000"))
    assert minirunc.close() == []
