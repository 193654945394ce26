"""commands/ps.py: what tests/test_lifecycle.py does not show with runc beside it."""

import json
import re
from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until


@pytest.fixture
def two(minirunc: Runtime, bundle: Callable[..., Bundle]) -> tuple[str, list[int]]:
    """A container of two processes, and their pids."""
    id = minirunc.start(bundle("sleep 1000 & exec sleep 2000"))

    def pids() -> list[int]:
        found: list[int] = json.loads(minirunc.ok("ps", "-f", "json", id))
        return found

    wait_until(lambda: len(pids()) == 2, "two processes")
    wait_until(lambda: "sh" not in minirunc.ok("ps", id, "-e", "-o", "pid,comm").split(), "both are sleep")
    return id, pids()


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ([], r"UID +PID +PPID +C +STIME +TTY +TIME +CMD"),
        (["-ef"], r"UID +PID +PPID +C +STIME +TTY +TIME +CMD"),
        (["-e", "-x"], r" +PID +TTY +STAT +TIME +COMMAND"),
        (["aux"], r"USER +PID +%CPU +%MEM +VSZ +RSS +TTY +STAT +START +TIME +COMMAND"),
        (["-e", "-o", "pid,comm"], r" +PID +COMMAND"),
        (["-e", "-o", "comm,pid"], r"COMMAND +PID"),
        (["-e", "-o", "ppid,pid,args"], r" +PPID +PID +COMMAND"),
    ],
)
def test_table_is_that_of_ps_cut_to_the_container(
    minirunc: Runtime, two: tuple[str, list[int]], options: list[str], header: str
) -> None:
    """The header as ps gives it, and the lines of the container's processes, wherever their PID stands."""
    id, pids = two
    first, *lines = minirunc.ok("ps", id, *options).splitlines()
    assert re.fullmatch(header, first)
    column = first.split().index("PID")
    assert sorted(int(line.split()[column]) for line in lines) == pids
    assert all("sleep" in line for line in lines)


def test_options_choose_among_the_container_s_processes(minirunc: Runtime, two: tuple[str, list[int]]) -> None:
    """What ps leaves out is not there."""
    id, pids = two
    assert minirunc.ok("ps", id, "-o", "pid,comm", "-p", str(pids[1])).split() == [
        "PID",
        "COMMAND",
        str(pids[1]),
        "sleep",
    ]
    assert minirunc.ok("ps", id, "-o", "pid", "-p", "1").split() == ["PID"]


@pytest.mark.parametrize("columns", ["comm", "ppid", "pid="])
def test_table_without_pids_cannot_be_cut(minirunc: Runtime, two: tuple[str, list[int]], columns: str) -> None:
    """runc's words; `pid=` is a column without its name."""
    result = minirunc("ps", two[0], "-e", "-o", columns)
    assert (result.status, result.out) == (1, "")
    assert "couldn't find PID field in ps output" in result.err


def test_what_ps_refuses_is_told_in_its_words(minirunc: Runtime, two: tuple[str, list[int]]) -> None:
    """And is one line."""
    result = minirunc("ps", two[0], "-o", "nosuch")
    assert (result.status, result.out) == (1, "")
    assert "nosuch" in result.err
    assert result.err.count("\n") == 1


def test_json_is_one_line_of_pids(minirunc: Runtime, two: tuple[str, list[int]]) -> None:
    """Those of the host, in ascending order, of all cgroups that the container made; the options of ps do not count."""
    id, pids = two
    assert minirunc.ok("ps", "-f", "json", id, "-p", "1") == f"[{pids[0]},{pids[1]}]\n"
    (minirunc.cgroup(id) / "below").mkdir()
    minirunc.ok("exec", "--detach", "--cgroup", "below", id, "sleep", "3000")
    found = json.loads(minirunc.ok("ps", "--format=json", id))
    assert len(found) == 3
    assert found == sorted(found)
    assert set(pids) < set(found)
    assert len(minirunc.ok("ps", id).splitlines()) == 4


def test_stopped_container_has_no_processes(minirunc: Runtime, two: tuple[str, list[int]]) -> None:
    """That is no error: the header, or null."""
    id, _ = two
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    wait_until(lambda: minirunc.ok("ps", "-f", "json", id) == "null\n", "all are gone")
    assert minirunc.ok("ps", id).split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    minirunc.ok("delete", id)
    for form in ("table", "json"):
        result = minirunc("ps", "-f", form, id)
        assert (result.status, result.out) == (1, "")
        assert f"container does not exist: {id}" in result.err


def test_other_formats_are_refused(minirunc: Runtime, two: tuple[str, list[int]]) -> None:
    """table and json."""
    result = minirunc("ps", "-f", "yaml", two[0])
    assert (result.status, result.out) == (1, "")
    assert "invalid format option: yaml" in result.err
