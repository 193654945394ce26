"""config.json linux.resources.cpu: cgroup v2's cpu controller."""

from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

# Wants the whole cpu for this long, then tells what it got.
SPIN_S = 3
SPIN = f"timeout -s KILL {SPIN_S} sh -c 'while :; do :; done'; cat /sys/fs/cgroup/cpu.stat"


@pytest.mark.observes(*(f"linux.resources.cpu.{name}" for name in ("shares", "quota", "period", "burst", "idle")))
@pytest.mark.parametrize(
    ("cpu", "file", "value"),
    [
        ({"quota": 20000, "period": 50000}, "cpu.max", "20000 50000"),
        ({"quota": 20000}, "cpu.max", "20000 100000"),
        ({"period": 50000}, "cpu.max", "max 50000"),
        ({"quota": -1, "period": 50000}, "cpu.max", "max 50000"),
        ({"quota": 20000, "period": 50000, "burst": 10000}, "cpu.max.burst", "10000"),
        ({"idle": 1}, "cpu.idle", "1"),
        ({"idle": 0, "shares": 2}, "cpu.weight", "1"),
        ({"shares": 0}, "cpu.weight", "100"),
        ({"shares": 2}, "cpu.weight", "1"),
        ({"shares": 100}, "cpu.weight", "17"),
        ({"shares": 1024}, "cpu.weight", "100"),
        ({"shares": 4096}, "cpu.weight", "303"),
        ({"shares": 262144}, "cpu.weight", "10000"),
    ],
)
def test_value_reaches_its_file(
    minirunc: Runtime, limited: Callable[..., Bundle], cpu: dict[str, int], file: str, value: str
) -> None:
    """quota and period are cpu.max, shares is cpu.weight by runc's curve (since 1.4), 1024 being 100."""
    result = minirunc.run(limited(f"cat /sys/fs/cgroup/{file}", cpu=cpu))
    assert result == (0, f"{value}\n", "")


@pytest.mark.observes("linux.resources.cpu.quota", "linux.resources.cpu.period")
def test_quota_throttles(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """quota: a process that wants all of a cpu gets a tenth, and cpu.stat counts the periods it was held."""
    stat = _spin(minirunc, limited(SPIN, cpu={"quota": 10000, "period": 100000}))
    assert stat["nr_throttled"] > SPIN_S * 10 / 3
    assert stat["usage_usec"] < SPIN_S * 1_000_000 / 4


def test_without_quota_nothing_is_throttled(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """No quota: the same program is not held."""
    stat = _spin(minirunc, limited(SPIN))
    assert stat["nr_throttled"] == 0
    assert stat["usage_usec"] > SPIN_S * 1_000_000 / 2


def test_exec_is_throttled(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """quota: a process that joins is held by the same quota."""
    id = minirunc.start(limited("sleep 1000", cpu={"quota": 10000, "period": 100000}))
    out = minirunc.ok("exec", id, "sh", "-c", SPIN)
    assert _stat(out)["nr_throttled"] > SPIN_S * 10 / 3


def _spin(minirunc: Runtime, bundle: Bundle) -> dict[str, int]:
    result = minirunc.run(bundle)
    assert result.status == 0, result.err
    return _stat(result.out)


def _stat(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
