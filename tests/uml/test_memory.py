"""config.json linux.resources.memory: cgroup v2's memory controller."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until

MIB = 1 << 20

# dd asks for a buffer of this size and fills it.
EAT_64_MIB = "dd if=/dev/zero of=/dev/null bs=64M count=1"


@pytest.mark.observes(*(f"linux.resources.memory.{name}" for name in ("limit", "reservation", "swap")))
@pytest.mark.parametrize(
    ("memory", "file", "value"),
    [
        ({"limit": 32 * MIB}, "memory.max", str(32 * MIB)),
        ({"limit": -1}, "memory.max", "max"),
        ({"limit": 0}, "memory.max", "max"),
        ({"reservation": 16 * MIB}, "memory.low", str(16 * MIB)),
        ({"reservation": -1}, "memory.low", "max"),
        ({"limit": 32 * MIB, "swap": 48 * MIB}, "memory.swap.max", str(16 * MIB)),
        ({"limit": 32 * MIB, "swap": 32 * MIB}, "memory.swap.max", "0"),
        ({"limit": 32 * MIB, "swap": -1}, "memory.swap.max", "max"),
    ],
)
def test_value_reaches_its_file(
    minirunc: Runtime, limited: Callable[..., Bundle], memory: dict[str, int], file: str, value: str
) -> None:
    """limit, reservation and swap (which counts memory, too) are memory.max, memory.low, memory.swap.max."""
    result = minirunc.run(limited(f"cat /sys/fs/cgroup/{file}", memory=memory))
    assert result == (0, f"{value}\n", "")


@pytest.mark.observes("linux.resources.memory.limit", "linux.resources.memory.swap")
def test_process_over_the_limit_is_killed(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: the kernel kills the first process when it takes more, and `run` ends with 128 + SIGKILL."""
    result = minirunc.run(limited(EAT_64_MIB.split(), memory={"limit": 16 * MIB, "swap": 16 * MIB}))
    assert result.status == 137
    assert "copied" not in result.err


def test_process_under_the_limit_lives(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: the same program is left alone where it has enough."""
    assert minirunc.run(limited(EAT_64_MIB.split(), memory={"limit": 128 * MIB})).status == 0


def test_kill_is_counted_in_the_container_s_cgroup(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: a child is killed, the first process goes on, and memory.events says so."""
    script = f"{EAT_64_MIB}; echo child $?; grep oom_kill /sys/fs/cgroup/memory.events"
    result = minirunc.run(limited(script, memory={"limit": 16 * MIB, "swap": 16 * MIB}))
    assert result.status == 0
    assert result.out.splitlines()[:2] == ["child 137", "oom_kill 1"]


def test_exec_is_under_the_limit(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: a process that joins is in the same cgroup, so it is killed, too; the container lives."""
    id = minirunc.start(limited("sleep 1000", memory={"limit": 16 * MIB, "swap": 16 * MIB}))
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 137
    assert minirunc.status(id) == "running"


def test_container_killed_by_the_limit_is_stopped(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """limit: a detached container is found stopped, and can be deleted."""
    bundle = limited(EAT_64_MIB.split(), memory={"limit": 16 * MIB, "swap": 16 * MIB})
    id = minirunc.create(bundle)
    events = minirunc.cgroup(id) / "memory.events"
    minirunc.ok("start", id)
    wait_until(lambda: "\noom_kill 1" in events.read_text(), "the process is killed")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)
    assert not events.exists()


def test_swap_without_limit_is_refused(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """swap counts memory and swap together, so alone it means nothing."""
    result = minirunc.run(limited("true", memory={"swap": 32 * MIB}))
    assert result.status == 1
    assert "swap" in result.err


def test_swap_below_limit_is_refused(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """swap counts memory, too, so it cannot be less."""
    result = minirunc.run(limited("true", memory={"limit": 32 * MIB, "swap": 16 * MIB}))
    assert result.status == 1
    assert "swap" in result.err


@pytest.mark.observes("linux.resources.memory.checkBeforeUpdate")
@pytest.mark.parametrize(("memory", "why"), [
    ({"limit": 4 * MIB, "checkBeforeUpdate": True}, "limit: rejecting memory limit 4194304 <= usage "),
    ({"limit": 4 * MIB, "swap": 5 * MIB, "checkBeforeUpdate": True}, "swap: rejecting memory+swap limit 5242880 <= "),
    ({"limit": 64 * MIB, "checkBeforeUpdate": True}, ""),
    ({"limit": 4 * MIB, "swap": 4 * MIB}, ""),
])  # fmt: skip
def test_limit_below_what_is_in_use(
    minirunc: Runtime, limited: Callable[..., Bundle], memory: dict[str, int], why: str
) -> None:
    """checkBeforeUpdate: what the cgroup uses already, be it files alone, MUST be allowed by the limit; else the kernel
    takes it, and reclaims."""
    cgroup = Path("/sys/fs/cgroup") / minirunc.id()
    file = Path("/dev/shm") / cgroup.name
    cgroup.mkdir()
    try:
        script = f"echo 0 >{cgroup}/cgroup.procs && exec head -c 16m /dev/zero >{file}"
        subprocess.run(["sh", "-c", script], check=True)
        assert int((cgroup / "memory.current").read_text()) >= 16 * MIB
        bundle = limited("cat /sys/fs/cgroup/memory.max", memory=memory)
        bundle.linux["cgroupsPath"] = f"/{cgroup.name}"
        result = minirunc.run(bundle)
        if why:
            assert (result.status, result.out) == (1, "")
            assert f"config.json: linux.resources.memory.{why}" in result.err
        elif memory["limit"] > 16 * MIB:
            assert result == (0, f"{memory['limit']}\n", "")
        else:
            assert "rejecting" not in result.err
    finally:
        file.unlink(missing_ok=True)
        if cgroup.exists():
            cgroup.rmdir()


class TestKilledBeforeItsProgram:
    """A limit that is too low to be born with: said as such, with the phase, the limit and the peak."""

    @pytest.mark.parametrize("command", ["create", "run"])
    def test_during_create(self, minirunc: Runtime, limited: Callable[..., Bundle], command: str) -> None:
        """The hand is killed at its work: which, and that nothing is left."""
        bundle = limited("true", memory={"limit": 32 << 10, "swap": 32 << 10})
        bundle.write()
        result = minirunc(command, "--bundle", bundle.path, minirunc.id())
        assert (result.status, result.out) == (1, "")
        why = (
            "container init was OOM-killed (memory limit too low?): during create: memory.max is 32768, memory.peak is "
        )
        assert why in result.err
        assert "the hand (pid " in result.err

    def test_during_start(self, minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
        """execve(2) takes more than there is: said at once, or at the latest when `run` has seen the process end."""
        result = minirunc.run(limited("true", memory={"limit": 112 << 10, "swap": 112 << 10}))
        assert (result.status, "container process was OOM-killed" in result.err) in ((1, True), (137, True))
        assert "memory.max is 114688, memory.peak is " in result.err

    def test_exec(self, minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
        """The container has all there is, and is not to be killed: what is killed is the hand of the exec."""
        bundle = limited("exec sleep 1000", memory={"limit": 1 << 20, "swap": 1 << 20})
        bundle.process["oomScoreAdj"] = -1000
        id = minirunc.start(bundle)
        (minirunc.cgroup(id) / "memory.max").write_text("4096")
        result = minirunc("exec", id, "true")
        assert (result.status, result.out) == (255, "")
        assert "possibly OOM-killed: memory.max is 4096, memory.peak is " in result.err
        assert minirunc.status(id) == "running"
