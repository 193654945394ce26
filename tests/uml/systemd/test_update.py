"""`update` where systemd made the cgroup: it knows what the files say, so that no daemon-reload undoes it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Result, Runtime
from tests.uml.systemd.conftest import systemctl

MIB = 1 << 20
FIRST = {
    "memory": {"limit": 32 * MIB, "reservation": 24 * MIB},
    "cpu": {"shares": 100, "quota": 500000, "period": 1000000},
    "pids": {"limit": 20},
}
FILES = (
    "memory.max",
    "memory.low",
    "memory.swap.max",
    "cpu.weight",
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "pids.max",
)
PROPERTIES = ("MemoryMax", "MemoryLow", "MemorySwapMax", "CPUWeight", "CPUQuotaPerSecUSec", "TasksMax")


class Box:
    """A container with FIRST, and what the kernel and systemd have of it."""

    def __init__(self, minirunc: Runtime, bundle: Bundle) -> None:
        self.minirunc = minirunc
        self.id = minirunc.start(bundle, before=["--systemd-cgroup"])
        self.cgroup = minirunc.cgroup(self.id)
        self.unit = self.cgroup.name
        assert self.unit.endswith(f"-{self.id}.scope")

    def update(self, told: str | dict[str, Any]) -> Result:
        if isinstance(told, str):
            return self.minirunc("update", *told.split(), self.id)
        return self.minirunc("update", "-r", "-", self.id, input=json.dumps(told))

    def files(self) -> dict[str, str]:
        return {name: (self.cgroup / name).read_text().strip() for name in FILES}

    def properties(self) -> dict[str, str]:
        lines = systemctl("show", *(f"--property={name}" for name in PROPERTIES), "--", self.unit).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def reloaded(self) -> dict[str, str]:
        """The files, when systemd has written what it knows."""
        systemctl("daemon-reload")
        systemctl("set-property", "--runtime", self.unit, "Description=x", "MemoryHigh=infinity", "TasksAccounting=yes")
        return self.files()


@pytest.fixture
def box(minirunc: Runtime, limited: Callable[..., Bundle]) -> Box:
    return Box(minirunc, limited("exec sleep 1000", **FIRST))


STEPS: list[tuple[str | dict[str, Any], dict[str, str], dict[str, str]]] = [
    ("--memory 64m", {"memory.max": str(64 * MIB)}, {"MemoryMax": str(64 * MIB)}),
    ("--memory 50m --memory-swap 60m", {"memory.max": str(50 * MIB), "memory.swap.max": str(10 * MIB)},
     {"MemoryMax": str(50 * MIB), "MemorySwapMax": str(10 * MIB)}),
    ("--memory -1", {"memory.max": "max", "memory.swap.max": "max"},
     {"MemoryMax": "infinity", "MemorySwapMax": "infinity"}),
    ("--pids-limit 0", {"pids.max": "1"}, {"TasksMax": "1"}),
    ("--pids-limit -1", {"pids.max": "max"}, {"TasksMax": "infinity"}),
    ("--cpu-quota 600000 --cpu-period 900000", {"cpu.max": "603000 900000"}, {"CPUQuotaPerSecUSec": "670ms"}),
    ("--cpu-burst 5000", {"cpu.max.burst": "5000"}, {}),
    ("--cpu-idle 1", {"cpu.idle": "1", "cpu.weight": "0"}, {"CPUWeight": "idle"}),
    ("--cpu-idle 0", {"cpu.idle": "0", "cpu.weight": "100"}, {"CPUWeight": "100"}),
    ("--cpu-idle 1", {"cpu.idle": "1", "cpu.weight": "0"}, {"CPUWeight": "idle"}),
    ("--cpu-share 200", {"cpu.idle": "0", "cpu.weight": "29"}, {"CPUWeight": "29"}),
    ({"unified": {"cpu.max": "max 100000", "cpu.weight": "16", "pids.max": "10"}},
     {"cpu.max": "max 100000", "cpu.weight": "16", "pids.max": "10"},
     {"CPUQuotaPerSecUSec": "infinity", "CPUWeight": "16", "TasksMax": "10"}),
]  # fmt: skip


def test_systemd_knows_each_limit(box: Box) -> None:
    """The files and the properties have what is told and keep the rest, also when systemd writes the files again."""
    files, properties = box.files(), box.properties()
    for told, in_files, in_properties in STEPS:
        assert box.update(told) == Result(0, "", ""), told
        files, properties = files | in_files, properties | in_properties
        assert (box.files(), box.properties()) == (files, properties), told
    assert box.reloaded() == files


@pytest.mark.parametrize("told", [
    {"memory": {"limit": 64 * MIB, "swap": 80 * MIB}, "pids": {"limit": 5},
     "cpu": {"shares": 500, "quota": 50000, "period": 100000, "burst": 10000}, "unified": {"cgroup.max.depth": "x"}},
    {"cpu": {"idle": 1}, "unified": {"cgroup.max.depth": "x"}},
    {"pids": {"limit": 5}, "unified": {"memory.max": "much"}},
    {"pids": {"limit": 2**40}, "memory": {"limit": -1}},
])  # fmt: skip
def test_what_is_refused_changes_nothing(box: Box, told: dict[str, Any]) -> None:
    """By systemd, or by the kernel after it: files and properties are as before, and stay so."""
    before = box.files(), box.properties()
    result = box.update(told)
    assert (result.status, len(result.err.splitlines())) == (1, 1)
    assert (box.files(), box.properties()) == before
    assert box.reloaded() == before[0]


def test_device_rules(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """systemd's own program is asked beside ours: it hears of other rules; of equal ones not."""
    numbers = {"type": "c", "major": 240}
    nodes = [{"path": f"/dev/n{minor}", "minor": minor, "fileMode": 0o666} | numbers for minor in range(3)]

    def rules(*minors: int) -> list[dict[str, Any]]:
        some = [numbers | {"allow": True, "access": "rwm", "minor": minor} for minor in minors]
        return [{"allow": False, "access": "rwm"}, *some]

    bundle = limited("exec sleep 1000", devices=rules(0, 1))
    bundle.linux["devices"] = nodes
    box = Box(minirunc, bundle)
    for told, usable in (({"devices": rules(0, 1)}, [0, 1]), ({"devices": rules(1, 2)}, [1, 2])):
        assert box.update(told) == Result(0, "", "")
        said = minirunc.ok("exec", box.id, "sh", "-c", "for n in 0 1 2; do (: </dev/n$n); done 2>&1; true").splitlines()
        assert [minor for minor in range(3) if said[minor].endswith("No such device or address")] == usable
    allowed = systemctl("show", "--property=DeviceAllow", "--", box.unit)
    assert ("240:1 rwm" in allowed, "240:2 rwm" in allowed, "240:0" in allowed) == (True, True, False)
    result = box.update({"devices": rules(0), "unified": {"cgroup.max.depth": "x"}})
    assert result.status == 1
    assert sorted(systemctl("show", "--property=DeviceAllow", "--", box.unit).splitlines()) == sorted(
        allowed.splitlines()
    )


def test_unit_that_is_gone(box: Box, tmp_path: Path) -> None:
    """A container that has ended is no more to be updated."""
    box.minirunc.ok("kill", box.id, "KILL")
    box.minirunc.wait_for_status(box.id, "stopped")
    assert "container not running" in box.update("--pids-limit 5").err
