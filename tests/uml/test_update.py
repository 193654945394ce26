"""`update` where cgroup v2 has its controllers: each option in its file, what holds the process, the kernel's no.

The values and their order are those that runc's update.bats asks for, and the borders of each.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground import bpf
from tests.ground.bundle import Bundle
from tests.ground.rootless import given, ordinary_user
from tests.ground.runtime import Result, Runtime, wait_until

MIB = 1 << 20
FIRST = {
    "memory": {"limit": 32 * MIB, "reservation": 24 * MIB},
    "cpu": {"shares": 100, "quota": 500000, "period": 1000000},
    "pids": {"limit": 20},
}
# What a container with FIRST has in its files.
FILES = {
    "memory.max": str(32 * MIB), "memory.low": str(24 * MIB), "memory.swap.max": "max", "cpu.weight": "17",
    "cpu.max": "500000 1000000", "cpu.max.burst": "0", "cpu.idle": "0", "pids.max": "20",
}  # fmt: skip

Told = str | dict[str, Any]  # options, or a document


def update(minirunc: Runtime, id: str, told: Told) -> Result:
    if isinstance(told, str):
        return minirunc("update", *told.split(), id)
    return minirunc("update", "--resources=-", id, input=json.dumps(told))


def found(cgroup: Path) -> dict[str, str]:
    return {name: (cgroup / name).read_text().strip() for name in FILES}


def stored(minirunc: Runtime, id: str) -> Any:
    return json.loads((minirunc.root / id / "config.json").read_text())["linux"]["resources"]


def walk(minirunc: Runtime, bundle: Bundle, steps: list[tuple[Told, dict[str, str]]]) -> None:
    """Update one container again and again: each changes the files it says, and no other."""
    id = minirunc.start(bundle)
    cgroup = minirunc.cgroup(id)
    expected = FILES
    for told, changes in steps:
        assert update(minirunc, id, told) == Result(0, "", ""), told
        expected = expected | changes
        assert found(cgroup) == expected, told


def mem(limit: str = "", swap: str = "", low: str = "") -> dict[str, str]:
    values = {"memory.max": limit, "memory.swap.max": swap, "memory.low": low}
    return {name: value for name, value in values.items() if value}


MEMORY: list[tuple[Told, dict[str, str]]] = [
    ("--memory 67108864", mem("67108864")),
    ("--memory 50M", mem("52428800")),
    ("--memory-reservation 33554432", mem(low="33554432")),
    ("--memory-swap -1", mem()),
    ("--memory 52428800 --memory-swap 96468992", mem("52428800", str(96468992 - 52428800))),
    ("--memory 60M", mem(str(60 * MIB), str(96468992 - 60 * MIB))),  # memory and swap together stay
    ("--memory-swap 62914560", mem(swap="0")),  # equal: no swap
    ("--memory -1", mem("max", "max")),
    ("--memory 30M --memory-swap 50M", mem(str(30 * MIB), str(20 * MIB))),  # both lower
    ("--memory 60M --memory-swap 80M", mem(str(60 * MIB))),  # more memory than memory and swap before
    ("--memory 20M --memory-swap 25M", mem(str(20 * MIB), str(5 * MIB))),
    ({"memory": {"limit": 64 * MIB, "swap": 0}}, mem(str(64 * MIB))),
    ({"memory": {"limit": 0, "reservation": 0}}, mem()),
    ("--memory-reservation -1", mem(low="max")),
    ({"memory": {"limit": -1, "swap": 8 * MIB}}, mem("max", str(8 * MIB))),
    ({"memory": {"limit": 16 * MIB, "swap": -1}}, mem(str(16 * MIB), "max")),
    ("--kernel-memory= --memory 32m", mem(str(32 * MIB))),
    (FIRST, mem(low=FILES["memory.low"])),
]
CPU: list[tuple[Told, dict[str, str]]] = [
    ("--cpu-period 900000", {"cpu.max": "500000 900000"}),
    ("--cpu-quota 600000", {"cpu.max": "600000 900000"}),
    ("--cpu-quota -1", {"cpu.max": "max 900000"}),
    ("--cpu-share 200", {"cpu.weight": "29"}),
    (FIRST, {"cpu.max": "500000 1000000", "cpu.weight": "17"}),
    ("--cpu-period 900000 --cpu-quota 600000 --cpu-share 200", {"cpu.max": "600000 900000", "cpu.weight": "29"}),
    ("--cpu-quota -1 --cpu-period 100000", {"cpu.max": "max 100000"}),
    *((f"--cpu-share {shares}", {"cpu.weight": str(weight)})
      for shares, weight in ((1, 1), (3, 2), (0, 2), (2, 1), (1024, 100), (262144, 10000), (262145, 10000))),
    # a burst and a quota, up and down, both at once
    ("--cpu-quota 20000 --cpu-burst 20000", {"cpu.max": "20000 100000", "cpu.max.burst": "20000"}),
    ("--cpu-quota 50000 --cpu-burst 40000", {"cpu.max": "50000 100000", "cpu.max.burst": "40000"}),
    ("--cpu-quota 10000 --cpu-burst 10000", {"cpu.max": "10000 100000", "cpu.max.burst": "10000"}),
    ("--cpu-period 200000", {"cpu.max": "10000 200000"}),
    ("--cpu-burst 0", {"cpu.max.burst": "0"}),
    ("--cpu-period 1000 --cpu-quota 1000", {"cpu.max": "1000 1000"}),
    ("--cpu-period 1000000", {"cpu.max": "1000 1000000"}),
    ("--cpu-period 0 --cpu-quota 0", {}),
    # an idle cgroup has no weight: the one that was told last
    ("--cpu-share 200", {"cpu.weight": "29"}),
    ("--cpu-idle 0", {}),
    ("--cpu-idle 1", {"cpu.idle": "1", "cpu.weight": "0"}),
    ("--cpu-period 10000", {"cpu.max": "1000 10000"}),
    ("--cpu-idle 1", {}),
    ("--cpu-idle 0", {"cpu.idle": "0", "cpu.weight": "100"}),
    ({"cpu": {"idle": 1}}, {"cpu.idle": "1", "cpu.weight": "0"}),
    ("--cpu-share 200", {"cpu.idle": "0", "cpu.weight": "29"}),
    ("--cpu-rt-period 1000000 --cpu-rt-runtime 950000", {}),
]  # fmt: skip
PIDS: list[tuple[Told, dict[str, str]]] = [
    ("--pids-limit 10", {"pids.max": "10"}),
    ("--pids-limit -1", {"pids.max": "max"}),
    ("--pids-limit 12345", {"pids.max": "12345"}),
    ("--pids-limit 0", {"pids.max": "1"}),
    ("--pids-limit 1", {}),
    ("--pids-limit 4194304", {"pids.max": "4194304"}),
    ({"pids": {"limit": -5}}, {"pids.max": "max"}),
    ({"pids": {}}, {}),
    ({"unified": {"pids.max": "9", "cpu.max": "max 100000", "cpu.weight": "16"}},
     {"pids.max": "9", "cpu.max": "max 100000", "cpu.weight": "16"}),
    ("--pids-limit 8", {"pids.max": "8"}),  # of a unified limit that was told before it
]  # fmt: skip


@pytest.mark.parametrize("steps", [MEMORY, CPU, PIDS], ids=["memory", "cpu", "pids"])
def test_each_option_is_in_its_file(
    minirunc: Runtime, limited: Callable[..., Bundle], steps: list[tuple[Told, dict[str, str]]]
) -> None:
    """What is named has its new value, at once; what is not has the one it had."""
    walk(minirunc, limited("exec sleep 1000", **FIRST), steps)


def test_period_and_quota_without_a_word_in_the_configuration(
    minirunc: Runtime, limited: Callable[..., Bundle]
) -> None:
    """The other one is what the cgroup has: max and 100000, or what somebody set."""
    for option, value in (("--cpu-period 50000", "max 50000"), ("--cpu-quota 30000", "30000 100000")):
        id = minirunc.start(limited("exec sleep 1000"))
        assert update(minirunc, id, option) == Result(0, "", "")
        file = minirunc.cgroup(id) / "cpu.max"
        assert file.read_text() == f"{value}\n"
    minirunc.ok("delete", "--force", id)
    id = minirunc.start(limited("exec sleep 1000", unified={"cpu.max": "20000 200000"}))
    assert update(minirunc, id, "--cpu-period 50000") == Result(0, "", "")
    assert (minirunc.cgroup(id) / "cpu.max").read_text() == "20000 50000\n"
    assert stored(minirunc, id)["unified"] == {}


@pytest.mark.parametrize("pause", [False, True])
def test_rates_of_devices(minirunc: Runtime, limited: Callable[..., Bundle], disk: Path, pause: bool) -> None:
    """io.max has a line a device: a rate that is told takes the place of the one before, 0 takes it away."""
    major, minor = divmod(disk.stat().st_rdev, 256)

    def rate(rate: int) -> list[dict[str, int]]:
        return [{"major": major, "minor": minor, "rate": rate}]

    id = minirunc.start(limited("exec sleep 1000", blockIO={"throttleReadBpsDevice": rate(485760) * 2}))
    file = minirunc.cgroup(id) / "io.max"
    if pause:
        minirunc.ok("pause", id)
    rates = {
        "throttleReadBpsDevice": rate(10485760),
        "throttleWriteBpsDevice": rate(9437184),
        "throttleReadIOPSDevice": rate(1000),
        "throttleWriteIOPSDevice": rate(900),
    }
    assert update(minirunc, id, {"blockIO": rates}) == Result(0, "", "")
    assert file.read_text() == f"{major}:{minor} rbps=10485760 wbps=9437184 riops=1000 wiops=900\n"
    no_rate = {"throttleReadBpsDevice": rate(0)}
    assert update(minirunc, id, {"blockIO": no_rate}) == Result(0, "", "")
    assert file.read_text() == f"{major}:{minor} rbps=max wbps=9437184 riops=1000 wiops=900\n"
    # taken back, with the line of another update; and a line that was not there
    refused = {"blockIO": {"throttleReadBpsDevice": rate(5)}, "unified": {"io.max": f"{major}:{minor} x=1"}}
    assert update(minirunc, id, refused).status == 1
    assert file.read_text() == f"{major}:{minor} rbps=max wbps=9437184 riops=1000 wiops=900\n"
    none = {key: rate(0) for key in rates}
    assert update(minirunc, id, {"blockIO": none}) == Result(0, "", "")
    assert file.read_text() == ""
    assert update(minirunc, id, refused).status == 1
    assert file.read_text() == ""
    assert minirunc.status(id) == ("paused" if pause else "running")


def test_weight_without_bfq_and_io_cost(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """This kernel has neither file: named, and what was written before is taken back."""
    id = minirunc.start(limited("exec sleep 1000", **FIRST))
    result = update(minirunc, id, "--blkio-weight 100 --pids-limit 5 --memory 64m")
    assert result.status == 1
    assert "update: blockIO: this kernel has no io.weight" in result.err
    assert found(minirunc.cgroup(id)) == FILES


NO: list[tuple[Told, str]] = [
    ("--cpu-period 999 --cpu-quota 5000", "cpu: unable to set cpu.max to '5000 999': invalid argument"),
    ("--cpu-period 1000001", "cpu: unable to set cpu.max to '500000 1000001': invalid argument"),
    ("--cpu-quota 999", "cpu: unable to set cpu.max to '999 1000000': invalid argument"),
    ("--pids-limit 4194305", "pids: unable to set pids.max to '4194305': invalid argument"),
    ("--cpu-burst 500001", "cpu.burst: 500001 is above linux.resources.cpu.quota 500000"),
    ("--cpu-idle 2", "cpu.idle: expected 0 or 1, got 2"),
    ("--cpuset-cpus 0", "cpu: this kernel has no cpuset controller"),
    ("--memory 64m --memory-swap 32m", "memory.swap: memory+swap limit should be >= memory limit"),
    ({"rdma": {"mlx5_0": {"hcaHandles": 1}}}, "rdma: this kernel has no rdma controller"),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "hugepageLimits: this kernel has no hugetlb controller"),
    # all that came before the last has its old value again
    (FIRST | {"pids": {"limit": 5}, "memory": {"limit": 16 * MIB, "swap": 20 * MIB, "reservation": 5 * MIB},
              "cpu": {"quota": 50000, "period": 100000, "burst": 50000, "shares": 512},
              "unified": {"memory.high": "x"}}, "unified: unable to set memory.high to 'x': invalid argument"),
    ({"cpu": {"idle": 1}, "unified": {"memory.high": "x"}}, "unified: unable to set memory.high"),
]  # fmt: skip


def test_what_is_refused_changes_nothing(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """One error; the files and what is stored are as before, each time."""
    id = minirunc.start(limited("exec sleep 1000", **FIRST))
    cgroup, before = minirunc.cgroup(id), stored(minirunc, id)
    for told, why in NO:
        result = update(minirunc, id, told)
        assert (result.status, len(result.err.splitlines())) == (1, 1)
        assert why in result.err, told
        assert (found(cgroup), stored(minirunc, id)) == (FILES, before), told


def test_idle_container_is_taken_back(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Its weight is none to be written."""
    id = minirunc.start(limited("exec sleep 1000", cpu={"idle": 1, "quota": 20000, "burst": 10000}))
    before = found(minirunc.cgroup(id))
    told = {"cpu": {"shares": 200, "quota": 50000, "burst": 30000}, "unified": {"memory.high": "x"}}
    assert update(minirunc, id, told).status == 1
    assert found(minirunc.cgroup(id)) == before


def holding(minirunc: Runtime, limited: Callable[..., Bundle], **memory: object) -> tuple[str, Path]:
    """A container whose process has 16 MiB: dd fills a buffer of this size and keeps it."""
    id = minirunc.start(limited("exec dd if=/dev/zero of=/dev/null bs=16M", memory={"limit": 64 * MIB} | memory))
    cgroup = minirunc.cgroup(id)
    wait_until(lambda: int((cgroup / "memory.current").read_text()) > 16 * MIB, "it has its memory")
    return id, cgroup


def test_memory_below_what_is_in_use_ends_the_process(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Without checkBeforeUpdate the kernel decides."""
    id, _ = holding(minirunc, limited)
    assert update(minirunc, id, "--memory 4M --memory-swap 4M").status in (0, 1)
    minirunc.wait_for_status(id, "stopped")
    assert "container not running" in update(minirunc, id, "--memory 64m").err


def test_check_before_update(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Refused in runc's words, told by the document or once by config.json; the process goes on, its limits, too."""
    id, cgroup = holding(minirunc, limited)
    told = {"memory": {"limit": 1024, "checkBeforeUpdate": True}}
    assert "stdin: memory.limit: rejecting memory limit 1024 <= usage 1" in update(minirunc, id, told).err
    told["memory"]["swap"] = 2048
    assert "stdin: memory.swap: rejecting memory+swap limit 2048 <= usage 1" in update(minirunc, id, told).err
    assert (minirunc.status(id), (cgroup / "memory.max").read_text()) == ("running", f"{64 * MIB}\n")
    minirunc.ok("delete", "--force", id)
    id, cgroup = holding(minirunc, limited, checkBeforeUpdate=True)
    assert "update: memory.limit: rejecting memory limit 4194304 <= usage 1" in update(minirunc, id, "--memory 4m").err
    assert update(minirunc, id, "--memory 48m --pids-limit 5") == Result(0, "", "")
    assert (minirunc.status(id), (cgroup / "memory.max").read_text()) == ("running", f"{48 * MIB}\n")


def test_memory_limit_holds_the_running_container(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """What a process may take is what the last update says."""
    id = minirunc.start(limited("exec sleep 1000", memory={"limit": 128 * MIB}))
    eat = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    assert minirunc("exec", id, *eat).status == 0
    minirunc.ok("update", "--memory", "16M", "--memory-swap", "16M", id)
    assert minirunc("exec", id, *eat).status == 137
    minirunc.ok("update", "--memory", "-1", id)
    assert minirunc("exec", id, *eat).status == 0


def test_pids_limit_holds_the_running_container(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Fewer than there are: none is ended, none is made."""
    id = minirunc.start(limited("sleep 1000 & sleep 1000 & exec sleep 1000", pids={"limit": 9}))
    fork = ("exec", id, "sh", "-c", "(true); (true); echo made")
    wait_until(lambda: (minirunc.cgroup(id) / "pids.current").read_text() == "3\n", "all are there")
    assert minirunc(*fork).out == "made\n"
    minirunc.ok("update", "--pids-limit", "2", id)
    assert (minirunc.cgroup(id) / "pids.current").read_text() == "3\n"
    assert minirunc(*fork).status != 0
    minirunc.ok("update", "--pids-limit", "-1", id)
    assert minirunc(*fork).out == "made\n"


def test_quota_holds_the_running_process(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """It is held in each period, until the quota is taken away."""
    id = minirunc.start(limited("while :; do :; done"))
    stat = minirunc.cgroup(id) / "cpu.stat"

    def number(name: str) -> int:
        return next(int(line.split()[1]) for line in stat.read_text().splitlines() if line.startswith(f"{name} "))

    assert number("nr_throttled") == 0
    minirunc.ok("update", "--cpu-quota", "5000", "--cpu-period", "50000", id)
    wait_until(lambda: number("nr_throttled") > 10, "it is held")
    minirunc.ok("update", "--cpu-quota", "-1", id)
    held, used = number("nr_throttled"), number("usage_usec")
    wait_until(lambda: number("usage_usec") > used + 500_000, "it runs")
    assert number("nr_throttled") <= held + 1


def test_many_updates_leave_one_device_program(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Of limits, of equal rules and of others: the process keeps its device, and no program is left in the kernel."""
    node = {"allow": True, "access": "rw", "type": "c", "major": 240, "minor": 0}
    bundle = limited("while true; do true </dev/n0; done 2>/said", **FIRST, devices=[node])
    bundle.linux["devices"] = [{"path": "/dev/n0", "type": "c", "major": 240, "minor": 0, "fileMode": 0o666}]
    before = bpf.loaded()
    id = minirunc.start(bundle)
    cgroup, said = minirunc.cgroup(id), bundle.rootfs / "said"
    first = bpf.attached(cgroup)
    for turn in range(20):
        minirunc.ok("update", "--pids-limit", str(30 + turn), id)
    assert bpf.attached(cgroup) == first
    for turn in range(20):
        told = {"devices": [node, node | {"minor": turn % 4}]}
        assert update(minirunc, id, told) == Result(0, "", "")
        assert [bpf.name(number) for number in bpf.attached(cgroup)] == ["minirunc"]
    assert bpf.attached(cgroup) != first
    size = said.stat().st_size
    wait_until(lambda: said.stat().st_size > size + 200, "the process uses its device")
    minirunc.ok("kill", id, "KILL")
    wait_until(lambda: len(bpf.loaded() - before) == 1, "the kernel has freed the others")
    assert {line.rpartition(": ")[2] for line in said.read_text().splitlines()[:-1]} == {"No such device or address"}


def test_ordinary_user_updates_his_container(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """In a delegated cgroup."""
    with ordinary_user(minirunc) as home:
        made = given(bundle("exec sleep 1000"), home)
        made.linux["resources"] |= FIRST
        id = minirunc.start(made)
        cgroup = minirunc.cgroup(id)
        assert update(minirunc, id, "--memory 64m --pids-limit 5 --cpu-quota 20000") == Result(0, "", "")
        expected = {"memory.max": str(64 * MIB), "pids.max": "5", "cpu.max": "20000 1000000"}
        assert found(cgroup) == FILES | expected
        minirunc.ok("delete", "--force", id)
