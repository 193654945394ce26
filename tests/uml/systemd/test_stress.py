"""Many lives by the systemd driver, and what ends them: the tests of the other driver, and some of units alone."""

import subprocess
from collections.abc import Callable

import pytest

from tests import test_crash
from tests.ground import leftovers, stress
from tests.ground.bundle import Bundle
from tests.ground.bus import SilentBus
from tests.ground.runtime import Result, Runtime, wait_until
from tests.test_stress import (  # noqa: F401 - the same with this driver
    sleeper,
    test_cgroups_of_the_container_many_deep_and_frozen,
    test_first_process_moved_elsewhere,
    test_killed_at_any_moment,
    test_killed_at_any_moment_without_a_pid_namespace,
    test_lives_one_after_the_other,
    test_many_at_once,
    test_pauses_resumes_and_execs_at_once,
    test_processes_that_fork_while_they_are_killed,
)
from tests.test_unkillable import (  # noqa: F401
    hung,
    start,
    test_another_process_is_told,
    test_first_process_is_told,
)
from tests.uml.systemd.conftest import systemctl
from tests.uml.test_memory import EAT_64_MIB
from tests.uml.test_stress import test_what_a_container_adds_is_seen  # noqa: F401


@pytest.fixture
def minirunc(minirunc: Runtime) -> Runtime:
    """All calls by this driver, though most need not be told."""
    minirunc.options = ["--systemd-cgroup"]
    return minirunc


class TestAtOnce(test_crash.TestAtOnce):
    """Several commands for one container at the same time, by this driver; where that is no matter, not again."""

    test_two_starts = None  # type: ignore[assignment]
    test_exec_and_kill_and_delete = None  # type: ignore[assignment]


def state_of(unit: str) -> str:
    """Its ActiveState: inactive, too, if there is no such unit."""
    return systemctl("show", "--property=ActiveState", "--value", unit)


def test_scopes_that_end_by_themselves(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Thirty containers that end each by its own: no unit is left, failed or not, and each can be deleted."""
    made = bundle("exec sleep 0.$(($RANDOM % 5))")
    made.write()
    ids = [minirunc.id() for _ in range(30)]
    stress.all_at_once(minirunc, [["run", "--detach", "--bundle", made.path, id] for id in ids])
    wait_until(lambda: not leftovers.units(minirunc.token), "systemd has forgotten them")
    stress.all_at_once(minirunc, [["delete", id] for id in ids])


def test_scope_out_of_memory_leaves_no_failed_unit(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """The kernel kills for want of memory, and systemd, which sees it, does not keep the unit as failed."""
    made = limited(EAT_64_MIB.split(), memory={"limit": 16 << 20, "swap": 16 << 20})
    id = minirunc.start(made)
    minirunc.wait_for_status(id, "stopped")
    wait_until(lambda: not leftovers.units(minirunc.token), "systemd has forgotten it")
    assert minirunc("delete", id) == Result(0, "", "")
    assert minirunc.run(made).status == 137
    wait_until(lambda: not leftovers.units(minirunc.token), "systemd has forgotten it")
    assert systemctl("list-units", "--failed", "--plain", "--no-legend") == ""


@pytest.mark.parametrize("slice_", ["user.slice", "system.slice"])
def test_unit_of_somebody_else_is_left_alone(minirunc: Runtime, bundle: Callable[..., Bundle], slice_: str) -> None:
    """A container has ended, and its unit's name is another's by now, elsewhere or even there: `delete` lets it be."""
    made = bundle("read x")
    id = minirunc.id()
    made.linux["cgroupsPath"] = f"system.slice:test:{id}"
    unit = f"test-{id}.scope"
    minirunc.start(made, id=id)
    minirunc.wait_for_status(id, "stopped")
    wait_until(lambda: not leftovers.units(minirunc.token), "systemd has forgotten it")
    command = ["systemd-run", "--quiet", "--scope", f"--unit={unit}", f"--slice={slice_}", "sleep", "1000"]
    other = subprocess.Popen(command)
    try:
        wait_until(lambda: state_of(unit) == "active", "it is somebody else's")
        assert minirunc("delete", id) == Result(0, "", "")
        assert (other.poll(), state_of(unit)) == (None, "active")
    finally:
        other.kill()
        other.wait()
    wait_until(lambda: not leftovers.units(minirunc.token), "it has ended")


@pytest.mark.parametrize("passed_on", [True, False])
def test_killed_before_systemd_answers(minirunc: Runtime, sleeper: Bundle, passed_on: bool) -> None:  # noqa: F811
    """SIGKILL to `create` that has asked for its unit: whether systemd was told or not, nothing is left, and the id is
    free."""
    sleeper.write()
    id = minirunc.id()
    with SilentBus(minirunc.root.parent / "bus", b"StartTransientUnit", passed_on=passed_on) as bus:
        minirunc.prefix = ["env", f"DBUS_SYSTEM_BUS_ADDRESS={bus.address}"]
        creating = minirunc.popen("create", "--bundle", sleeper.path, id)
        minirunc.prefix = []
        assert bus.heard.wait(60)
        creating.kill()
        creating.wait()
        assert minirunc("delete", "--force", id) == Result(0, "", "")
    wait_until(lambda: not leftovers.units(minirunc.token), "systemd has forgotten it", 10)
    wait_until(lambda: not leftovers.cgroup_directories(minirunc.token), "and its cgroup is gone", 10)
    minirunc.start(sleeper, id=id)
    minirunc.ok("delete", "--force", id)
