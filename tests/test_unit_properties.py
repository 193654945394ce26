"""From linux.resources and annotations to the properties of a systemd unit, at the borders of each conversion.

What systemd makes of them is seen in tests/uml/systemd.
"""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirunc.base.errors import ConfigError
from minirunc.config import annotations
from minirunc.config.linux.resources import Resources, check, limits, properties, unit_properties
from minirunc.config.linux.resources.devices import rules

INFINITY = 2**64 - 1
GIB = 2**30


def converted(resources, version=252, missing=("io.bfq.weight",)):
    """The properties but those of the devices."""
    record = Resources.parse(resources)
    check(record)
    return properties(record, version, lambda file: file not in missing, devices=False)


def kept(resources):
    """What is written beside them."""
    lines = limits(Resources.parse(resources), lambda file: file != "io.bfq.weight")
    return [(file, value) for _, file, value in unit_properties.kept(lines)]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, []),
        ({"memory": {"limit": 0}}, []),
        ({"memory": {"limit": GIB}}, [("MemoryMax", "t", GIB)]),
        ({"memory": {"limit": -1}}, [("MemorySwapMax", "t", INFINITY), ("MemoryMax", "t", INFINITY)]),
        ({"memory": {"limit": GIB, "swap": GIB}}, [("MemorySwapMax", "t", 0), ("MemoryMax", "t", GIB)]),
        ({"memory": {"limit": GIB, "swap": GIB + 5}}, [("MemorySwapMax", "t", 5), ("MemoryMax", "t", GIB)]),
        ({"memory": {"reservation": 5}}, [("MemoryLow", "t", 5)]),
        ({"memory": {"reservation": -1}}, [("MemoryLow", "t", INFINITY)]),
        ({"pids": {}}, []),
        ({"pids": {"limit": 0}}, [("TasksMax", "t", 1)]),
        ({"pids": {"limit": 1}}, [("TasksMax", "t", 1)]),
        ({"pids": {"limit": -1}}, [("TasksMax", "t", INFINITY)]),
        ({"cpu": {"shares": 1024}}, [("CPUWeight", "t", 100)]),
        ({"cpu": {"shares": 2}}, [("CPUWeight", "t", 1)]),
        ({"cpu": {"idle": 1}}, [("CPUWeight", "t", 0)]),
        ({"cpu": {"idle": 0}}, []),
        ({"cpu": {"cpus": "0"}}, [("AllowedCPUs", "ay", b"\1")]),
        ({"cpu": {"cpus": "7"}}, [("AllowedCPUs", "ay", b"\x80")]),
        ({"cpu": {"cpus": "8"}}, [("AllowedCPUs", "ay", b"\0\1")]),
        (
            {"cpu": {"cpus": " 0-3, 9", "mems": "1"}},
            [("AllowedCPUs", "ay", b"\x0f\2"), ("AllowedMemoryNodes", "ay", b"\2")],
        ),
        ({"cpu": {"cpus": "8191"}}, [("AllowedCPUs", "ay", b"\0" * 1023 + b"\x80")]),
        ({"cpu": {"burst": 5}}, []),
        ({"blockIO": {"weight": 10}}, [("IOWeight", "t", 1)]),
        ({"blockIO": {"weight": 1000}}, [("IOWeight", "t", 10000)]),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}}, []),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 10}]}}, []),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 5}], "rdma": {"mlx5_0": {"hcaHandles": 3}}}, []),
    ],
)
def test_limits_are_properties(resources, expected):
    """Each limit whose file systemd writes, too, in the same value."""
    assert converted(resources) == expected


@pytest.mark.parametrize(
    ("weight", "property_"),
    [(10, 10), (100, 100), (101, 111), (500, 4500), (1000, 10000)],
)
def test_bfq_weight_is_what_systemd_makes_of_it(weight, property_):
    """systemd writes 100 + (IOWeight - 100) * 900 / 9900 into io.bfq.weight, if that is above 100."""
    assert converted({"blockIO": {"weight": weight}}, missing=()) == [("IOWeight", "t", property_)]
    assert weight == (property_ if property_ <= 100 else 100 + (property_ - 100) * 900 // 9900)


@pytest.mark.parametrize(
    ("cpu", "period", "a_second", "written"),
    [
        ({"quota": 50000}, 100000, 500000, "50000 100000"),
        ({"quota": 50000, "period": 0}, 100000, 500000, "50000 100000"),
        ({"quota": 50000, "period": 50000}, 50000, 1000000, "50000 50000"),
        ({"quota": 1000, "period": 100000}, 100000, 10000, "1000 100000"),
        ({"quota": 1001, "period": 100000}, 100000, 20000, "2000 100000"),
        ({"quota": 1999, "period": 100000}, 100000, 20000, "2000 100000"),
        ({"quota": 33333, "period": 77777}, 77777, 430000, "33444 77777"),
        ({"quota": 10000, "period": 1000000}, 1000000, 10000, "10000 1000000"),
        ({"quota": 9999, "period": 1000000}, 1000000, 10000, "10000 1000000"),
        ({"quota": 123456, "period": 1000}, 1000, 123460000, "123460 1000"),
        ({"quota": -1, "period": 50000}, 50000, INFINITY, "max 50000"),
        ({"quota": 0, "period": 50000}, 50000, INFINITY, "max 50000"),
        ({"quota": -1}, 100000, INFINITY, "max 100000"),
    ],
)
def test_quota_is_rounded_up_to_a_percent(cpu, period, a_second, written):
    """A unit's file has it in percents, so that is what a daemon-reload writes; without a quota no period is kept."""
    properties = [("CPUQuotaPeriodUSec", "t", period), ("CPUQuotaPerSecUSec", "t", a_second)]
    assert converted({"cpu": cpu}) == properties
    assert kept({"cpu": cpu}) == [("cpu.max", written)]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("memory.max", "max", [("MemoryMax", "t", INFINITY)]),
        ("memory.max", " 5\n", [("MemoryMax", "t", 5)]),
        ("memory.high", "5k", [("MemoryHigh", "t", 5120)]),
        ("memory.low", "1G", [("MemoryLow", "t", GIB)]),
        ("memory.min", "16E", [("MemoryMin", "t", INFINITY)]),
        ("memory.swap.max", "0", [("MemorySwapMax", "t", 0)]),
        ("memory.swap.high", "0", []),
        ("memory.oom.group", "1", []),
        ("pids.max", "0", [("TasksMax", "t", 1)]),
        ("pids.max", "max", [("TasksMax", "t", INFINITY)]),
        ("cpu.weight", "7", [("CPUWeight", "t", 7)]),
        ("cpu.idle", "1", [("CPUWeight", "t", 0)]),
        ("cpu.idle", "0", []),
        ("cpu.max", "50000", [("CPUQuotaPeriodUSec", "t", 100000), ("CPUQuotaPerSecUSec", "t", 500000)]),
        ("cpu.max", "max 5", [("CPUQuotaPeriodUSec", "t", 5), ("CPUQuotaPerSecUSec", "t", INFINITY)]),
        ("cpu.max", "1 1000", [("CPUQuotaPeriodUSec", "t", 1000), ("CPUQuotaPerSecUSec", "t", 10000)]),
        ("cpu.max", f"{2**64} 1000", [("CPUQuotaPeriodUSec", "t", 1000), ("CPUQuotaPerSecUSec", "t", INFINITY)]),
        ("cpuset.cpus", "", [("AllowedCPUs", "ay", b"")]),
        ("cpuset.mems", "0-1", [("AllowedMemoryNodes", "ay", b"\3")]),
        ("io.weight", "300", [("IOWeight", "t", 300)]),
        ("io.weight", "default 300\n8:0 5", [("IOWeight", "t", 300)]),
        ("io.max", "8:0 rbps=5", []),
        ("x.y", "z", []),
    ],
)
def test_unified_files_are_properties(name, value, expected):
    """The same table for files by name."""
    assert converted({"unified": {name: value}}) == expected


def test_unified_overrides():
    """Of two values for a file the later one is the property: each name once."""
    resources = {"memory": {"limit": 5}, "cpu": {"idle": 1}, "unified": {"memory.max": "7", "cpu.weight": "9"}}
    assert converted(resources) == [("MemoryMax", "t", 7), ("CPUWeight", "t", 9)]


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("cpu.max", "33333", "34000"),
        ("cpu.max", "34000", "34000"),
        ("cpu.max", "max", "max"),
        ("cpu.max", "x", "x"),
        ("pids.max", "0", "1"),
        ("pids.max", "2", "2"),
    ],
)
def test_unified_files_are_written_as_systemd_has_them(name, value, written):
    """Else the next daemon-reload would change them."""
    assert kept({"unified": {name: value}}) == [(name, written)]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (241, ["CPUQuotaPerSecUSec"]),
        (242, ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec"]),
        (243, ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec"]),
        (244, ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "AllowedCPUs", "AllowedMemoryNodes"]),
        (251, ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "AllowedCPUs", "AllowedMemoryNodes"]),
        (252, ["CPUWeight", "CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "AllowedCPUs", "AllowedMemoryNodes"]),
    ],
)
def test_older_systemd_is_not_asked_for_what_it_does_not_know(version, expected):
    """An unknown property would fail the whole call."""
    cpu = {"idle": 1, "quota": 5, "cpus": "0", "mems": "0"}
    assert [name for name, _, _ in converted({"cpu": cpu}, version)] == expected


@pytest.mark.parametrize(
    ("resources", "where", "why"),
    [
        ({"cpu": {"cpus": "0-"}}, "cpu", 'cpuset.cpus value conversion error: "0-": "" is not a number'),
        ({"cpu": {"mems": "8192"}}, "cpu",
         'cpuset.mems value conversion error: "8192": values larger than 8191 are not supported'),
        ({"unified": {"memory.max": "5x"}}, "unified",
         'unified resource "memory.max" value conversion error: "5x": not a number'),
        ({"unified": {"memory.max": ""}}, "unified",
         'unified resource "memory.max" value conversion error: "": not a number'),
        ({"unified": {"pids.max": "-1"}}, "unified",
         'unified resource "pids.max" value conversion error: "-1": not a number'),
        ({"unified": {"cpu.max": "1 2 3"}}, "unified",
         'unified resource "cpu.max" value conversion error: "1 2 3": expected "QUOTA PERIOD"'),
        ({"unified": {"cpu.max": "1 0"}}, "unified",
         'unified resource "cpu.max" value conversion error: "1 0": the period is 0'),
        ({"unified": {"cpu.max": ""}}, "unified", 'unified resource "cpu.max" value conversion error: "": is empty'),
    ],
)  # fmt: skip
def test_value_without_a_property_is_refused(resources, where, why):
    """By its name, as runc does."""
    with pytest.raises(ConfigError) as wrong:
        converted(resources)
    assert str(wrong.value) == f"config.json: linux.resources.{where}: {why}"


DEFAULT = [
    ("char-*", "m"), ("block-*", "m"), ("/dev/char/1:3", "mrw"), ("/dev/char/1:8", "mrw"), ("/dev/char/1:7", "mrw"),
    ("/dev/char/5:0", "mrw"), ("/dev/char/1:5", "mrw"), ("/dev/char/1:9", "mrw"), ("char-136", "mrw"),
    ("/dev/char/5:2", "mrw"), ("/dev/char/10:200", "mrw"),
]  # fmt: skip
DENY_ALL = {"allow": False, "access": "rwm"}


def allowed(*rules):
    """DevicePolicy, and what DeviceAllow has beside or in place of the default."""
    found = {name: value for name, _, value in properties(Resources.parse({"devices": list(rules)}), 252, bool)}
    entries = dict(found["DeviceAllow"])
    assert len(entries) == len(found["DeviceAllow"])
    return found["DevicePolicy"], {name: bits for name, bits in entries.items() if (name, bits) not in DEFAULT}


def test_default_devices_are_allowed():
    """In every container, by names that need no node."""
    found = properties(Resources.parse({"devices": [DENY_ALL]}), 252, bool)
    assert [one[:2] for one in found] == [("DevicePolicy", "s"), ("DeviceAllow", "a(ss)")]
    assert found[0][2] == "strict"
    assert sorted(found[1][2]) == sorted(DEFAULT)


def rule(kind, major, minor, access, allow=True):
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}


@pytest.mark.parametrize(
    ("found", "policy", "beside"),
    [
        ([DENY_ALL, rule("c", 10, 229, "rw")], "strict", {"/dev/char/10:229": "mrw"}),
        ([DENY_ALL, rule("b", 8, -1, "r")], "strict", {"block-8": "mr"}),
        ([DENY_ALL, rule("b", 8, 0, "r"), rule("b", 8, 0, "w")], "strict", {"/dev/block/8:0": "mrw"}),
        # One entry has to allow reading and writing, if both are asked for at once.
        ([rule("c", 10, -1, "r"), rule("c", 10, 229, "w")], "strict", {"char-10": "mr", "/dev/char/10:229": "mrw"}),
        # There is no word for any major with one minor: all of them, and our own program says no.
        ([rule("b", -1, 5, "r")], "strict", {"block-*": "mr"}),
        # A rule that denies takes away what it covers, and cannot take a part of what is wider.
        ([rule("b", 8, -1, "rw"), rule("b", 8, -1, "w", allow=False)], "strict", {"block-8": "mr"}),
        ([rule("b", 8, 1, "rw"), rule("b", 8, -1, "rw", allow=False)], "strict", {"/dev/block/8:1": "m"}),
        ([rule("b", 8, -1, "rw"), rule("b", 8, 1, "rw", allow=False)], "strict", {"block-8": "mrw"}),
        ([rule("b", 8, 1, "rw"), rule("b", -1, 1, "rw", allow=False)], "strict", {"/dev/block/8:1": "mrw"}),
        ([rule("b", 8, 1, "rw"), rule("c", 8, 1, "rw", allow=False)], "strict", {"/dev/block/8:1": "mrw"}),
        ([rule("b", 8, 1, "rw"), DENY_ALL], "strict", {"/dev/block/8:1": "m"}),
        # All is allowed, or nearly: no policy.
        ([{"allow": True, "access": "rwm"}], "auto", {}),
        ([rule("a", 1, 1, "r")], "auto", {}),
        ([rule("b", -1, -1, "rwm"), rule("c", -1, -1, "rw")], "auto", {}),
        ([{"allow": True, "access": "rwm"}, rule("c", 10, 229, "rw", allow=False)], "auto", {}),
        ([{"allow": True, "access": "rwm"}, DENY_ALL], "strict", {}),
    ],
)  # fmt: skip
def test_device_rules_are_a_policy(found, policy, beside):
    """DeviceAllow is at least what the rules allow: what is too much our own program denies."""
    assert allowed(*found) == (policy, beside)


NUMBERS = st.sampled_from([-1, 1, 2])
ACCESS = st.sampled_from(["r", "w", "rw", "m"])
RULES = st.lists(
    st.builds(rule, st.sampled_from("abcc"), NUMBERS, NUMBERS, ACCESS, st.sampled_from([True, True, False]))
)


def matches(kind, major, minor, at):
    return kind in (0, at[0]) and major in (-1, at[1]) and minor in (-1, at[2])


def permitted(found, at, wanted):
    """What our program says: the last rule is asked first, bit by bit."""
    for allow, kind, major, minor, bits in reversed(found):
        if matches(kind, major, minor, at):
            if not allow and bits & wanted:
                return False
            wanted &= ~bits
            if not wanted:
                return True
    return False


@settings(max_examples=400)
@given(RULES)
def test_device_allow_is_never_narrower_than_the_rules(rules_):
    """Both programs have to allow; systemd's wants one entry that allows all that is asked for."""
    record = Resources.parse({"devices": rules_})
    exact = rules(record.devices)
    (_, _, policy), (_, _, entries) = properties(record, 252, bool)
    numbers = {"char-*": (2, -1, -1), "block-*": (1, -1, -1)}
    for name, _ in entries:
        if name not in numbers:
            kind = 1 if "block" in name else 2
            major, _, minor = name.rpartition("/")[2].removeprefix("char-").removeprefix("block-").partition(":")
            numbers[name] = (kind, int(major), int(minor or -1))
    for at in product((1, 2), (1, 2, 3, 136), (1, 2, 3)):
        for wanted in (1, 2, 4, 6):
            theirs = policy == "auto" or any(
                matches(*numbers[name], at) and wanted & ~sum({"m": 1, "r": 2, "w": 4}[letter] for letter in bits) == 0
                for name, bits in entries
            )
            assert theirs >= permitted(exact, at, wanted)


@pytest.mark.parametrize("devices", [True, False])
def test_an_update_leaves_the_devices_alone(devices):
    """Only a unit that is started is given a policy."""
    found = properties(Resources.parse({"devices": [DENY_ALL]}), 252, bool, devices=devices)
    assert bool(found) is devices


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("CollectMode", "'inactive-or-failed'", ("CollectMode", "s", "inactive-or-failed")),
        ("TimeoutStopUSec", "uint64 123456789", ("TimeoutStopUSec", "t", 123456789)),
        ("TimeoutStopSec", "5", ("TimeoutStopUSec", "t", 5000000)),
        ("TimeoutStopSec", "byte 255", ("TimeoutStopUSec", "t", 255000000)),
        ("TimeoutStopSec", "uint64 0", ("TimeoutStopUSec", "t", 0)),
        ("TimeoutStopSec", "1.5", ("TimeoutStopUSec", "t", 1500000)),
        ("FooUSec", "5", ("FooUSec", "i", 5)),
        ("Sec", "5", ("Sec", "i", 5)),
        ("DefaultDependencies", "true", ("DefaultDependencies", "b", True)),
        ("After", "['a.service']", ("After", "as", ["a.service"])),
    ],
)
def test_annotations_are_properties(name, text, expected):
    """org.systemd.property.NAME; a name in seconds, as units' files have it, is one in microseconds on D-Bus."""
    assert annotations.unit_properties({f"org.systemd.property.{name}": text, "x": "y"}) == [expected]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ab", "1", "{name} name incorrect: too short"),
        ("", "1", "{name} name incorrect: too short"),
        ("a.", "1", "{name} name incorrect: too short"),
        ("a.b", "1", "{name} name incorrect: contains non-alphabetic character"),
        ("abé", "1", "{name} name incorrect: contains non-alphabetic character"),
        ("After", "[", '{name}=[ value parse error: expected a value, got "" at character 2'),
        ("TimeoutStopSec", "'5'", "{name}='5' value parse error: not a number"),
        ("TimeoutStopSec", "-1", "{name}=-1 value parse error: out of range"),
        ("TimeoutStopSec", "1e999", "{name}=1e999 value parse error: out of range"),
        ("TimeoutStopSec", "uint64 18446744073710", "{name}=uint64 18446744073710 value parse error: out of range"),
    ],
)
def test_wrong_annotations_are_refused(name, text, why):
    """In runc's words, before systemd is asked."""
    whole = f"org.systemd.property.{name}"
    with pytest.raises(ConfigError) as wrong:
        annotations.unit_properties({whole: text})
    assert str(wrong.value) == f'config.json: annotations["{whole}"]: annotation {why.format(name=whole)}'
