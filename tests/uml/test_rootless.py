"""An ordinary user's containers where all controllers are delegated to him."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.rootless import given, ordinary_user
from tests.ground.runtime import Runtime, wait_until

RESOURCES = {
    "memory": {"limit": 64 << 20},
    "pids": {"limit": 9},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000},
}
FILES = {"memory.max": str(64 << 20), "pids.max": "9", "cpu.max": "50000 100000"}
READ = f"cd /sys/fs/cgroup && cat {' '.join(FILES)}"


@pytest.fixture
def home(minirunc: Runtime) -> Iterator[Path]:
    """The user's directory; `minirunc` is run by him from now on."""
    with ordinary_user(minirunc) as directory:
        yield directory


def test_ordinary_user_sets_limits(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.resources: in a delegated cgroup an ordinary user's limits are set, seen from inside."""
    made = given(bundle(READ), home)
    made.linux["resources"] |= RESOURCES
    assert minirunc.run(made) == (0, "\n".join([*FILES.values(), ""]), "")


def test_limits_of_an_ordinary_user_hold(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """pids.limit: the process that is one too many is not made; memory.limit: what takes more is ended."""
    made = given(bundle("for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo not reached"), home)
    made.linux["resources"] |= RESOURCES
    result = minirunc.run(made)
    assert (result.status != 0, result.out) == (True, "")
    assert "can't fork" in result.err
    made.args("dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?")
    assert minirunc.run(made).out == "137\n"


def test_ordinary_user_pauses_execs_and_kills(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """All of the life in a delegated cgroup; a fork bomb, too, is ended as a whole."""
    made = given(bundle("bomb() { bomb | bomb & }; bomb & exec sleep 1000"), home)
    made.linux["resources"] |= RESOURCES
    id = minirunc.start(made)
    cgroup = minirunc.cgroup(id)
    wait_until(lambda: "max 0" not in (cgroup / "pids.events").read_text(), "the bomb meets the limit")
    minirunc.ok("pause", id)
    assert minirunc.status(id) == "paused"
    minirunc.ok("resume", id)
    minirunc.ok("delete", "--force", id)
    assert not cgroup.exists()


def test_controller_that_is_not_delegated_is_named(
    minirunc: Runtime, bundle: Callable[..., Bundle], home: Path
) -> None:
    """linux.resources: what the cgroup above does not give is an error with the line of systemd's that would."""
    made = given(bundle(), home)
    made.linux["resources"]["pids"] = {"limit": 9}
    given_below = leftovers.cgroup2_mounts()[0] / "cgroup.subtree_control"
    given_below.write_text("-pids")
    try:
        result = minirunc.run(made)
    finally:
        given_below.write_text("+pids")
    assert result.status == 1
    assert "linux.resources.pids: the pids controller is not available in this cgroup" in result.err
    assert "Delegate=pids in user@.service" in result.err
