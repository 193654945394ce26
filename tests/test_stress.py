"""Many lives, at once and one after the other, and commands killed at any moment: nothing is left."""

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground import stress
from tests.ground.bundle import Bundle
from tests.ground.runtime import TIMEOUT_S, Result, Runtime, wait_until


@pytest.fixture
def sleeper(bundle: Callable[..., Bundle]) -> Bundle:
    """It sleeps."""
    return bundle(["sleep", "1000"])


@pytest.mark.alone
def test_lives_one_after_the_other(minirunc: Runtime, sleeper: Bundle) -> None:
    """No process, mount, file, cgroup, unit or device program is left, and the kernel lets go of removed cgroups."""
    stress.cycles(minirunc, sleeper)


@pytest.mark.alone
def test_many_at_once(minirunc: Runtime, sleeper: Bundle) -> None:
    """A hundred are created, started, paused and deleted at the same time."""
    stress.at_once(minirunc, sleeper)


def test_killed_at_any_moment(minirunc: Runtime, sleeper: Bundle) -> None:
    """SIGKILL to any command: `delete --force` succeeds, leaves nothing, and the id is free."""
    stress.kills(minirunc, sleeper)


def test_killed_at_any_moment_without_a_pid_namespace(minirunc: Runtime, sleeper: Bundle) -> None:
    """Where no init takes the others with it."""
    sleeper.without_namespace("pid")
    stress.kills(minirunc, sleeper, (stress.KILLS + 2) // 3)


# What may be said by commands that meet others.
ANSWERS = re.compile(
    r'time="[^"]*" level=error msg="('
    r"container not running: \S+( is paused| is stopped)?"
    r"|container not paused"
    r"|the cgroup \S+ was (thawed|frozen) by another process meanwhile"
    r"|exec failed: (unable to start container process: )?cannot exec in a paused container"
    r" \(use --ignore-paused to override\)(: \S+ is frozen)?"
    r')"'
)


def test_pauses_resumes_and_execs_at_once(minirunc: Runtime, sleeper: Bundle) -> None:
    """Each gives an answer at once, and at the end nothing is frozen."""
    id = minirunc.start(sleeper)
    cgroup = minirunc.cgroup(id)
    times = 6 if stress.IN_UML else 25
    said = minirunc.root.parent / "said"
    loops = []
    with said.open("w") as out:
        for words in ("pause", "resume", "resume", "exec"):
            loop = f'for n in $(seq {times}); do "$@"; done; true'
            argv = minirunc.argv(words, id, *["true"][: words == "exec"])
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            loops.append(subprocess.Popen(["sh", "-c", loop, "sh", *argv], **streams))
        pausing, *_, executing = loops
        pausing.wait(TIMEOUT_S)
        while executing.poll() is None:  # one may have been frozen on its way
            minirunc("resume", id)
        assert [loop.wait(TIMEOUT_S) for loop in loops] == [0] * 4
    assert [line for line in said.read_text().splitlines() if not ANSWERS.fullmatch(line)] == []
    if minirunc.status(id) == "paused":
        minirunc.ok("resume", id)
    assert minirunc.ok("exec", id, "echo", "hello") == "hello\n"
    assert (cgroup / "cgroup.freeze").read_text() == "0\n"
    assert "frozen 0\n" in (cgroup / "cgroup.events").read_text()
    minirunc.ok("delete", "--force", id)


@pytest.mark.parametrize("own_pids", [True, False])
def test_processes_that_fork_while_they_are_killed(
    minirunc: Runtime, bundle: Callable[..., Bundle], own_pids: bool
) -> None:
    """Each begins the next and ends, so that a list of them is old when it is read: `delete --force` ends all."""
    made = bundle("for n in 1 2 3 4 5; do /runs; done; exec sleep 1000")
    runs(made)
    if not own_pids:
        made.without_namespace("pid")
    id = minirunc.start(made)
    cgroup = minirunc.cgroup(id)
    wait_until((made.rootfs / "ran").exists, "they run")
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert not cgroup.exists()


def runs(made: Bundle) -> None:
    """/runs in the container begins itself anew, and ends."""
    program = made.rootfs / "runs"
    program.write_text("#!/bin/sh\n: >/ran\n/runs &\n")
    program.chmod(0o755)


def test_kill_without_cgroup_kill_ends_who_forks(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """In a threaded cgroup there is no cgroup.kill: they are frozen, so that the list is true."""
    made = bundle("for n in 1 2 3 4 5; do /runs; done; exec sleep 1000")
    runs(made)
    made.without_namespace("pid")
    top = Path(stress.leftovers.cgroup2_mounts()[0], f"{minirunc.token}-top")
    (top / "other").mkdir(parents=True)
    (top / "other/cgroup.type").write_text("threaded")  # so that all below `top` has to be
    made.linux["cgroupsPath"] = f"/{top.name}/own"
    id = minirunc.start(made)
    wait_until((made.rootfs / "ran").exists, "they run")
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert [path.name for path in top.iterdir() if path.is_dir()] == ["other"]
    (top / "other").rmdir()
    top.rmdir()


def test_cgroups_of_the_container_many_deep_and_frozen(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """It makes 200 beside each other and 40 in each other, is in the last itself, and freezes them: deleted at once."""
    made = bundle(
        "cd /sys/fs/cgroup; for n in $(seq 200); do mkdir many$n; done"
        "; deep=.; for n in $(seq 40); do deep=$deep/d; done; mkdir -p $deep many1/in"
        "; sleep 1000 & echo $! >$deep/cgroup.procs; sleep 1000 & echo $! >many1/in/cgroup.procs"
        "; echo 1 >d/cgroup.freeze; echo 1 >many1/in/cgroup.freeze; : >/done; exec sleep 1000"
    )
    for mount in made.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    id = minirunc.start(made)
    cgroup = minirunc.cgroup(id)
    wait_until((made.rootfs / "done").exists, "they are made")
    wait_until(lambda: "frozen 1" in (cgroup / "many1/in/cgroup.events").read_text(), "it is frozen")
    assert minirunc.status(id) == "running"
    began = time.monotonic()
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert time.monotonic() - began < 10
    assert not cgroup.exists()


def test_first_process_moved_elsewhere(minirunc: Runtime, sleeper: Bundle) -> None:
    """By its host, out of the container's cgroup: `delete --force` ends it by its pid, and the cgroup's with it."""
    id = minirunc.start(sleeper)
    cgroup, pid = minirunc.cgroup(id), minirunc.pid(id)
    elsewhere = cgroup.parent / f"{minirunc.token}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "cgroup.procs").write_text(str(pid))
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert not cgroup.exists()
    assert (elsewhere / "cgroup.events").read_text().startswith("populated 0\n")
    elsewhere.rmdir()
