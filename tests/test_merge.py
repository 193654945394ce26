"""config/linux/resources/merge.py and the options of `update`: from what is told to what is stored and written."""

from typing import Any

import pytest

from minirunc.base import log
from minirunc.base.errors import Error
from minirunc.commands.update import _bytes, _number
from minirunc.config.linux.resources import Resources, limits, merge

GIB = 2**30


def told(document: dict[str, Any], stored: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What is stored afterwards, and what would be written."""
    said = merge.told(document)
    after = merge.merged(stored, said)
    lines = limits(Resources.parse(merge.wanted(said, after)), lambda file: file != "io.bfq.weight")
    return after, [(file, value) for _, file, value in lines]


STORED = {
    "memory": {"limit": 32, "reservation": 8, "swap": 48},
    "cpu": {"shares": 200, "quota": 5000, "period": 10000, "burst": 10, "cpus": "0"},
    "pids": {"limit": 20},
    "x-unknown": {"kept": [1]},
}

CASES: list[tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = [
    # document; what it changes in STORED; what is written
    ({}, {}, []),
    ({"memory": None, "cpu": {}}, {}, []),
    ({"pids": {"limit": 5}}, {"pids": {"limit": 5}}, [("pids.max", "5")]),
    ({"pids": {"limit": 0}}, {"pids": {"limit": 0}}, [("pids.max", "1")]),
    ({"memory": {"limit": 40}}, {"memory": {"limit": 40}}, [("memory.swap.max", "8"), ("memory.max", "40")]),
    ({"memory": {"limit": 0, "reservation": 0}}, {}, []),
    ({"memory": {"limit": 99, "swap": 0}}, {"memory": {"limit": 99, "swap": 0}}, [("memory.max", "99")]),
    ({"memory": {"limit": -1}}, {"memory": {"limit": -1, "swap": 0}},
     [("memory.swap.max", "max"), ("memory.max", "max")]),
    ({"memory": {"limit": -1, "swap": 7}}, {"memory": {"limit": -1, "swap": 7}},
     [("memory.swap.max", "7"), ("memory.max", "max")]),
    ({"memory": {"swap": 32}}, {"memory": {"swap": 32}}, [("memory.swap.max", "0"), ("memory.max", "32")]),
    ({"memory": {"reservation": -1}}, {"memory": {"reservation": -1}}, [("memory.low", "max")]),
    ({"cpu": {"period": 20000}}, {"cpu": {"period": 20000}}, [("cpu.max", "5000 20000")]),
    ({"cpu": {"quota": -1}}, {"cpu": {"quota": -1}}, [("cpu.max", "max 10000")]),
    ({"cpu": {"quota": 0, "period": 0, "shares": 0, "cpus": ""}}, {}, []),
    ({"cpu": {"burst": 0}}, {"cpu": {"burst": 0}}, [("cpu.max.burst", "0")]),
    ({"cpu": {"shares": 1024}}, {"cpu": {"shares": 1024}}, [("cpu.weight", "100")]),
    ({"cpu": {"idle": 0}}, {"cpu": {"idle": 0}}, [("cpu.idle", "0"), ("cpu.weight", "29")]),
    ({"cpu": {"mems": "0-1"}}, {"cpu": {"mems": "0-1"}}, [("cpuset.mems", "0-1")]),
    ({"CPU": {"Cpus": "1"}}, {"cpu": {"cpus": "1"}}, [("cpuset.cpus", "1")]),
    ({"cpu": {"realtimeRuntime": 5}}, {"cpu": {"realtimeRuntime": 5}}, []),
    ({"unified": {"pids.max": "9"}}, {"unified": {"pids.max": "9"}}, [("pids.max", "9")]),
]  # fmt: skip


@pytest.mark.parametrize(("document", "changes", "lines"), CASES)
def test_what_is_told_is_changed_and_all_else_kept(
    document: dict[str, Any], changes: dict[str, Any], lines: list[tuple[str, str]]
) -> None:
    """Members nobody knows are kept, too; written is what was told, and what goes into the same file."""
    expected: dict[str, Any] = {name: dict(members) for name, members in STORED.items()}
    for name, members in changes.items():
        expected[name] = expected.get(name, {}) | members
    assert told(document, STORED) == (expected, lines)


def test_idle_and_shares_take_each_others_place() -> None:
    """An idle cgroup has no weight: whichever is told last."""
    after, lines = told({"cpu": {"idle": 1}}, STORED)
    assert (after["cpu"].get("shares"), lines) == (None, [("cpu.idle", "1")])
    after, lines = told({"cpu": {"shares": 1024}}, after)
    assert (after["cpu"]["idle"], lines) == (0, [("cpu.idle", "0"), ("cpu.weight", "100")])


def test_devices_are_told_apart_by_their_numbers() -> None:
    """A rate or weight takes the place of the last one of the same device; others are kept."""
    rate = {"major": 8, "minor": 0, "rate": 1}
    stored = {"blockIO": {
        "throttleReadBpsDevice": [rate, rate, {"major": 8, "minor": 1, "rate": 2, "x": 3}],
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 20}],
    }}  # fmt: skip
    after, lines = told(
        {"blockIO": {
            "throttleReadBpsDevice": [rate | {"rate": 5}, {"major": 8, "minor": 1, "rate": 0}],
            "throttleWriteIOPSDevice": [rate],
            "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}, {"major": 8, "minor": 9, "weight": 10}],
        }}, stored)  # fmt: skip
    assert after["blockIO"]["throttleReadBpsDevice"] == [
        rate, rate | {"rate": 5}, {"major": 8, "minor": 1, "rate": 0, "x": 3},
    ]  # fmt: skip
    assert after["blockIO"]["throttleWriteIOPSDevice"] == [rate]
    assert after["blockIO"]["weightDevice"] == [
        {"major": 8, "minor": 0, "weight": 1000, "leafWeight": 20}, {"major": 8, "minor": 9, "weight": 10},
    ]  # fmt: skip
    assert lines == [
        ("io.weight", "8:0 10000"), ("io.weight", "8:9 1"),
        ("io.max", "8:0 rbps=5"), ("io.max", "8:1 rbps=max"), ("io.max", "8:0 wiops=1"),
    ]  # fmt: skip


def test_huge_pages_and_rdma_are_kept_by_size_and_device() -> None:
    """What runc forgets in an update."""
    stored = {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 2}],
        "rdma": {"a": {"hcaHandles": 1, "hcaObjects": 2}, "b": {"hcaHandles": 3}},
    }
    document = {"hugepageLimits": [{"pageSize": "1GB", "limit": 0}], "rdma": {"a": {"hcaObjects": 9}}}
    after, lines = told(document, stored)
    assert after["hugepageLimits"] == [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 0}]
    assert after["rdma"] == {"a": {"hcaHandles": 1, "hcaObjects": 9}, "b": {"hcaHandles": 3}}
    assert lines == [("hugetlb.1GB.max", "0"), ("hugetlb.1GB.rsvd.max", "0"), ("rdma.max", "a hca_object=9")]


BYTES = {
    "0": 0, "1": 1, "-1": -1, "1024b": 1024, "1B": 1, "1k": 1 << 10, "1K": 1 << 10, "1kb": 1 << 10, "1KiB": 1 << 10,
    "64m": 64 << 20, "50M": 50 << 20, "1.5g": 3 << 29, "1g": GIB, "1t": 1 << 40, "2p": 2 << 50, "10 M": 10 << 20,
    "5 ": 5, ".5k": 512, "1e3": 1000, "+5": 5, "9223372036854775807": 2**63 - 1, "007": 7,
}  # fmt: skip


@pytest.mark.parametrize("text", BYTES)
def test_bytes_are_as_docker_writes_them(text: str) -> None:
    assert _bytes("memory", text) == BYTES[text]


@pytest.mark.parametrize("text", [
    "x", "-2", "-1k", "m", ".", "1.2.3", "1e999", "9223372036854775808", "8388608t", "inf", "nan", "1_0", " 5", "0x10",
    "٣", "1" * 200, "--1",
])  # fmt: skip
def test_size_that_is_none(text: str) -> None:
    with pytest.raises(Error) as wrong:
        _bytes("memory", text)
    assert str(wrong.value).startswith("invalid value for memory: invalid s"), wrong.value


@pytest.mark.parametrize("text", ["5x", "5kk", "5mib2", "5bb", "5kx", "5 x"])
def test_suffix_that_is_none(text: str) -> None:
    with pytest.raises(Error) as wrong:
        _bytes("memory-swap", text)
    assert str(wrong.value).startswith("invalid value for memory-swap: invalid s"), wrong.value


def test_numbers_are_decimal_and_in_their_range() -> None:
    """As strconv has them; an empty one was not given."""
    unsigned, signed = (0, 2**64 - 1), (-(2**63), 2**63 - 1)
    assert [_number("cpu-share", text, unsigned) for text in ("", "0", "010", str(2**64 - 1))] == [
        None, 0, 10, 2**64 - 1,
    ]  # fmt: skip
    assert [_number("cpu-quota", text, signed) for text in ("-1", "+5", str(-(2**63)))] == [-1, 5, -(2**63)]
    for text in ("x", "1.5", "-1", "+1", "0x10", "1k", " 1", str(2**64), "٣", "-", "9" * 5000):
        with pytest.raises(Error) as wrong:
            _number("cpu-share", text, unsigned)
        assert str(wrong.value).startswith("invalid value for cpu-share: expected a number from 0 to 1844674407")
    with pytest.raises(Error, match="invalid value for cpu-quota: expected a number from -9223372036854775808 to "):
        _number("cpu-quota", "--1", signed)


@pytest.mark.parametrize(
    ("document", "left"),
    [
        ({"cpu": {"idle": 1, "shares": 200}}, {"cpu": {"idle": 1}}),
        ({"cpu": {"idle": 0, "shares": 200}}, {"cpu": {"idle": 0, "shares": 200}}),
        ({"unified": {"cpu.idle": "1", "cpu.weight": "8"}}, {"unified": {"cpu.idle": "1"}}),
        ({"unified": {"cpu.weight": "8"}}, {"unified": {"cpu.weight": "8"}}),
    ],
)
def test_idle_cgroup_has_no_weight(document: dict[str, Any], left: dict[str, Any]) -> None:
    """cpu.idle and a weight at once: the weight is ignored, with a warning in runc's words."""
    heard: list[str] = []
    log.listen(None, heard.append)
    try:
        assert merge.told(document) == left
    finally:
        log.listen(None, None)
    assert [line.startswith("unable to apply both") for line in heard] == [True] * (left != document)
