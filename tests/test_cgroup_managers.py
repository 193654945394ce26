"""container/drivers.py: --cgroup-manager, and what later commands know without it."""

import json
import os
from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, cgroup_of, wait_until

DISABLED = ["--cgroup-manager", "disabled"]


def test_disabled_makes_no_cgroup(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """--cgroup-manager disabled: the container is where its caller is, and lives all of its life without the option."""
    made = bundle("exec sleep 1000")
    made.linux["cgroupsPath"] = f"/{minirunc.id()}"
    id = minirunc.create(made, before=DISABLED)
    minirunc.ok("start", id)
    assert minirunc.status(id) == "running"
    assert minirunc.cgroup(id) == cgroup_of(os.getpid())
    assert json.loads(minirunc.ok("ps", "--format", "json", id)) == [minirunc.pid(id)]
    assert minirunc.ok("exec", id, "echo", "hello") == "hello\n"
    assert f"container {id} has no cgroup of its own" in minirunc("pause", id).err
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)


def test_disabled_ends_all_by_their_namespaces(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Without a pid namespace, too, `delete --force` leaves no process: the mount namespace tells which they are."""
    made = bundle("sleep 1000 & sleep 1001 & exec sleep 1002")
    made.without_namespace("pid")
    made.write()
    id = minirunc.id()
    result = minirunc.run(made, "--detach", id=id, before=DISABLED)
    assert result.status == 0
    assert "strongly discouraged" in result.err
    wait_until(lambda: len(json.loads(minirunc.ok("ps", "--format", "json", id))) == 3, "all three are there")
    minirunc.ok("delete", "--force", id)


def test_disabled_and_a_limit(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A limit that nothing could hold is refused by its JSON path; the device list, which all have, is not."""
    made = bundle()
    made.linux["resources"]["pids"] = {"limit": 9}
    result = minirunc.run(made, before=DISABLED)
    assert (result.status, result.out) == (1, "")
    assert (
        "config.json: linux.resources.pids: --cgroup-manager disabled makes no cgroup that could hold it" in result.err
    )
    del made.linux["resources"]["pids"]
    assert minirunc.run(made, before=DISABLED) == (0, "", "")


@pytest.mark.parametrize("manager", ["cgroupfs", ""])
def test_cgroupfs_is_the_default(minirunc: Runtime, bundle: Callable[..., Bundle], manager: str) -> None:
    """--cgroup-manager cgroupfs: linux.cgroupsPath below the hierarchy's root."""
    made = bundle("exec sleep 1000")
    made.linux["cgroupsPath"] = f"/{minirunc.id()}"
    id = minirunc.start(made, before=["--cgroup-manager", manager])
    assert minirunc.cgroup(id).name == made.linux["cgroupsPath"][1:]


def test_state_of_an_older_version_is_read(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """state.json without `unit`: made before there was a systemd driver."""
    id = minirunc.start(bundle("exec sleep 1000"))
    file = minirunc.root / id / "state.json"
    state = json.loads(file.read_text())
    assert state.pop("unit") == ""
    file.write_text(json.dumps(state))
    assert minirunc.status(id) == "running"
    minirunc.ok("delete", "--force", id)
