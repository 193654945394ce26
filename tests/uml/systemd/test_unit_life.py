"""--systemd-cgroup from create to delete: who made the cgroup is on record, and nothing of the unit is left."""

import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground import crashes
from tests.ground.bundle import Bundle
from tests.ground.runtime import Result, Runtime, wait_until
from tests.uml.systemd.conftest import BY_SYSTEMD, CGROUP2, listed, scope, show, systemctl
from tests.uml.test_memory import EAT_64_MIB

MIB = 1 << 20


def test_other_commands_need_no_option(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """start, exec, ps, pause, resume, update, kill, state and delete find the unit without --systemd-cgroup."""
    bundle = limited("trap 'exit 7' TERM; while :; do sleep 0.1; done")
    id = minirunc.create(bundle, before=BY_SYSTEMD)
    minirunc.ok("start", id)
    where = minirunc.cgroup(id)
    assert where == CGROUP2 / "system.slice" / scope(id)
    assert minirunc.ok("exec", id, "cat", "/proc/self/cgroup") == "0::/\n"
    assert minirunc.pid(id) in json.loads(minirunc.ok("ps", "--format", "json", id))
    minirunc.ok("pause", id)
    assert (minirunc.status(id), (where / "cgroup.freeze").read_text()) == ("paused", "1\n")
    minirunc.ok("resume", id)
    assert (minirunc.status(id), (where / "cgroup.freeze").read_text()) == ("running", "0\n")
    minirunc.ok("update", "--pids-limit", "17", id)
    assert show(scope(id), "TasksMax") == {"TasksMax": "17"}
    minirunc.ok("kill", id, "TERM")
    minirunc.wait_for_status(id, "stopped")
    assert minirunc("delete", id) == Result(0, "", "")
    assert (where.exists(), listed(f"*{id}*")) == (False, [])


@pytest.mark.parametrize("args", [["true"], ["sh", "-c", "kill -9 $$"], ["/no/such/program"], EAT_64_MIB.split()])
def test_run_leaves_nothing(minirunc: Runtime, limited: Callable[..., Bundle], args: list[str]) -> None:
    """`run`: when it returns there is no unit and no cgroup, however the process ended, if it began."""
    id = minirunc.id()
    minirunc.run(limited(args, memory={"limit": 16 * MIB, "swap": 16 * MIB}), id=id, before=BY_SYSTEMD)
    assert listed(f"*{id}*") == []
    assert not (CGROUP2 / "system.slice" / scope(id)).exists()


@pytest.mark.parametrize("own_pids", [True, False])
def test_delete_force_ends_all_that_is_in_it(minirunc: Runtime, limited: Callable[..., Bundle], own_pids: bool) -> None:
    """Processes that ignore SIGTERM, in cgroups that they made themselves: gone at once."""
    bundle = limited(
        "trap '' TERM HUP; mkdir -p /sys/fs/cgroup/a/b; (echo 0 >/sys/fs/cgroup/a/b/cgroup.procs; exec sleep 1000) &"
        " exec sleep 1000"
    )
    for mount in bundle.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    if not own_pids:
        bundle.without_namespace("pid")
    id = minirunc.start(bundle, before=BY_SYSTEMD)
    where = minirunc.cgroup(id)
    inner = where / "a/b/cgroup.procs"
    wait_until(lambda: inner.exists() and inner.read_text(), "it has made cgroups of its own")
    began = time.monotonic()
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert time.monotonic() - began < 10
    assert (where.exists(), listed(f"*{id}*")) == (False, [])


def test_container_that_ended_itself(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """systemd forgets the unit as soon as nobody is in it; the state is there, `delete` removes it."""
    id = minirunc.start(limited(["true"]), before=BY_SYSTEMD)
    wait_until(lambda: not listed(f"*{id}*"), "systemd has seen it end")
    assert minirunc.status(id) == "stopped"
    assert minirunc("delete", id) == Result(0, "", "")


STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"


def test_failed_unit_is_collected(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """CollectMode: a unit that failed, here as systemd had to kill it, does not stay until somebody resets it."""
    id = minirunc.start(limited(STUBBORN), before=BY_SYSTEMD)
    systemctl("stop", "--no-block", scope(id))
    wait_until(lambda: not listed(f"*{id}*"), "systemd has ended it")
    assert minirunc.status(id) == "stopped"
    minirunc.ok("delete", id)


def test_failed_unit_with_annotations_is_to_be_seen(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Who gives a unit properties of his own looks after it: that it failed, here at his time limit, is there to be
    seen until the container is deleted."""
    bundle = limited(STUBBORN)
    bundle.config["annotations"] = {
        "org.systemd.property.RuntimeMaxSec": "1",
        "org.systemd.property.TimeoutStopSec": "1",
    }
    id = minirunc.start(bundle, before=BY_SYSTEMD)
    failed = {"ActiveState": "failed", "Result": "timeout"}
    wait_until(lambda: show(scope(id), *failed) == failed, "systemd has ended it")
    assert minirunc.status(id) == "stopped"
    minirunc.ok("delete", id)
    assert listed(f"*{id}*") == []


def test_unit_stopped_by_systemctl(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`systemctl stop`: the container is stopped."""
    id = minirunc.start(limited("trap 'exit 0' TERM; while :; do sleep 0.1; done"), before=BY_SYSTEMD)
    systemctl("stop", scope(id))
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)


def test_failed_leftover_is_replaced(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A unit of this name that somebody left, failed, is reset."""
    id = minirunc.id()
    stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    limit = ["--property=RuntimeMaxSec=1", "--property=TimeoutStopSec=1"]
    subprocess.run(["systemd-run", "--quiet", "--scope", f"--unit={scope(id)}", *limit, *stubborn], check=False)
    wait_until(lambda: show(scope(id), "ActiveState") == {"ActiveState": "failed"}, "it has failed")
    minirunc.start(limited("sleep 1000"), id=id, before=BY_SYSTEMD)
    assert show(scope(id), "ActiveState", "Description") == {
        "ActiveState": "active",
        "Description": f"libcontainer container {id}",
    }


def test_unit_that_lives_is_refused(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A unit of this name in which somebody lives is his: one line that names it, and he lives on."""
    id = minirunc.id()
    command = ["systemd-run", "--quiet", "--scope", f"--unit={scope(id)}", "sleep", "1000"]
    with subprocess.Popen(command) as other:
        try:
            wait_until(lambda: show(scope(id), "ActiveState") == {"ActiveState": "active"}, "it is there")
            result = minirunc.run(limited("true"), id=id, before=BY_SYSTEMD)
            assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
            assert scope(id) in result.err
            assert other.poll() is None
            assert show(scope(id), "ActiveState") == {"ActiveState": "active"}
        finally:
            other.kill()
    wait_until(lambda: not listed(scope(id)), "it is gone")


def test_two_containers_of_one_unit(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """cgroupsPath of a container that runs: refused, the first is untouched; free again after its delete."""
    bundle = limited("sleep 1000")
    bundle.linux["cgroupsPath"] = f":box:{minirunc.id()}"
    first = minirunc.start(bundle, before=BY_SYSTEMD)
    bundle.args("true")
    result = minirunc.run(bundle, before=BY_SYSTEMD)
    assert result.status == 1
    assert f"{bundle.linux['cgroupsPath'][1:].replace(':', '-')}.scope" in result.err
    assert minirunc.status(first) == "running"
    minirunc.ok("delete", "--force", first)
    assert minirunc.run(bundle, before=BY_SYSTEMD) == (0, "", "")


def test_many_at_once(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Each waits for its own job alone."""
    bundle = limited("true")
    bundle.write()
    ids = [minirunc.id() for _ in range(6)]
    running = [minirunc.popen("run", "--bundle", bundle.path, id, before=BY_SYSTEMD) for id in ids]
    assert [process.wait(100) for process in running] == [0] * 6
    assert listed(f"*{minirunc.token}*") == []


@pytest.fixture
def sleeper(minirunc: Runtime, limited: Callable[..., Bundle]) -> Bundle:
    """A bundle to be created and killed, written."""
    bundle = limited("exec sleep 1000", pids={"limit": 9})
    bundle.write()
    minirunc.root.mkdir()
    return bundle


def test_create_killed_at_every_step(minirunc: Runtime, sleeper: Bundle) -> None:
    """SIGKILL to `create`: `delete --force` leaves no unit, cgroup or process, and the id is free."""
    words = f"--systemd-cgroup create --bundle {sleeper.path} ID"
    assert crashes.at_every_step(minirunc, minirunc.id(), 9, words, after=["delete --force ID"]) > 100


def test_create_killed_in_the_host_s_pid_namespace(minirunc: Runtime, sleeper: Bundle) -> None:
    """Where the end of the first process ends nobody else."""
    sleeper.without_namespace("pid")
    sleeper.write()
    words = f"--systemd-cgroup create --bundle {sleeper.path} ID"
    assert crashes.at_every_step(minirunc, minirunc.id(), 24, words, after=["delete --force ID"]) > 100


def test_delete_killed_at_every_step(minirunc: Runtime, sleeper: Bundle) -> None:
    """SIGKILL to `delete`: it can be repeated."""
    before = [f"--systemd-cgroup create --bundle {sleeper.path} ID", "start ID"]
    words, again = "delete --force ID", ["delete --force ID"]
    assert crashes.at_every_step(minirunc, minirunc.id(), 3, words, before=before, after=again) > 5


def test_create_killed_at_any_moment(minirunc: Runtime, sleeper: Bundle) -> None:
    """Also while systemd is at work for it."""
    for moment in range(15):
        id = minirunc.id()
        creating = minirunc.popen("create", "--bundle", sleeper.path, id, before=BY_SYSTEMD)
        time.sleep(random.Random(moment).uniform(0.1, 0.8))
        creating.kill()
        creating.wait()
        minirunc.ok("delete", "--force", id)
        # What was killed while systemd moved it may be seen to end by systemd alone.
        wait_until(lambda id=id: not listed(f"*{id}*"), "systemd has forgotten it", timeout_s=5)
        assert not Path(CGROUP2 / "system.slice" / scope(id)).exists()
