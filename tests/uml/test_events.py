"""commands/events.py, cgroup/stats.py, cgroup/watch.py, with all the controllers of cgroup v2."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until
from tests.uml.test_io import with_disk
from tests.uml.test_memory import EAT_64_MIB, MIB

NO_LIMIT = 2**64 - 1
TIGHT = {"limit": 16 * MIB, "swap": 16 * MIB}


def stats(minirunc: Runtime, id: str) -> Any:
    """The members of `data`."""
    line = minirunc.ok("events", "--stats", id)
    record = json.loads(line)
    assert line == f'{{"type":"stats","id":"{id}","data":{json.dumps(record["data"], separators=(",", ":"))}}}\n'
    return record["data"]


def keyed(file: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in file.read_text().splitlines())}


def still(minirunc: Runtime, id: str, cgroup: Path) -> tuple[Any, dict[str, str]]:
    """What `events` says, and the cgroup's files, which said the same before and after."""
    for _ in range(50):
        before = {file.name: file.read_text() for file in cgroup.iterdir() if file.stat().st_mode & 0o444}
        data = stats(minirunc, id)
        if all((cgroup / name).read_text() == text for name, text in before.items() if ".pressure" not in name):
            return data, before
    raise AssertionError("the numbers do not stand still")


def test_numbers_are_those_of_the_cgroup_s_files(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Microseconds become nanoseconds, swap counts memory, too; all members of runc 1.5, and no other."""
    bundle = limited(
        "head -c 8m /dev/zero >/dev/shm/file; echo >/ready; sleep 1000 & exec sleep 1001",
        memory={"limit": 32 * MIB, "swap": 48 * MIB},
        pids={"limit": 20},
        cpu={"quota": 5000, "period": 50000},
    )
    bundle.mount("/dev/shm", "tmpfs", "shm", "size=16m")
    id = minirunc.start(bundle)
    cgroup = minirunc.cgroup(id)
    wait_until((bundle.rootfs / "ready").exists, "the file is written")
    wait_until(lambda: (cgroup / "pids.current").read_text() == "2\n", "it sleeps")
    minirunc.ok("pause", id)
    data, files = still(minirunc, id, cgroup)
    cpu = {key: int(value) for key, value in (line.split() for line in files["cpu.stat"].splitlines())}
    raw = {key: int(value) for key, value in (line.split() for line in files["memory.stat"].splitlines())}
    usage = int(files["memory.current"])
    met = int(files["memory.events"].split()[5])
    expected = {
        "cpu": {
            "usage": {name: 1000 * cpu[f"{key}_usec"] for name, key in
                      (("total", "usage"), ("kernel", "system"), ("user", "user"))},
            "throttling": {"periods": cpu["nr_periods"], "throttledPeriods": cpu["nr_throttled"],
                           "throttledTime": 1000 * cpu["throttled_usec"]},
        },
        "memory": {
            "cache": raw["file"],
            "usage": {"limit": 32 * MIB, "usage": usage, "max": int(files["memory.peak"]), "failcnt": met},
            "swap": {"limit": 48 * MIB, "usage": usage, "failcnt": 0},
            "raw": raw,
        },
        "pids": {"current": 2, "limit": 20},
    }  # fmt: skip
    assert list(data) == ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"]
    assert {name: data[name] for name in expected} == expected
    assert [list(data["cpu"]["usage"]), list(data["memory"])] == [["total", "kernel", "user"], list(expected["memory"])]
    assert list(data["memory"]["raw"]) == sorted(raw)
    assert (data["hugetlb"], data["intel_rdt"], data["network_interfaces"]) == ({}, {}, None)
    assert min(cpu["usage_usec"], cpu["nr_throttled"], raw["shmem"]) > 0
    assert set(data["cpuset"].values()) == {0}
    assert len(data["cpuset"]) == 9


def test_what_the_container_takes_shows(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Memory, processor time and processes: more of each after the container took it; no limit is none."""
    id = minirunc.start(limited("exec sleep 1000"))
    before = stats(minirunc, id)
    assert before["pids"] == {"current": 1}
    assert before["memory"]["usage"]["limit"] == before["memory"]["swap"]["limit"] == NO_LIMIT
    assert "throttling" not in before["cpu"]
    minirunc.ok("exec", id, "sh", "-c", "head -c 16m /dev/zero >/dev/shm/file")
    minirunc.ok("exec", id, "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done")
    minirunc.ok("exec", "--detach", id, "sleep", "1000")
    after = stats(minirunc, id)
    assert after["pids"] == {"current": 2}
    grown = after["memory"]["usage"]["usage"] - before["memory"]["usage"]["usage"]
    assert 15 * MIB < grown < 32 * MIB
    assert after["memory"]["raw"]["shmem"] - before["memory"]["raw"]["shmem"] == 16 * MIB
    assert after["memory"]["cache"] - before["memory"].get("cache", 0) >= 16 * MIB
    assert after["memory"]["usage"]["max"] >= after["memory"]["usage"]["usage"]
    spent = {name: after["cpu"]["usage"][name] - before["cpu"]["usage"][name] for name in ("total", "kernel", "user")}
    assert 0.1e9 < spent["total"] < 10e9
    assert abs(spent["kernel"] + spent["user"] - spent["total"]) < 1e6


def test_failcnt_is_how_often_the_limit_was_met(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """As in cgroup v1, from memory.events."""
    id = minirunc.start(limited("exec sleep 1000", memory=TIGHT))
    assert stats(minirunc, id)["memory"]["usage"]["failcnt"] == 0
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 137
    met = keyed(minirunc.cgroup(id) / "memory.events")["max"]
    assert stats(minirunc, id)["memory"]["usage"]["failcnt"] == met > 0


def test_io_is_told_by_device_and_direction(minirunc: Runtime, limited: Callable[..., Bundle], disk: Path) -> None:
    """io.stat in the tables of cgroup v1: bytes and requests."""
    bundle = with_disk(limited("exec sleep 1000"), disk)
    id = minirunc.start(bundle)
    assert "ioServiceBytesRecursive" not in stats(minirunc, id)["blkio"]
    for ends, count in (("if=/dev/zero of=/dev/disk oflag=direct", 8), ("if=/dev/disk of=/dev/null iflag=direct", 4)):
        minirunc.ok("exec", id, "dd", *ends.split(), "bs=64k", f"count={count}")
    number = disk.stat().st_rdev
    device = {name: value for name, value in (("major", os.major(number)), ("minor", os.minor(number))) if value}
    blkio = stats(minirunc, id)["blkio"]
    own = {
        table: [row for row in rows if row.get("major") == os.major(number)]
        for table, rows in blkio.items()
        if table != "psi"
    }
    assert own == {
        "ioServiceBytesRecursive": [
            device | {"op": "Read", "value": 4 << 16},
            device | {"op": "Write", "value": 8 << 16},
        ],
        "ioServicedRecursive": [device | {"op": "Read", "value": 4}, device | {"op": "Write", "value": 8}],
    }
    assert list(own["ioServicedRecursive"][0]) == [*device, "op", "value"]


class Follower:
    """`events` in the background."""

    def __init__(self, minirunc: Runtime, *args: object) -> None:
        self.process = minirunc.popen("events", *args)

    def line(self) -> str:
        """The next line."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def end(self) -> tuple[int, str, str]:
        """Its end: the status, and what it said since."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def test_oom_kill_is_told_once_and_at_once(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A record for each time that somebody is killed, be it in a cgroup the container made; not for those before."""
    id = minirunc.start(limited("exec sleep 1000", memory=TIGHT))
    told = f'{{"type":"oom","id":"{id}"}}\n'
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 137
    follower = Follower(minirunc, "--interval", "3s", id)
    assert follower.line().startswith(f'{{"type":"stats","id":"{id}","data":{{')
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 137
    lines = [follower.line()]
    below = minirunc.cgroup(id) / "below"
    below.mkdir()
    script = f"echo $$ >{below}/cgroup.procs && exec {EAT_64_MIB}"
    assert subprocess.run(["sh", "-c", script], check=False, stderr=subprocess.DEVNULL).returncode == -9
    wait_until(lambda: "oom_kill 3" in (minirunc.cgroup(id) / "memory.events").read_text(), "three were killed")
    minirunc.ok("delete", "--force", id)
    status, out, err = follower.end()
    lines += out.splitlines(keepends=True)
    assert (status, err, lines.count(told)) == (0, "", 2)
    assert {line.partition(",")[0] for line in lines} <= {'{"type":"oom"', '{"type":"stats"'}


@pytest.mark.parametrize("keep", [True, False])
def test_oom_kill_of_the_first_process_is_told_before_the_end(
    minirunc: Runtime, limited: Callable[..., Bundle], keep: bool
) -> None:
    """The cgroup is empty a moment later, and `run` removes it, maybe before we look."""
    bundle = limited(f"echo >/ready; until [ -e /go ]; do sleep 0.1; done; exec {EAT_64_MIB}", memory=TIGHT)
    bundle.write()
    id = minirunc.id()
    runs = minirunc.popen("run", *["--keep"][: int(keep)], "--bundle", bundle.path, id)
    wait_until((bundle.rootfs / "ready").exists, "it runs")
    follower = Follower(minirunc, "--interval", "500ms", id)
    assert follower.line()
    (bundle.rootfs / "go").touch()
    status, out, err = follower.end()
    assert (status, err) == (0, "")
    assert out.endswith(f'{{"type":"oom","id":"{id}"}}\n')
    assert runs.wait(60) == 137
    if keep:
        minirunc.ok("delete", id)


def test_killed_by_the_host_s_limit(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A limit above the container's cgroup: the victim is in the container, so it is told."""
    bundle = limited("exec sleep 1000")
    bundle.linux["cgroupsPath"] = f"/{minirunc.token}/{minirunc.id()}"
    id = minirunc.start(bundle)
    above = minirunc.cgroup(id).parent
    for name, value in (("max", 16 * MIB), ("swap.max", 0)):
        (above / f"memory.{name}").write_text(str(value))
    follower = Follower(minirunc, "--interval", "500ms", id)
    assert follower.line()
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 137
    minirunc.ok("delete", "--force", id)
    status, out, err = follower.end()
    assert (status, err, out.count('"oom"')) == (0, "", 1)


def test_members_are_those_of_runc(minirunc: Runtime, limited: Callable[..., Bundle], tmp_path: Path) -> None:
    """Debian's runc 1.1: each member in its order and of its type. It prints structures without a number, which 1.5
    leaves out, and does not know memory.peak yet."""
    (tmp_path / "runc").mkdir()
    runc = Runtime(tmp_path / "runc")
    runc.binary = "runc"
    found = []
    for runtime in (runc, minirunc):
        bundle = limited(
            "while :; do :; done",
            memory={"limit": 32 * MIB, "swap": 48 * MIB},
            pids={"limit": 20},
            cpu={"quota": 5000, "period": 50000},
        )
        id = runtime.start(bundle)
        throttled = runtime.cgroup(id) / "cpu.stat"
        wait_until(lambda file=throttled: keyed(file)["nr_throttled"] > 2, "it is throttled")
        record = json.loads(runtime.ok("events", "--stats", id))
        assert record.pop("id") == id
        runtime.ok("delete", "--force", id)
        found.append(record)
    theirs, ours = found
    for name in ("kernel", "kernelTCP"):
        assert theirs["data"]["memory"].pop(name) == {"limit": 0, "failcnt": 0}
    assert ours["data"]["memory"]["usage"].pop("max") > 0
    assert shape(ours) == shape(theirs)
    for member in ("usage", "swap"):
        assert ours["data"]["memory"][member]["limit"] == theirs["data"]["memory"][member]["limit"]
    assert ours["data"]["pids"] == theirs["data"]["pids"]
    assert runc.close() == []


def shape(value: Any) -> Any:
    """Names in order, and types; what stands in memory.stat is in an order, too."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items()]
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__
