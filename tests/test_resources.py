"""config.json linux.resources where the host has the controller in cgroup v2: devices, hugetlb; the rest: tests/uml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

# Numbers for experiments (devices.txt): no driver answers, but the device program is asked before.
NODES = {"c3": ("c", 240, 3), "c4": ("c", 240, 4), "d3": ("c", 241, 3), "b3": ("b", 240, 3)}
WAYS = [f"{node} {way}" for node in NODES for way in "rw"]


def rule(allow: bool, access: str, **which: object) -> dict[str, Any]:
    return {"allow": allow, "access": access, **which}


RULES: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "none": ([], []),
    "all denied": ([rule(False, "rwm")], []),
    "all allowed": ([rule(True, "rwm")], WAYS),
    "all allowed by name": ([rule(True, "rwm", type="a")], WAYS),
    "one, to be read": ([rule(True, "r", type="c", major=240, minor=3)], ["c3 r"]),
    "one, to be written": ([rule(True, "w", type="b", major=240, minor=3)], ["b3 w"]),
    "any minor": ([rule(True, "rm", type="c", major=240)], ["c3 r", "c4 r"]),
    "any major": ([rule(True, "rw", type="c", major=-1, minor=3)], ["c3 r", "c3 w", "d3 r", "d3 w"]),
    "the last counts": (
        [rule(True, "rw", type="c", major=240), rule(False, "w", type="c", major=240, minor=4)],
        ["c3 r", "c3 w", "c4 r"],
    ),
}


@pytest.mark.observes(
    *(f"linux.resources.devices[].{name}" for name in ("allow", "type", "major", "minor", "access")),
)
@pytest.mark.parametrize(("rules", "allowed"), RULES.values(), ids=RULES)
def test_device_rules(
    minirunc: Runtime, bundle: Callable[..., Bundle], rules: list[dict[str, Any]], allowed: list[str]
) -> None:
    """resources.devices: in the listed order; a number that is not given is any; what no rule allows is denied."""
    made = bundle("for node in c3 c4 d3 b3; do (: </dev/$node); (: >/dev/$node); done 2>&1")
    made.linux["devices"] = [
        {"path": f"/dev/{name}", "type": kind, "major": major, "minor": minor, "fileMode": 0o666}
        for name, (kind, major, minor) in NODES.items()
    ]
    made.linux["resources"]["devices"] = rules
    answers = [line.rpartition(": ")[2] for line in minirunc.run(made).out.splitlines()]
    assert set(answers) <= {"Operation not permitted", "No such device or address"}
    assert [way for way, said in zip(WAYS, answers, strict=True) if said != "Operation not permitted"] == allowed


@pytest.mark.observes("linux.resources.hugepageLimits[].pageSize", "linux.resources.hugepageLimits[].limit")
def test_huge_pages_are_limited(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """hugepageLimits: of each size, in use and reserved; seen inside, others are without limit."""
    controllers = (leftovers.cgroup2_mounts()[0] / "cgroup.controllers").read_text()
    if "hugetlb" not in controllers or not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").exists():
        pytest.skip("the host has no hugetlb controller in cgroup v2, or no huge pages of 2 MB")
    made = bundle("cd /sys/fs/cgroup && cat hugetlb.2MB.max hugetlb.2MB.rsvd.max hugetlb.2MB.current")
    made.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 6 << 20}]
    assert minirunc.run(made) == (0, "6291456\n6291456\n0\n", "")
