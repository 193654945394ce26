"""linux.resources with --systemd-cgroup: limits hold, and neither update nor systemd's reload shakes them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until
from tests.uml.systemd.conftest import BY_SYSTEMD, scope, show, systemctl
from tests.uml.test_cpu import SPIN, SPIN_S, _stat
from tests.uml.test_memory import EAT_64_MIB

MIB = 1 << 20
KMSG = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}
ALLOW_KMSG = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
# Never rewritten by the kernel itself.
LIMITS = (
    *("cpu.max", "cpu.max.burst", "cpu.weight", "cpu.idle", "io.max", "pids.max", "cgroup.freeze"),
    *("memory.min", "memory.low", "memory.high", "memory.max", "memory.swap.max", "memory.oom.group"),
)


def limits(cgroup: Path) -> dict[str, str]:
    """What stands in the files."""
    return {name: (cgroup / name).read_text() for name in LIMITS if (cgroup / name).exists()}


def test_process_over_the_memory_limit_is_killed(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """memory.limit: by the kernel, and nothing of the unit is left."""
    bundle = limited(EAT_64_MIB.split(), memory={"limit": 16 * MIB, "swap": 16 * MIB})
    assert minirunc.run(bundle, before=BY_SYSTEMD).status == 137
    bundle.linux["resources"]["memory"] = {"limit": 128 * MIB}
    assert minirunc.run(bundle, before=BY_SYSTEMD).status == 0


def test_process_over_the_pids_limit_is_not_made(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """pids.limit: fork fails."""
    bundle = limited("for i in 1 2 3 4 5; do sleep 100 & done; echo not reached", pids={"limit": 5})
    result = minirunc.run(bundle, before=BY_SYSTEMD)
    assert (result.status != 0, result.out) == (True, "")
    assert "can't fork" in result.err


def test_quota_throttles(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """cpu.quota: a process that wants all of a cpu gets a tenth."""
    result = minirunc.run(limited(SPIN, cpu={"quota": 10000, "period": 100000}), before=BY_SYSTEMD)
    stat = _stat(result.out)
    assert stat["nr_throttled"] > SPIN_S * 10 / 3
    assert stat["usage_usec"] < SPIN_S * 1_000_000 / 3


def test_exec_is_under_the_limits(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A process that joins is in the unit's cgroup."""
    bundle = limited("sleep 1000", memory={"limit": 16 * MIB, "swap": 16 * MIB})
    id = minirunc.start(bundle, before=BY_SYSTEMD)
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 137
    assert minirunc.status(id) == "running"


def test_limit_that_systemd_does_not_know_is_set(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """What has no property stands in the cgroup all the same: cpu.burst, memory.oom.group."""
    bundle = limited(
        "cat /sys/fs/cgroup/cpu.max.burst /sys/fs/cgroup/memory.oom.group",
        cpu={"quota": 50000, "period": 100000, "burst": 20000},
        unified={"memory.oom.group": "1"},
    )
    assert minirunc.run(bundle, before=BY_SYSTEMD) == (0, "20000\n1\n", "")


@pytest.mark.parametrize("access", [None, "r"])
def test_device(minirunc: Runtime, limited: Callable[..., Bundle], access: str | None) -> None:
    """devices: a node that is there can be opened if a rule allows it, else not."""
    bundle = limited("head -c 1 /dev/mine >/dev/null && echo opened; echo x >/dev/null && echo written")
    bundle.linux["devices"] = [KMSG]
    bundle.linux["resources"]["devices"] += [ALLOW_KMSG] if access else []
    result = minirunc.run(bundle, before=BY_SYSTEMD)
    assert result.out == ("opened\n" if access else "") + "written\n"
    assert ("Operation not permitted" in result.err) == (not access)


def test_device_that_is_denied_again(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """devices: an allowed range but for one of it, which systemd has no word for, is kept."""
    bundle = limited("for n in null zero mine; do head -c 0 /dev/$n && echo $n; done")
    bundle.linux["devices"] = [KMSG]
    bundle.linux["resources"]["devices"] += [
        {"allow": True, "type": "c", "major": 1, "access": "rwm"},
        ALLOW_KMSG | {"allow": False, "access": "rwm"},
    ]
    assert minirunc.run(bundle, before=BY_SYSTEMD).out == "null\nzero\n"


@pytest.fixture
def everything(minirunc: Runtime, limited: Callable[..., Bundle]) -> str:
    """A running container with limits of all kinds: its id."""
    bundle = limited(
        "sleep 1000",
        memory={"limit": 64 * MIB, "reservation": 16 * MIB, "swap": 80 * MIB},
        cpu={"shares": 300, "quota": 33333, "period": 70000, "burst": 7000},
        pids={"limit": 20},
        unified={"memory.high": str(60 * MIB)},
    )
    return minirunc.start(bundle, before=BY_SYSTEMD)


@pytest.mark.parametrize("how", ["daemon-reload", "daemon-reexec"])
def test_reload_changes_no_limit(minirunc: Runtime, everything: str, how: str) -> None:
    """systemctl daemon-reload: systemd applies what it knows again, and that is what was there."""
    cgroup = minirunc.cgroup(everything)
    before = limits(cgroup)
    assert before["memory.max"] == f"{64 * MIB}\n"
    systemctl(how)
    assert limits(cgroup) == before
    assert minirunc.cgroup(everything) == cgroup


def test_reload_leaves_the_oom_group(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """unified memory.oom.group: systemd writes it, too, after the unit's OOMPolicy."""
    id = minirunc.start(limited("sleep 1000", unified={"memory.oom.group": "1"}), before=BY_SYSTEMD)
    systemctl("daemon-reload")
    assert (minirunc.cgroup(id) / "memory.oom.group").read_text() == "1\n"


def test_neighbour_changes_no_limit(minirunc: Runtime, limited: Callable[..., Bundle], everything: str) -> None:
    """Another unit that comes and goes in the same slice makes systemd look at all in it."""
    cgroup = minirunc.cgroup(everything)
    before = limits(cgroup)
    subprocess.run(["systemd-run", "--quiet", "--scope", "--property=MemoryMax=99M", "true"], check=True)
    assert minirunc.run(limited("true", pids={"limit": 3}), before=BY_SYSTEMD).status == 0
    assert limits(cgroup) == before


def test_updated_limits_are_the_unit_s(minirunc: Runtime, everything: str) -> None:
    """`update`: cgroup and unit get the new value, keep the others, and a reload keeps them, too."""
    cgroup = minirunc.cgroup(everything)
    before = limits(cgroup)
    minirunc.ok("update", "--memory", str(96 * MIB), "--memory-swap", str(96 * MIB), "--pids-limit", "30", everything)
    minirunc.ok("update", "--cpu-quota", "40000", "--cpu-period", "50000", "--cpu-share", "1024", everything)
    changed = {
        "memory.max": f"{96 * MIB}\n",
        "memory.swap.max": "0\n",
        "pids.max": "30\n",
        "cpu.max": "40000 50000\n",
        "cpu.weight": "100\n",
    }
    assert limits(cgroup) == before | changed
    wanted = {"MemoryMax": str(96 * MIB), "MemorySwapMax": "0", "TasksMax": "30", "CPUWeight": "100"}
    wanted |= {"CPUQuotaPerSecUSec": "800ms", "CPUQuotaPeriodUSec": "50ms", "MemoryLow": str(16 * MIB)}
    assert show(scope(everything), *wanted) == wanted
    systemctl("daemon-reload")
    assert limits(cgroup) == before | changed
    # A limit that is taken away is not brought back by a reload.
    minirunc.ok("update", "--pids-limit", "-1", everything)
    systemctl("daemon-reload")
    assert (cgroup / "pids.max").read_text() == "max\n"


def test_updated_limit_holds(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`update`: what was enough is too little after."""
    id = minirunc.start(limited("sleep 1000", memory={"limit": 128 * MIB}), before=BY_SYSTEMD)
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 0
    minirunc.ok("update", "--memory", str(32 * MIB), "--memory-swap", str(32 * MIB), id)
    systemctl("daemon-reload")
    assert minirunc("exec", id, *EAT_64_MIB.split()).status == 137


def test_paused_container_stays_paused(minirunc: Runtime, everything: str) -> None:
    """A container that is paused is so after update and reload."""
    minirunc.ok("pause", everything)
    minirunc.ok("update", "--pids-limit", "30", everything)
    systemctl("daemon-reload")
    assert minirunc.status(everything) == "paused"
    minirunc.ok("resume", everything)
    assert minirunc.status(everything) == "running"


def test_devices_are_reached_all_the_time(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A process that opens its devices again and again never fails, and one that may not never succeeds, through update
    and reload: no moment has no rules, or other ones."""
    script = """
        while :; do
            head -c 0 /dev/mine || echo mine; echo x >/dev/null || echo null
            head -c 0 /dev/loop 2>/dev/null && echo loop
            echo . >&2
        done
    """
    bundle = limited(script, pids={"limit": 20})
    bundle.linux["devices"] = [KMSG, {"path": "/dev/loop", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666}]
    bundle.linux["resources"]["devices"].append(ALLOW_KMSG)
    with (bundle.path / "out").open("wb") as out, (bundle.path / "turns").open("wb") as turns:
        id = minirunc.start(bundle, before=BY_SYSTEMD, stdout=out, stderr=turns)
    count = lambda: (bundle.path / "turns").stat().st_size  # noqa: E731
    for number in range(5):
        seen = count()
        wait_until(lambda seen=seen: count() > seen + 20, "it opens devices")
        minirunc.ok("update", "--pids-limit", str(30 + number), id)
        seen = count()
        wait_until(lambda seen=seen: count() > seen + 20, "it opens devices")
        systemctl("daemon-reload")
    minirunc.ok("delete", "--force", id)
    assert (bundle.path / "out").read_text() == ""
    assert set((bundle.path / "turns").read_text()) == {".", "\n"}
