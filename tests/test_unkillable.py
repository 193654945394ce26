"""life.py, cgroup/fs.py: a process that SIGKILL does not end: `delete` ends in time, and says which it is."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import fuse
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Result, Runtime, wait_until

DEADLINE_S = 10  # of a delete
SLACK_S = 8 if IN_UML else 4  # for all that it does before and after


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[fuse.Hung]:
    """A file system where one hangs for ever."""
    if why := fuse.lacking():
        pytest.skip(f"no FUSE here, so nothing to hang in: {why}")
    with fuse.Hung(tmp_path / "hung") as mounted:
        yield mounted


@pytest.fixture
def start(minirunc: Runtime, bundle: Callable[..., Bundle], hung: fuse.Hung) -> Callable[..., str]:
    """Start a container, one of whose processes will hang in /hung, and wait until it does: its id."""

    def make(args: str, *, own_pids: bool = True) -> str:
        made = bundle(args)
        made.mount("/hung", "bind", str(hung.directory), "bind")
        if not own_pids:
            made.without_namespace("pid")
        id = minirunc.start(made)
        hung.wait()
        return id

    return make


def refused(minirunc: Runtime, *words: str) -> str:
    """What `delete` says when it gives up, which it does in time."""
    began = time.monotonic()
    result = minirunc("delete", *words)
    assert time.monotonic() - began < DEADLINE_S + SLACK_S
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    return result.err


SURVIVOR = r"SIGKILL has not ended (\d+) \(cat, state D\); state D waits for a device or a file system: delete again"


def test_first_process_is_told(minirunc: Runtime, start: Callable[..., str], hung: fuse.Hung) -> None:
    """`delete --force`: by its deadline, with pid, name and state; another one works when it can."""
    id = start("exec cat /hung/x")
    pid, cgroup = minirunc.pid(id), minirunc.cgroup(id)
    found = re.search(SURVIVOR, refused(minirunc, "--force", id))
    assert found is not None
    assert found[1] == str(pid)
    assert minirunc.status(id) == "running"
    hung.end()
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert not cgroup.exists()


def test_another_process_is_told(minirunc: Runtime, start: Callable[..., str], hung: fuse.Hung) -> None:
    """The first has ended, and the container stopped: `delete` and `delete --force` alike."""
    id = start("cat /hung/x & exec sleep 1000", own_pids=False)
    cgroup = minirunc.cgroup(id)
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    (survivor,) = cgroup.joinpath("cgroup.procs").read_text().split()
    for words in ([id], ["--force", id]):
        found = re.search(SURVIVOR, refused(minirunc, *words))
        assert found is not None
        assert found[1] == survivor
        assert minirunc.status(id) == "stopped"
    hung.end()
    assert minirunc("delete", id) == Result(0, "", "")
    assert not cgroup.exists()


def test_two_deletes_at_once_both_end_in_time(minirunc: Runtime, start: Callable[..., str], hung: fuse.Hung) -> None:
    """One works; the other does not wait for it without end, and when nobody hangs any more a third is done at once."""
    id = start("cat /hung/x & exec sleep 1000")
    began = time.monotonic()
    both = [minirunc.popen("delete", "--force", id) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert time.monotonic() - began < DEADLINE_S + SLACK_S
    assert [process.returncode for process in both] == [1, 1]
    assert all("(cat, state D)" in err for err in said)
    hung.end()
    assert minirunc("delete", "--force", id) == Result(0, "", "")


def test_without_a_cgroup_it_is_told_too(minirunc: Runtime, start: Callable[..., str], hung: fuse.Hung) -> None:
    """Where the process itself is all that is known."""
    minirunc.options = ["--cgroup-manager", "disabled"]
    id = start("exec cat /hung/x")
    found = re.search(SURVIVOR, refused(minirunc, "--force", id))
    assert found is not None
    assert found[1] == str(minirunc.pid(id))
    hung.end()
    assert minirunc("delete", "--force", id) == Result(0, "", "")


def test_pause_that_cannot_be_done_ends_with_a_resume(minirunc: Runtime, start: Callable[..., str]) -> None:
    """Who hangs does not freeze, so `pause` waits; when another thaws the container it says so, and waits no more."""
    id = start("cat /hung/x & exec sleep 1000")
    freezer = minirunc.cgroup(id) / "cgroup.freeze"
    pausing = minirunc.popen("pause", id)
    wait_until(lambda: freezer.read_text() == "1\n", "it is freezing")
    began = time.monotonic()
    minirunc.ok("resume", id)
    _, err = pausing.communicate(timeout=60)
    assert time.monotonic() - began < DEADLINE_S / 2
    assert (pausing.returncode, freezer.read_text()) == (1, "0\n")
    assert re.search(r"the cgroup \S+ was thawed by another process meanwhile", err)
