"""config.json linux.resources.blockIO: cgroup v2's io controller."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

MIB = 1 << 20


THROTTLES = {
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}


@pytest.mark.observes(
    *(f"linux.resources.blockIO.{throttle}[].{name}" for throttle in THROTTLES for name in ("major", "minor", "rate"))
)
@pytest.mark.parametrize(("throttle", "key"), THROTTLES.items())
def test_rate_is_in_io_max(
    minirunc: Runtime, limited: Callable[..., Bundle], disk: Path, throttle: str, key: str
) -> None:
    """Each throttle is a key of the device's line in io.max; the other keys have no limit."""
    bundle = limited("cat /sys/fs/cgroup/io.max", blockIO={throttle: [_rate(disk, 4096)]})
    values = dict.fromkeys(THROTTLES.values(), "max") | {key: "4096"}
    line = " ".join(f"{name}={value}" for name, value in values.items())
    major, minor = _number(disk)
    assert minirunc.run(bundle) == (0, f"{major}:{minor} {line}\n", "")


def test_all_rates_of_a_device_are_in_io_max(minirunc: Runtime, limited: Callable[..., Bundle], disk: Path) -> None:
    """Throttles of one device add up to one line."""
    rates = {
        "throttleReadBpsDevice": [_rate(disk, 1 * MIB)],
        "throttleWriteBpsDevice": [_rate(disk, 2 * MIB)],
        "throttleReadIOPSDevice": [_rate(disk, 30)],
        "throttleWriteIOPSDevice": [_rate(disk, 40)],
    }
    result = minirunc.run(limited("cat /sys/fs/cgroup/io.max", blockIO=rates))
    assert result.out.split()[1:] == [f"rbps={MIB}", f"wbps={2 * MIB}", "riops=30", "wiops=40"]


@pytest.mark.observes(
    "linux.resources.blockIO.throttleReadBpsDevice[].rate", "linux.resources.blockIO.throttleWriteBpsDevice[].rate"
)
@pytest.mark.parametrize("throttle", ["throttleWriteBpsDevice", "throttleReadBpsDevice"])
def test_rate_is_kept(minirunc: Runtime, limited: Callable[..., Bundle], disk: Path, throttle: str) -> None:
    """4 MiB at 1 MiB/s take at least three seconds, from inside; without a limit they take no time."""
    ends = "if=/dev/zero of=/dev/disk oflag=direct"
    if "Read" in throttle:
        ends = "if=/dev/disk of=/dev/null iflag=direct"
    script = f"read a b </proc/uptime; dd {ends} bs=256k count=16 || exit 9; read c d </proc/uptime; echo $a $c"
    free, slow = (
        with_disk(limited(script, **limit), disk) for limit in ({}, {"blockIO": {throttle: [_rate(disk, MIB)]}})
    )
    assert _seconds(minirunc.run(free).out) < 2
    assert _seconds(minirunc.run(slow).out) > 3


@pytest.mark.parametrize("weights", [{"weight": 100}, {"weightDevice": [{"major": 7, "minor": 0, "weight": 100}]}])
def test_weight_that_the_kernel_does_not_know_is_refused(
    minirunc: Runtime, limited: Callable[..., Bundle], weights: dict[str, object]
) -> None:
    """weight, weightDevice: neither BFQ's groups nor io.cost are in this kernel; it is an error that names the file."""
    result = minirunc.run(limited("true", blockIO=weights))
    assert result.status == 1
    assert "config.json: linux.resources.blockIO: this kernel has no io.weight" in result.err


def _number(disk: Path) -> tuple[int, int]:
    device = disk.stat().st_rdev
    return os.major(device), os.minor(device)


def _rate(disk: Path, rate: int) -> dict[str, int]:
    major, minor = _number(disk)
    return {"major": major, "minor": minor, "rate": rate}


def with_disk(bundle: Bundle, disk: Path) -> Bundle:
    """Give the container the device, as /dev/disk, and the right to use it."""
    major, minor = _number(disk)
    bundle.linux["devices"] = [{"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600}]
    bundle.linux["resources"]["devices"].append(
        {"allow": True, "type": "b", "major": major, "minor": minor, "access": "rw"}
    )
    return bundle


def _seconds(out: str) -> float:
    start, end = out.split()
    return float(end) - float(start)
