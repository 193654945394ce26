"""process.execCPUAffinity, and the CPUs of a process that has none: those of the cgroup, not of who called."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

GREP = "/bin/grep Cpus_allowed_list: /proc/self/status"


def allowed(out: str) -> str:
    """The list that the process itself saw."""
    return out.rpartition("Cpus_allowed_list:")[2].strip()


@pytest.fixture
def bound(minirunc: Runtime) -> int:
    """Have `minirunc` called on one CPU of several: its number."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("this machine has one CPU: nothing to be bound to")
    minirunc.prefix = ["taskset", "-c", str(cpus[-1])]
    return cpus[-1]


@pytest.fixture
def ours() -> str:
    """The list of the test's own process, which is not bound."""
    status = Path("/proc/self/status").read_text()
    return allowed(next(line for line in status.splitlines() if line.startswith("Cpus_allowed_list:")))


@pytest.mark.usefixtures("bound")
def test_run_is_not_bound_as_its_caller_is(minirunc: Runtime, bundle: Callable[..., Bundle], ours: str) -> None:
    """A container's CPUs are those of its cgroup, whatever its caller was bound to (as runc 1.5 has it)."""
    result = minirunc.run(bundle(GREP))
    assert (result.status, allowed(result.out), result.err) == (0, ours, "")


@pytest.mark.usefixtures("bound")
def test_exec_is_not_bound_as_its_caller_is(minirunc: Runtime, bundle: Callable[..., Bundle], ours: str) -> None:
    """The same for exec, where process.execCPUAffinity is not set."""
    id = minirunc.start(bundle("exec sleep 1000"))
    assert allowed(minirunc.ok("exec", id, "sh", "-c", GREP)) == ours


@pytest.mark.usefixtures("bound")
def test_start_container_hook_is_not_bound_as_its_caller_is(
    minirunc: Runtime, bundle: Callable[..., Bundle], ours: str
) -> None:
    """The same for a hook in the container."""
    made = bundle("cat /cpus")
    made.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"{GREP} >/cpus"]}]}
    result = minirunc.run(made)
    assert (result.status, allowed(result.out), result.err) == (0, ours, "")


@pytest.mark.observes("process.execCPUAffinity.initial", "process.execCPUAffinity.final")
@pytest.mark.parametrize("where", ["config.json", "process.json"])
def test_exec_has_the_cpus_it_is_given(
    minirunc: Runtime, bundle: Callable[..., Bundle], bound: int, tmp_path: Path, where: str
) -> None:
    """process.execCPUAffinity: initial before the cgroup is entered, final after."""
    other = min(os.sched_getaffinity(0))
    affinity = {"initial": str(bound), "final": str(other)}
    made = bundle("exec sleep 1000")
    if where == "config.json":
        made.process["execCPUAffinity"] = affinity
    id = minirunc.start(made)
    command: list[object] = ["exec", id, *GREP.split()]
    if where == "process.json":
        process = tmp_path / "process.json"
        process.write_text(json.dumps({"args": GREP.split(), "cwd": "/", "execCPUAffinity": affinity}))
        command = ["exec", "--process", process, id]
    result = minirunc(*command, before=["--debug"])
    assert (result.status, allowed(result.out)) == (0, str(other))
    assert f"affinity: {1 << bound:#x}" in result.err  # before it entered: nobody can see it any more


@pytest.mark.usefixtures("bound")
def test_run_has_not_the_cpus_for_exec(minirunc: Runtime, bundle: Callable[..., Bundle], ours: str) -> None:
    """process.execCPUAffinity is for exec: the first process has all CPUs of its cgroup."""
    made = bundle(GREP)
    made.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    assert allowed(minirunc.run(made).out) == ours


def test_exec_keeps_the_initial_cpus_without_final_ones(
    minirunc: Runtime, bundle: Callable[..., Bundle], bound: int
) -> None:
    """process.execCPUAffinity.initial alone: nothing is set after the cgroup was entered."""
    made = bundle("exec sleep 1000")
    made.process["execCPUAffinity"] = {"initial": str(bound)}
    id = minirunc.start(made)
    assert allowed(minirunc.ok("exec", id, "sh", "-c", GREP)) == str(bound)
