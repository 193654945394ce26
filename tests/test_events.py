"""commands/events.py on a host whose controllers cgroup v1 holds: it works with what is there. With all of them:
tests/uml/test_events.py; intelRdt: tests/test_intel_rdt.py.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until

MEMBERS = ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]


@pytest.fixture
def running(minirunc: Runtime, bundle: Callable[..., Bundle]) -> str:
    """A container's id."""
    return minirunc.start(bundle("exec sleep 1000"))


def stats(minirunc: Runtime, id: str) -> Any:
    return json.loads(minirunc.ok("events", "--stats", id))["data"]


def test_one_record_of_what_the_files_say(minirunc: Runtime, running: str) -> None:
    """--stats: one line, at once; processes are counted where no pids controller counts them."""
    cgroup = minirunc.cgroup(running)
    minirunc.ok("exec", "--detach", running, "sleep", "1000")
    minirunc.ok("pause", running)
    started = time.monotonic()
    line = minirunc.ok("events", "--stats", running)
    assert time.monotonic() - started < 4
    assert line.startswith(f'{{"type":"stats","id":"{running}","data":{{"cpu":{{"usage":{{"total":')
    assert line.count("\n") == 1
    data = json.loads(line)["data"]
    assert list(data) == MEMBERS
    assert data["pids"]["current"] == 2
    cpu = dict(each.split() for each in (cgroup / "cpu.stat").read_text().splitlines())
    assert data["cpu"]["usage"]["total"] == 1000 * int(cpu["usage_usec"])
    assert data["hugetlb"] == {
        file.name.split(".")[1]: {"failcnt": 0} for file in sorted(cgroup.glob("hugetlb.*.rsvd.max"))
    }
    for controller in ("memory", "io"):
        if not (cgroup / f"{controller}.stat").exists():
            assert not set(data[{"io": "blkio"}.get(controller, controller)]) - {"psi"}
    assert (data["intel_rdt"], data["network_interfaces"]) == ({}, None)


def test_pressure_is_told_where_the_kernel_measures_it(minirunc: Runtime, running: str) -> None:
    """psi of cpu, memory and blkio: the numbers of the .pressure files; without such a file no member."""
    cgroup = minirunc.cgroup(running)
    minirunc("exec", running, "sh", "-c", "for i in 1 2 3 4; do (while :; do :; done) & done; sleep 0.5; kill -9 -1")
    files = {"cpu": "cpu", "memory": "memory", "blkio": "io"}

    def said() -> dict[str, Any]:
        found = {}
        for member, name in files.items():
            try:
                lines = (cgroup / f"{name}.pressure").read_text().splitlines()
            except OSError:
                continue
            pairs = [(line.split()[0], [pair.split("=") for pair in line.split()[1:]]) for line in lines]
            found[member] = {kind: {key: float(value) for key, value in values} for kind, values in pairs}
        return found

    for _ in range(50):
        before, data = said(), stats(minirunc, running)
        if said() == before:
            break
    assert {member: data[member]["psi"] for member in files if "psi" in data[member]} == before
    if before:
        assert list(data["cpu"]["psi"]) == ["some", "full"]
        assert list(data["cpu"]["psi"]["some"]) == ["avg10", "avg60", "avg300", "total"]
        assert data["cpu"]["psi"]["some"]["total"] > 0
        (cgroup / "cgroup.pressure").write_text("0")
        assert not [member for member in files if "psi" in stats(minirunc, running)[member]]


def test_records_come_at_intervals(minirunc: Runtime, running: str) -> None:
    """--interval: the first one after it has passed, and so on; each is there when it is due."""
    started = time.monotonic()
    follower = minirunc.popen("events", "--interval", "0.4s", running)
    assert follower.stdout
    for number in range(1, 6):
        assert json.loads(follower.stdout.readline())["type"] == "stats"
        passed = time.monotonic() - started
        assert passed >= 0.4 * number
    assert passed < 20
    minirunc.ok("delete", "--force", running)
    assert follower.wait(60) == 0


def test_end_of_the_container_is_the_end(minirunc: Runtime, running: str) -> None:
    """At once, whatever the interval, with status 0 and not a word; it is the last process that counts."""
    follower = minirunc.popen("events", "--interval", "1000h", running)
    wait_until(lambda: watches(follower), "it waits")
    minirunc.ok("kill", running, "KILL")
    assert follower.communicate(timeout=60) == ("", "")
    assert follower.returncode == 0


def test_processes_left_behind_are_watched_on(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Without a pid namespace others outlive the first process: the end is when the cgroup is empty."""
    made = bundle("sleep 1001 & exec sleep 1000")
    made.without_namespace("pid")
    id = minirunc.start(made)
    wait_until(lambda: stats(minirunc, id)["pids"] == {"current": 2}, "two processes")
    follower = minirunc.popen("events", "--interval", "200ms", id)
    assert follower.stdout
    assert follower.stdout.readline()
    os.kill(minirunc.pid(id), signal.SIGKILL)  # `kill` would end all of them
    minirunc.wait_for_status(id, "stopped")
    assert any('"pids":{"current":1}' in follower.stdout.readline() for _ in range(20))
    assert follower.poll() is None
    assert f"container with id {id} is not running" in minirunc("events", id).err
    minirunc.ok("delete", id)
    assert follower.wait(60) == 0


@pytest.mark.parametrize("status", ["created", "paused"])
def test_not_only_of_a_running_one(minirunc: Runtime, bundle: Callable[..., Bundle], status: str) -> None:
    """As with runc: any but a stopped one."""
    id = minirunc.create(bundle("exec sleep 1000"))
    if status == "paused":
        minirunc.ok("start", id)
        minirunc.ok("pause", id)
    assert stats(minirunc, id)["pids"] == {"current": 1}
    follower = minirunc.popen("events", "--interval", "1000h", id)
    wait_until(lambda: watches(follower), "it waits")
    minirunc.ok("delete", "--force", id)
    assert follower.wait(60) == 0


@pytest.mark.parametrize("options", [[], ["--stats"]])
def test_a_stopped_container_is_an_error(minirunc: Runtime, bundle: Callable[..., Bundle], options: list[str]) -> None:
    """runc's words; those of a container that is not there are the usual ones."""
    id = minirunc.start(bundle("true"))
    minirunc.wait_for_status(id, "stopped")
    result = minirunc("events", *options, id)
    assert (result.status, result.out) == (1, "")
    assert result.err.endswith(f'level=error msg="container with id {id} is not running"\n')
    minirunc.ok("delete", id)
    result = minirunc("events", *options, id)
    assert (result.status, result.out) == (1, "")
    assert f"container does not exist: {id}" in result.err


@pytest.mark.parametrize("interval", ["0", "0s", "-1s"])
def test_an_interval_is_longer_than_nothing(minirunc: Runtime, running: str, interval: str) -> None:
    """Also where none is used; a text that is no duration is a usage error (tests/argv_corpus.py)."""
    result = minirunc("events", "--stats", "--interval", interval, running)
    assert (result.status, result.out) == (1, "")
    assert "duration interval must be greater than 0" in result.err


def test_reader_that_leaves_ends_it(minirunc: Runtime, running: str) -> None:
    """At once, not with the next record; nothing is said."""
    follower = minirunc.popen("events", "--interval", "1000h", running)
    wait_until(lambda: watches(follower), "it waits")
    assert follower.stdout
    assert follower.stderr
    follower.stdout.close()
    assert follower.wait(60) == 141
    assert follower.stderr.read() == ""
    read, write = os.pipe()
    os.close(read)
    assert minirunc("events", "--stats", running, stdout=write) == (141, "", "")
    os.close(write)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_signal_ends_it(minirunc: Runtime, running: str, number: int, status: int) -> None:
    """As any program; the container is left alone."""
    follower = minirunc.popen("events", "--interval", "1000h", running)
    wait_until(lambda: watches(follower), "it waits")
    follower.send_signal(number)
    assert follower.wait(60) == status
    assert minirunc.status(running) == "running"


def test_output_may_be_a_file(minirunc: Runtime, running: str, tmp_path: Path) -> None:
    """Nobody leaves a file; each record is in it when it was due."""
    with (tmp_path / "log").open("w") as log:
        follower = minirunc.popen("events", "--interval", "100ms", running, stdout=log)
        wait_until(lambda: (tmp_path / "log").read_text().count("\n") >= 3, "three records")
        minirunc.ok("delete", "--force", running)
        assert follower.wait(60) == 0


def test_cgroup_without_controllers_is_told_as_runc_does(
    minirunc: Runtime, pure_v2: list[str], bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Debian's runc 1.1 on cgroup v2: the same members, but for structures without a number, which 1.5 leaves out."""
    (tmp_path / "runc").mkdir()
    runc = Runtime(tmp_path / "runc")
    runc.binary, runc.prefix = "runc", pure_v2
    records = []
    for runtime in (runc, minirunc):
        id = runtime.start(bundle("exec sleep 1000"))
        data = stats(runtime, id)
        runtime.ok("delete", "--force", id)
        for name in ("usage", "swap", "kernel", "kernelTCP"):
            assert data["memory"].pop(name, None) == ({"limit": 0, "failcnt": 0} if runtime is runc else None)
        assert data["cpu"].pop("throttling", None) == ({} if runtime is runc else None)
        for name in ("cpu", "memory", "blkio"):
            data[name].pop("psi", None)
        assert list(data["cpu"]["usage"]) == ["total", "kernel", "user"]
        del data["cpu"]["usage"]
        records.append(json.dumps(data))
    assert records[0] == records[1]
    assert runc.close() == []


def watches(process: "subprocess.Popen[str]") -> bool:
    """Whether it waits in poll(2) for its cgroup."""
    if process.poll() is not None:
        return False
    fds = Path(f"/proc/{process.pid}/fd")
    waits = Path(f"/proc/{process.pid}/wchan").read_text()
    return "poll" in waits and any(os.readlink(fd).endswith("/cgroup.events") for fd in fds.iterdir())
