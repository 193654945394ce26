"""config.json linux.resources.pids: cgroup v2's pids controller."""

from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until

# The first process forks once, while it is alone: with the bomb beside it, it might not be able to, and end.
BOMB = "bomb() { bomb | bomb & }; bomb & exec sleep 1000"


@pytest.mark.observes("linux.resources.pids.limit")
@pytest.mark.parametrize(("limit", "value"), [(20, "20"), (-1, "max")])
def test_limit_is_pids_max(minirunc: Runtime, limited: Callable[..., Bundle], limit: int, value: str) -> None:
    """limit is pids.max; below zero there is none."""
    result = minirunc.run(limited("cat /sys/fs/cgroup/pids.max", pids={"limit": limit}))
    assert result == (0, f"{value}\n", "")


def test_limit_0_is_1(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit 0: pids.max 1, as in runc since 1.4: one process must be, or there is no container."""
    result = minirunc.run(limited(["cat", "/sys/fs/cgroup/pids.max"], pids={"limit": 0}))
    assert result == (0, "1\n", "")


@pytest.mark.observes("linux.resources.pids.limit")
def test_fork_over_the_limit_fails(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: the ninth process cannot be made, and pids.events counts it."""
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo not reached"
    result = minirunc.run(limited(script, pids={"limit": 8}))
    assert result.status != 0
    assert result.out == ""
    assert "can't fork" in result.err


def test_limit_is_reached_exactly(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: all of them can be used; nothing of the runtime counts among them."""
    script = "for i in 1 2 3 4 5 6 7; do sleep 100 & done; read n </sys/fs/cgroup/pids.current; echo $n"
    assert minirunc.run(limited(script, pids={"limit": 8})) == (0, "8\n", "")


def test_fork_bomb_is_stopped(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: a fork bomb comes to stand at pids.max, and a kill of the first process ends all of it."""
    id = minirunc.create(limited(BOMB, pids={"limit": 16}))
    cgroup = minirunc.cgroup(id)
    minirunc.ok("start", id)
    wait_until(lambda: "max 0" not in (cgroup / "pids.events").read_text(), "the bomb meets the limit")
    assert int((cgroup / "pids.peak").read_text()) <= 16
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)
    assert not cgroup.exists()
