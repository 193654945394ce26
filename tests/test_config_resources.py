"""config/linux/resources: from JSON values to cgroup v2 files, as runc 1.5 translates them."""

import json

import pytest

from minirunc.base.errors import ConfigError
from minirunc.config.linux.resources import Resources, check, limits
from minirunc.config.linux.resources.cpu import weight
from minirunc.config.linux.resources.devices import DeviceRule, rules
from tests.config_json import loaded, refusal


def files(resources: dict[str, object], missing: tuple[str, ...] = ("io.bfq.weight",)) -> list[tuple[str, str]]:
    """What is written, on a kernel without some files."""
    record = Resources.parse(resources)
    check(record)
    return [(file, value) for _, file, value in limits(record, lambda file: file not in missing)]


GIB = 2**30
MEMORY = [
    ({}, []),
    ({"limit": 0}, []),
    ({"limit": GIB}, [("memory.max", "1073741824")]),
    ({"limit": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
    ({"limit": GIB, "swap": GIB}, [("memory.swap.max", "0"), ("memory.max", "1073741824")]),
    ({"limit": GIB, "swap": GIB + 5}, [("memory.swap.max", "5"), ("memory.max", "1073741824")]),
    ({"limit": GIB, "swap": -1}, [("memory.swap.max", "max"), ("memory.max", "1073741824")]),
    ({"limit": GIB, "swap": 0}, [("memory.max", "1073741824")]),
    ({"limit": -1, "swap": 7}, [("memory.swap.max", "7"), ("memory.max", "max")]),
    ({"limit": -1, "swap": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
    ({"swap": -1}, [("memory.swap.max", "max")]),
    ({"reservation": 5}, [("memory.low", "5")]),
    ({"reservation": -1}, [("memory.low", "max")]),
    (
        {
            "kernel": 1,
            "kernelTCP": 1,
            "swappiness": 60,
            "disableOOMKiller": True,
            "useHierarchy": True,
            "checkBeforeUpdate": True,
        },
        [],
    ),
]


@pytest.mark.parametrize(("memory", "expected"), MEMORY)
def test_memory(memory: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert files({"memory": memory}) == expected


def test_swap_that_the_kernel_does_not_count_need_not_be_unlimited_or_off() -> None:
    def without_swap(memory: dict[str, int]) -> list[tuple[str, str]]:
        return files({"memory": memory}, missing=("memory.swap.max",))

    assert without_swap({"limit": GIB, "swap": -1}) == [("memory.max", "1073741824")]
    assert without_swap({"limit": GIB, "swap": GIB}) == [("memory.max", "1073741824")]
    assert without_swap({"limit": GIB, "swap": GIB + 1})[0] == ("memory.swap.max", "1")


def test_shares_become_weight_as_in_runc() -> None:
    """The three points that are fixed: least, usual, most; others as runc 1.5 gives them."""
    table = {
        0: 1,
        1: 1,
        2: 1,
        3: 2,
        262143: 10000,
        262145: 10000,
        1024: 100,
        262144: 10000,
        10**6: 10000,
        100: 17,
        256: 35,
        512: 59,
        2048: 174,
        4096: 303,
    }
    assert {shares: weight(shares) for shares in table} == table
    assert weight(102400) == 4429


CPU = [
    ({}, []),
    ({"shares": 0}, []),
    ({"shares": 512}, [("cpu.weight", "59")]),
    ({"quota": 50000}, [("cpu.max", "50000 100000")]),
    ({"quota": 50000, "period": 200000}, [("cpu.max", "50000 200000")]),
    ({"quota": -1}, [("cpu.max", "max 100000")]),
    ({"period": 1000}, [("cpu.max", "max 1000")]),
    ({"quota": 0, "period": 0}, []),
    ({"quota": 5000, "burst": 100}, [("cpu.max", "5000 100000"), ("cpu.max.burst", "100")]),
    ({"burst": 0}, [("cpu.max.burst", "0")]),
    ({"idle": 1, "shares": 0}, [("cpu.idle", "1")]),
    ({"idle": 0, "shares": 1024}, [("cpu.idle", "0"), ("cpu.weight", "100")]),
    ({"idle": 0}, [("cpu.idle", "0")]),
    ({"cpus": "0-1", "mems": "0"}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
    ({"realtimeRuntime": 1, "realtimePeriod": 2}, []),
]


@pytest.mark.parametrize(("cpu", "expected"), CPU)
def test_cpu(cpu: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert files({"cpu": cpu}) == expected


@pytest.mark.parametrize(
    ("limit", "expected"), [(5, "5"), (1, "1"), (0, "1"), (-1, "max"), (-5, "max"), (2**63 - 1, str(2**63 - 1))]
)
def test_pids(limit: int, expected: str) -> None:
    assert files({"pids": {"limit": limit}}) == [("pids.max", expected)]
    assert files({"pids": {}}) == []


def test_block_io_weight_goes_to_bfq_where_it_is() -> None:
    block_io = {"weight": 100, "weightDevice": [{"major": 8, "minor": 0, "weight": 200, "leafWeight": 5}]}
    assert files({"blockIO": block_io}) == [("io.weight", "910"), ("io.weight", "8:0 1920")]
    assert files({"blockIO": block_io}, missing=()) == [("io.bfq.weight", "100"), ("io.bfq.weight", "8:0 200")]
    ends = [files({"blockIO": {"weight": weight}}) for weight in (10, 1000, 0)]
    assert ends == [[("io.weight", "1")], [("io.weight", "10000")], []]


def test_block_io_limits_are_a_write_each_and_0_is_no_limit() -> None:
    def device(rate: int) -> list[dict[str, int]]:
        return [{"major": 8, "minor": 16, "rate": rate}]

    block_io = {
        "throttleReadBpsDevice": device(1) + device(2),
        "throttleWriteBpsDevice": device(3),
        "throttleReadIOPSDevice": device(0),
        "throttleWriteIOPSDevice": device(2**64 - 1),
    }
    assert files({"blockIO": block_io}) == [
        ("io.max", "8:16 rbps=1"),
        ("io.max", "8:16 rbps=2"),
        ("io.max", "8:16 wbps=3"),
        ("io.max", "8:16 riops=max"),
        ("io.max", "8:16 wiops=18446744073709551615"),
    ]


def test_huge_pages_are_limited_in_use_and_reserved() -> None:
    limit = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}, {"pageSize": "1GB", "limit": 0}]}
    assert files(limit) == [
        ("hugetlb.2MB.max", "4096"),
        ("hugetlb.2MB.rsvd.max", "4096"),
        ("hugetlb.1GB.max", "0"),
        ("hugetlb.1GB.rsvd.max", "0"),
    ]
    older = ("hugetlb.2MB.rsvd.max", "hugetlb.1GB.rsvd.max")
    assert files(limit, missing=older) == [("hugetlb.2MB.max", "4096"), ("hugetlb.1GB.max", "0")]


def test_rdma_is_a_line_a_device() -> None:
    rdma = {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 4}, "mlx5_1": {"hcaObjects": 5}}
    expected = [("rdma.max", "mlx5_0 hca_handle=3 hca_object=4"), ("rdma.max", "mlx5_1 hca_object=5")]
    assert files({"rdma": rdma}) == expected


def test_network_has_no_effect() -> None:
    assert files({"network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]}}) == []


def test_the_order_is_runcs_and_unified_comes_last() -> None:
    record = Resources.parse({
        "unified": {"memory.high": "5", "io.max": "8:0 rbps=1\n8:1 wbps=2\n", "pids.max": ""},
        "cpu": {"shares": 1024, "cpus": "0"},
        "memory": {"limit": 5},
        "pids": {"limit": 5},
        "blockIO": {"weight": 10},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        "rdma": {"a": {"hcaHandles": 1}},
    })  # fmt: skip
    assert limits(record, lambda _: False) == [
        ("linux.resources.pids", "pids.max", "5"),
        ("linux.resources.memory", "memory.max", "5"),
        ("linux.resources.blockIO", "io.weight", "1"),
        ("linux.resources.cpu", "cpu.weight", "100"),
        ("linux.resources.cpu", "cpuset.cpus", "0"),
        ("linux.resources.hugepageLimits", "hugetlb.2MB.max", "1"),
        ("linux.resources.rdma", "rdma.max", "a hca_handle=1"),
        ("linux.resources.unified", "memory.high", "5"),
        ("linux.resources.unified", "io.max", "8:0 rbps=1"),
        ("linux.resources.unified", "io.max", "8:1 wbps=2"),
        ("linux.resources.unified", "pids.max", ""),
    ]
    assert limits(Resources(), lambda _: True) == []


REFUSED = [
    ({"memory": {"limit": -2}}, "memory.limit: invalid memory value: -2: expected bytes, or -1 for no limit"),
    (
        {"memory": {"swap": 5}},
        "memory.swap: unable to set swap limit without memory limit: linux.resources.memory.limit is missing",
    ),
    (
        {"memory": {"limit": 10, "swap": 5}},
        "memory.swap: memory+swap limit should be >= memory limit: 5 is below linux.resources.memory.limit 10",
    ),
    ({"memory": {"limit": "1g"}}, 'memory.limit: expected an integer, got a string ("1g")'),
    (
        {"memory": {"limit": 2**63}},
        "memory.limit: expected an integer from -9223372036854775808 to 9223372036854775807, got 9223372036854775808",
    ),
    ({"cpu": {"shares": -1}}, "cpu.shares: expected an integer from 0 to 18446744073709551615, got -1"),
    ({"pids": {"limit": "max"}}, 'pids.limit: expected an integer, got a string ("max")'),
    ({"blockIO": {"weight": 5}}, "blockIO.weight: expected an integer from 10 to 1000, got 5"),
    ({"blockIO": {"weight": 9}}, "blockIO.weight: expected an integer from 10 to 1000, got 9"),
    ({"blockIO": {"weight": 1001}}, "blockIO.weight: expected an integer from 10 to 1000, got 1001"),
    ({"blockIO": {"weight": 70000}}, "blockIO.weight: expected an integer from 0 to 65535, got 70000"),
    (
        {"blockIO": {"throttleReadIOPSDevice": [{"major": 8, "rate": 1}]}},
        "blockIO.throttleReadIOPSDevice[0].minor: missing",
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB/../x", "limit": 1}]},
        'hugepageLimits[0].pageSize: expected a size like 64KB, 2MB or 1GB, got "2MB/../x"',
    ),
    (
        {"hugepageLimits": [{"pageSize": "MB", "limit": 1}]},
        'hugepageLimits[0].pageSize: expected a size like 64KB, 2MB or 1GB, got "MB"',
    ),
    ({"rdma": {"a": {"hcaHandles": -1}}}, 'rdma["a"].hcaHandles: expected an integer from 0 to 4294967295, got -1'),
    ({"unified": {"../x": "1"}}, 'unified: unified resource "../x" must be a file name (no slashes)'),
    ({"unified": {"..": "1"}}, 'unified: unified resource ".." must be a file name (no slashes)'),
    ({"unified": {"memory.max": 1}}, 'unified["memory.max"]: expected a string, got an integer (1)'),
    ({"devices": [{"access": "r"}]}, "devices[0].allow: missing"),
    ({"devices": [{"allow": True}]}, "devices[0].access: device access at 0 field cannot be empty"),
    (
        {"devices": [{"allow": True, "access": "rx"}]},
        'devices[0].access: invalid cgroup device access "rx": expected letters of rwm',
    ),
    (
        {"devices": [{"allow": True, "access": "a"}]},
        'devices[0].access: invalid cgroup device access "a": expected letters of rwm',
    ),
    (
        {"devices": [{"allow": True, "access": "r", "type": "p"}]},
        'devices[0].type: invalid cgroup device type "p": expected one of a, b, c',
    ),
    (
        {"devices": [{"allow": True, "access": "r", "type": "c", "major": -2}]},
        "devices[0].major: expected an integer from -1 to 2147483647, got -2",
    ),
]


@pytest.mark.parametrize(("resources", "message"), REFUSED)
def test_what_is_wrong_is_named(resources: dict[str, object], message: str) -> None:
    assert refusal({"linux.resources": resources}) == f"config.json: linux.resources.{message}"


def test_resources_alone_can_be_read_as_update_needs_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Resources.parse(json.loads('{"memory": {"limit": true}}'), "resources")
    assert caught.value.where == "resources.memory.limit"


def test_device_rules_keep_their_order_and_end_with_the_default_ones() -> None:
    found = rules([
        DeviceRule(allow=False, access="rwm"),
        DeviceRule(allow=True, type="c", major=1, minor=3, access="r"),
        DeviceRule(allow=True, type="b", major=8, access="wm"),
        DeviceRule(allow=True, type="a", major=5, minor=5, access="r"),
    ])  # fmt: skip
    assert found[:4] == [
        (False, 0, -1, -1, 7),
        (True, 2, 1, 3, 2),
        (True, 1, 8, -1, 5),
        (True, 0, -1, -1, 7),
    ]
    default = rules([])
    assert found[4:] == default
    assert default[:2] == [(True, 2, -1, -1, 1), (True, 1, -1, -1, 1)]
    assert {(major, minor) for _, _, major, minor, _ in default[2:]} == {
        (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, -1), (10, 200),
    }  # fmt: skip
    assert {(allow, kind, access) for allow, kind, _, _, access in default[2:]} == {(True, 2, 7)}


def test_resources_of_a_config_are_checked_with_it() -> None:
    config = loaded({"linux.resources.devices": [{"allow": False, "access": "rwm"}]})
    assert config.linux.resources.devices == [DeviceRule(allow=False, access="rwm")]


def test_letter_a_in_an_access_adds_nothing() -> None:
    """devices[].access "rwa": taken by runc, whose own tests have it, as "rw"."""
    config = loaded({"linux.resources.devices": [{"allow": True, "type": "c", "access": "rwa"}]})
    assert rules(config.linux.resources.devices)[0] == (True, 2, -1, -1, 6)
