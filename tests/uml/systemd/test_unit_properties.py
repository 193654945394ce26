"""config.json linux.resources and annotations org.systemd.property.*: what systemd knows of a container's unit."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.uml.systemd.conftest import BY_SYSTEMD, scope, show

MIB = 1 << 20

RESOURCES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "memory": (
        {"memory": {"limit": 32 * MIB, "reservation": 16 * MIB, "swap": 48 * MIB}},
        {"MemoryMax": str(32 * MIB), "MemoryLow": str(16 * MIB), "MemorySwapMax": str(16 * MIB)},
    ),
    "no swap": ({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}}, {"MemorySwapMax": "0"}),
    "without end": (
        {"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1, "period": 50000}},
        {
            "MemoryMax": "infinity",
            "MemorySwapMax": "infinity",
            "TasksMax": "infinity",
            "CPUQuotaPerSecUSec": "infinity",
        },
    ),
    "cpu": (
        {"cpu": {"shares": 512, "quota": 30000, "period": 50000}},
        {"CPUWeight": "59", "CPUQuotaPerSecUSec": "600ms", "CPUQuotaPeriodUSec": "50ms"},
    ),
    "cpu rounded up": (
        {"cpu": {"quota": 33333, "period": 100000}},
        {"CPUQuotaPerSecUSec": "340ms", "CPUQuotaPeriodUSec": "100ms"},
    ),
    "cpu without a period": ({"cpu": {"quota": 150000}}, {"CPUQuotaPerSecUSec": "1.500000s"}),
    "idle": ({"cpu": {"idle": 1}}, {"CPUWeight": "idle"}),
    "pids": ({"pids": {"limit": 9}}, {"TasksMax": "9"}),
    "no pids": ({"pids": {"limit": 0}}, {"TasksMax": "1"}),
    "unified": (
        {
            "unified": {
                "memory.high": str(48 * MIB),
                "memory.min": str(4 * MIB),
                "memory.low": str(8 * MIB),
                "memory.max": str(64 * MIB),
                "memory.swap.max": "0",
                "cpu.weight": "77",
                "cpu.max": "20000 50000",
                "pids.max": "7",
            }
        },
        {
            "MemoryHigh": str(48 * MIB),
            "MemoryMin": str(4 * MIB),
            "MemoryLow": str(8 * MIB),
            "MemoryMax": str(64 * MIB),
            "MemorySwapMax": "0",
            "CPUWeight": "77",
            "CPUQuotaPerSecUSec": "400ms",
            "CPUQuotaPeriodUSec": "50ms",
            "TasksMax": "7",
        },
    ),
    "unified without end": (
        {"unified": {"memory.max": "max", "pids.max": "max", "cpu.max": "max 50000"}},
        {"MemoryMax": "infinity", "TasksMax": "infinity", "CPUQuotaPerSecUSec": "infinity"},
    ),
    "unified wins": (
        {
            "pids": {"limit": 9},
            "memory": {"limit": 32 * MIB},
            "unified": {"pids.max": "7", "memory.max": str(64 * MIB)},
        },
        {"TasksMax": "7", "MemoryMax": str(64 * MIB)},
    ),
}


@pytest.fixture
def created(minirunc: Runtime, limited: Callable[..., Bundle]) -> Callable[..., str]:
    """A created container with these resources and annotations: its unit."""

    def make(annotations: dict[str, str] | None = None, **resources: Any) -> str:
        bundle = limited("sleep 1000", **resources)
        bundle.config["annotations"] = annotations or {}
        return scope(minirunc.create(bundle, before=BY_SYSTEMD))

    return make


def test_unit_is_what_engines_expect(minirunc: Runtime, created: Callable[..., str]) -> None:
    """Its description names the container, it is delegated (what is below is ours), counted, forgotten when it ends,
    and does not end with the shutdown of others."""
    unit = created()
    told = show(unit)
    wanted = {
        "Description": f"libcontainer container {unit.removeprefix('minirunc-').removesuffix('.scope')}",
        "Delegate": "yes",
        "CollectMode": "inactive-or-failed",
        "DefaultDependencies": "no",
        "Slice": "system.slice",
        "Transient": "yes",
        "MemoryAccounting": "yes",
        "CPUAccounting": "yes",
        "IOAccounting": "yes",
        "TasksAccounting": "yes",
    }
    assert {name: told[name] for name in wanted} == wanted


@pytest.mark.parametrize("case", RESOURCES)
def test_resources_are_properties(created: Callable[..., str], case: str) -> None:
    """linux.resources: systemd is told each limit that it knows, so that it shows it and never undoes it."""
    resources, wanted = RESOURCES[case]
    assert show(created(**resources), *wanted) == wanted


def test_quota_is_the_same_in_the_cgroup(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """cpu.quota: what was rounded up for systemd stands in cpu.max, too; a reload would change it otherwise."""
    bundle = limited("cat /sys/fs/cgroup/cpu.max", cpu={"quota": 33333, "period": 100000})
    assert minirunc.run(bundle, before=BY_SYSTEMD) == (0, "34000 100000\n", "")


def test_devices_are_a_strict_policy(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """devices: systemd, too, allows what the rules and the specification's default devices say, no other."""
    bundle = limited("sleep 1000")
    bundle.linux["resources"]["devices"] += [
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        {"allow": True, "type": "b", "major": 7, "access": "rw"},
    ]
    told = show(scope(minirunc.create(bundle, before=BY_SYSTEMD)), "DevicePolicy", "DeviceAllow")
    assert told["DevicePolicy"] == "strict"
    allowed = set(told["DeviceAllow"].splitlines())
    # Every node may be made, so the rules may say that again.
    assert allowed & {"/dev/char/1:11 r", "/dev/char/1:11 rm"}
    assert allowed & {"block-7 rw", "block-7 rwm"}
    for name, number in {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9"}.items():
        assert allowed & {f"/dev/char/{number} rwm", f"/dev/{name} rwm"}, name
    assert allowed & {"char-136 rwm", "char-pts rwm"}
    assert not [line for line in allowed if line.startswith("block-* ") and line != "block-* m"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("TimeoutStopUSec", "uint64 98765432", ("TimeoutStopUSec", "1min 38.765432s")),
        ("TimeoutStopSec", "30", ("TimeoutStopUSec", "30s")),
        ("RuntimeMaxSec", "1000.5", ("RuntimeMaxUSec", "16min 40.500000s")),
        ("CollectMode", "'inactive'", ("CollectMode", "inactive")),
        ("Documentation", "['man:a(1)', 'man:b(1)']", ("Documentation", '"man:a(1)" "man:b(1)"')),
        ("MemoryMin", "uint64 0x100000", ("MemoryMin", "1048576")),
        ("SendSIGHUP", "true", ("SendSIGHUP", "yes")),
    ],
)
def test_annotation_is_a_property(created: Callable[..., str], name: str, value: str, shown: tuple[str, str]) -> None:
    """org.systemd.property.NAME: a property of the unit, in GVariant's text form; seconds may be said of a USec."""
    unit = created({f"org.systemd.property.{name}": value})
    assert show(unit, shown[0]) == dict([shown])


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("ab", "1", "too short"),
        ("Timeout.Stop", "1", "contains non-alphabetic character"),
        ("TimeoutStopSec", "'thirty'", "TimeoutStopSec"),
        ("TimeoutStopUSec", "uint64 -5", "TimeoutStopUSec"),
        ("CollectMode", "unquoted", "CollectMode"),
        ("NoSuchThing", "true", "NoSuchThing"),
    ],
)
def test_wrong_annotation_is_refused(
    minirunc: Runtime, limited: Callable[..., Bundle], name: str, value: str, why: str
) -> None:
    """org.systemd.property.NAME: one line that names the annotation or the property."""
    bundle = limited("true")
    bundle.config["annotations"] = {f"org.systemd.property.{name}": value}
    result = minirunc.run(bundle, before=BY_SYSTEMD)
    assert result.status == 1
    assert why in result.err
    assert result.err.count("\n") == 1


def test_annotation_without_systemd_says_nothing(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """org.systemd.property.NAME: the other driver has no unit to give it to."""
    bundle = limited("true")
    bundle.config["annotations"] = {"org.systemd.property.TimeoutStopSec": "30"}
    assert minirunc.run(bundle) == (0, "", "")
