"""Attacks by what is below --root: state that somebody else wrote, or that speaks of somebody else."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minirunc.base.errors import StateError
from minirunc.container import enter
from minirunc.container.store import Store
from minirunc.kernel import procfs
from tests.attacks.table import attack
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

NOBODY = 65534


@contextmanager
def victim() -> Iterator[int]:
    """A process that is no container's: it lives to the end."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            yield process.pid
            assert process.poll() is None
        finally:
            process.kill()


def forge(minirunc: Runtime, id: str, **members: Any) -> None:
    """Change what state.json says."""
    file = minirunc.root / id / "state.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | members))


def start_time(pid: int) -> int:
    """As state.json has it."""
    found = procfs.stat(pid)
    assert found is not None
    return found.start


@contextmanager
def ended(minirunc: Runtime, made: Bundle, ran: Path) -> Iterator[str]:
    """A container that has ended, with a poststop hook that would leave a file `ran`."""
    made.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {ran}"]}]}
    id = minirunc.start(made)
    minirunc.wait_for_status(id, "stopped")
    try:
        yield id
    finally:
        if (minirunc.root / id).exists():
            os.chown(minirunc.root / id, 0, 0)
            os.chmod(minirunc.root / id, 0o711)
            minirunc("delete", "--force", id)


@attack("state written by another user", "names and paths", "a state directory is its user's or root's, and no other's")
def test_state_of_another_user_is_not_acted_on(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """It names any process to kill and any program to run: it is shown, and no more."""
    ran = tmp_path / "ran"
    with ended(minirunc, bundle(), ran) as stopped, victim() as pid:
        directory = minirunc.root / stopped
        forge(minirunc, stopped, pid=pid, pidStart=start_time(pid))
        assert minirunc.status(stopped) == "running"  # so the forgery works
        for mode, owner in ((0o711, NOBODY), (0o777, 0), (0o731, 0)):
            os.chmod(directory, mode)
            os.chown(directory, owner, 0)
            assert minirunc.state(stopped)["pid"] == pid
            for words in (["kill", stopped, "9"], ["delete", stopped], ["start", stopped], ["exec", stopped, "true"]):
                result = minirunc(*words)
                assert result.status != 0
                assert "may have been written by others than its user" in result.err
        os.chown(directory, NOBODY, 0)
        minirunc.ok("delete", "--force", stopped)  # of it all only the directory goes
        assert not directory.exists()
        assert not ran.exists()


@attack(
    "state that is a link, or another container's", "names and paths", "opened without links; the id must be its own"
)
def test_state_of_another_container_is_not_taken(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A link to its directory or its state.json, and a copy under another name."""
    id = minirunc.start(bundle("exec sleep 1000"))
    root = minirunc.root
    (root / "link").symlink_to(id)
    shutil.copytree(root / id, root / "copy", ignore=shutil.ignore_patterns("*.fifo"))
    (root / "file").mkdir(mode=0o711)
    (root / "file/state.json").symlink_to(f"../{id}/state.json")
    for name, why in (
        ("link", "container does not exist"),
        ("copy", "is of container"),
        ("file", "too many levels of symbolic links"),
    ):
        for words in (["kill", name, "9"], ["exec", name, "true"], ["pause", name], ["state", name]):
            result = minirunc(*words)
            assert (result.status != 0, result.err.count("\n")) == (True, 1)
            assert why in result.err
    for name in ("link", "file", "copy"):
        minirunc("delete", "--force", name)
    assert minirunc.status(id) == "running"
    (root / "link").unlink()


@attack("a root that everybody may write", "names and paths", "refused before anything is made, but for sticky ones")
def test_root_that_everybody_may_write_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """They could put their directory in the place of ours."""
    made = bundle()
    made.write()
    minirunc.root.mkdir()
    os.chmod(minirunc.root, 0o777)
    result = minirunc("create", "--bundle", made.path, minirunc.id())
    assert result.status == 1
    assert f"the state directory {minirunc.root} may be written by everybody: chmod o-w it" in result.err
    assert leftovers.state_directories(minirunc.root) == set()
    os.chmod(minirunc.root, 0o1777)
    assert minirunc.run(made).status == 0


@attack("a pid that is another's by now", "names and paths", "pid, start time and boot; a pidfd that was checked after")
def test_reused_pid_is_not_signalled_nor_joined(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """What has the pid of the container's process now started at another time."""
    with ended(minirunc, bundle(), tmp_path / "ran") as stopped, victim() as pid:
        real = start_time(pid)
        for start in (real - 1, real + 1, 0):
            forge(minirunc, stopped, pid=pid, pidStart=start)
            assert minirunc.status(stopped) == "stopped"
            assert "container not running" in minirunc("kill", stopped, "9").err
            assert minirunc("exec", stopped, "true").status == 255
        forge(minirunc, stopped, pid=pid, pidStart=real, bootId="another")
        assert minirunc("kill", stopped, "9").status == 1
        forge(minirunc, stopped, pid=pid, pidStart=real - 1)
        state = Store(str(minirunc.root), stopped).load()
        with pytest.raises(StateError, match="cannot exec in a stopped container"):
            enter.check_joined(state)  # had it ended only after the first look
        forge(minirunc, stopped, pid=pid, pidStart=real)
        enter.check_joined(Store(str(minirunc.root), stopped).load())
        forge(minirunc, stopped, pid=pid, pidStart=real - 1)
        minirunc.ok("delete", stopped)


@attack("paths in the state that lead out", "names and paths", "absolute, without `..` and NUL, or not believed")
def test_paths_of_the_state_are_checked(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The cgroup is what delete kills and removes."""
    mount = leftovers.cgroup2_mounts()[0]
    inside = mount / minirunc.token
    inside.mkdir()
    paths = (f"/x/../{minirunc.token}", "/..", f"{minirunc.token}", f"/{minirunc.token}\0", "/a\ud800")
    try:
        with ended(minirunc, bundle(), tmp_path / "ran") as stopped:
            file = minirunc.root / stopped / "state.json"
            before = file.read_text()
            for members in [
                {key: value}
                for path in paths
                for key, value in (("cgroup", path), ("cgroupMade", [path]), ("rdtMade", [path]))
            ]:
                forge(minirunc, stopped, **members)
                result = minirunc("delete", stopped)
                assert (result.status, result.err.count("\n")) == (1, 1)
                assert "is not a path that minirunc writes" in result.err
                assert inside.exists()
                file.write_text(before)
    finally:
        inside.rmdir()
