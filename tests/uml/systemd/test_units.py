"""The systemd driver with a real systemd: units, their limits and devices, seen in systemd's and the kernel's files."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minirunc.base.errors import Error, StateError
from minirunc.cgroup import systemd
from minirunc.cgroup.systemd import Systemd, Unit, path_of, unit_for
from minirunc.config import annotations
from minirunc.config.linux.resources import Resources, limits, properties, unit_properties
from tests.command_line import TOP
from tests.ground.runtime import wait_until
from tests.uml.systemd.conftest import UserManager, systemctl

CGROUPS = Path("/sys/fs/cgroup")
GIB = 2**30


@pytest.fixture
def manager() -> Iterator[Systemd]:
    with Systemd(user=False) as one:
        yield one


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start one that is to be in a unit: `process()` sleeps, `process("sh", "-c", ...)` runs a program."""
    started = []

    def make(*command: str) -> subprocess.Popen[str]:
        one = subprocess.Popen(
            command or ["sleep", "1000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(one)
        return one

    yield make
    for one in started:
        one.kill()
        one.communicate()


def shown(unit: Unit, *names: str) -> dict[str, str]:
    lines = systemctl("show", *(f"--property={name}" for name in names), "--", unit.name).splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def state(unit: Unit) -> str:
    return shown(unit, "ActiveState")["ActiveState"]


@pytest.mark.parametrize(
    "cgroups_path",
    ["", "a-b-c.slice:p:n", "-:p:n", "::n", "a.slice:_p:n", "cpu.slice:.p:n", "memory-x.slice:cgroup.p:n", ":io:n"],
)
def test_unit_is_started_and_stopped(manager, process, cgroups_path):
    """A scope with the process in it, where the name says; after the stop there is nothing."""
    unit, child = unit_for(cgroups_path, "a+b", user=False), process()
    path = systemd.start(manager, unit, "a+b", child.pid, [])
    assert path == path_of(unit) == shown(unit, "ControlGroup")["ControlGroup"]
    assert (CGROUPS / path[1:] / "cgroup.procs").read_text() == f"{child.pid}\n"
    assert shown(unit, "Description", "Slice", "Delegate", "CollectMode", "DefaultDependencies", "ActiveState") == {
        "Description": "libcontainer container a+b",
        "Slice": unit.slice,
        "Delegate": "yes",
        "CollectMode": "inactive-or-failed",
        "DefaultDependencies": "no",
        "ActiveState": "active",
    }
    accounting = shown(unit, *(f"{what}Accounting" for what in ("Memory", "CPU", "IO", "Tasks")))
    assert set(accounting.values()) == {"yes"}
    child.kill()
    systemd.stop(manager, unit)
    assert not (CGROUPS / path[1:]).exists()
    assert shown(unit, "LoadState")["LoadState"] == "not-found"
    systemd.stop(manager, unit)


def test_slice_is_a_unit_without_the_process(manager, process):
    """NAME.slice: its cgroup is made; systemd puts no process into a slice."""
    unit, child = unit_for(":x:test-own.slice", "x", user=False), process()
    path = systemd.start(manager, unit, "x", child.pid, [("TasksMax", "t", 9)])
    assert path == "/test.slice/test-own.slice"
    assert (CGROUPS / path[1:] / "pids.max").read_text() == "9\n"
    assert (CGROUPS / path[1:] / "cgroup.procs").read_text() == ""
    systemd.stop(manager, unit)
    assert not (CGROUPS / path[1:]).exists()


def test_living_unit_of_the_name_is_refused(manager, process):
    """Its process stays where it is, and so does ours."""
    unit, first, second = unit_for("", "living", user=False), process(), process()
    path = systemd.start(manager, unit, "living", first.pid, [])
    with pytest.raises(StateError) as wrong:
        systemd.start(manager, unit, "living", second.pid, [])
    why = f"systemd has a unit {unit.name} already, which is active; end it, or name another in linux.cgroupsPath"
    assert str(wrong.value) == why
    assert (CGROUPS / path[1:] / "cgroup.procs").read_text() == f"{first.pid}\n"
    systemctl("kill", "--signal=KILL", unit.name)
    systemd.stop(manager, unit)


def test_slice_with_a_file_is_refused(manager, process):
    """systemd makes no other of a name that has a file (a scope's it does not read)."""
    file = Path("/run/systemd/system/file.slice")
    file.write_text("[Unit]\nDescription=somebody else's\n")
    try:
        systemctl("daemon-reload")
        with pytest.raises(StateError) as wrong:
            systemd.start(manager, unit_for(":x:file.slice", "file", user=False), "file", process().pid, [])
    finally:
        file.unlink()
        systemctl("daemon-reload")
    why = "end it, or name another in linux.cgroupsPath"
    assert str(wrong.value) == f"systemd has a unit file.slice already, which is not loaded; {why}"


def test_failed_unit_of_the_name_is_cleared_away(manager, process):
    """What is left of a unit that systemd keeps for its failure is no reason to fail again."""
    unit = unit_for("", "left", user=False)
    # Not collected when it failed, which it does by its own time limit.
    leave = [("CollectMode", "s", "inactive"), ("RuntimeMaxUSec", "t", 100000)]
    systemd.start(manager, unit, "left", process().pid, leave)
    wait_until(lambda: state(unit) == "failed", "the unit fails")
    child = process()
    systemd.start(manager, unit, "left", child.pid, [])
    assert (state(unit), child.poll()) == ("active", None)
    systemctl("kill", "--signal=KILL", unit.name)
    systemd.stop(manager, unit)


def test_unit_that_is_ending_is_waited_for(manager, process):
    """Its last process does not go by SIGTERM; when it is gone, the name is free."""
    unit = unit_for("", "ending", user=False)
    stubborn = process("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert stubborn.stdout.readline() == "ready\n"
    systemd.start(manager, unit, "ending", stubborn.pid, [("TimeoutStopUSec", "t", 1000000)])
    systemctl("stop", "--no-block", unit.name)
    wait_until(lambda: state(unit) == "deactivating", "the unit is ending")
    systemd.start(manager, unit, "ending", process().pid, [])
    assert state(unit) == "active"
    systemctl("kill", "--signal=KILL", unit.name)
    systemd.stop(manager, unit)


def test_stop_of_a_unit_that_does_not_end_has_a_deadline(manager, process):
    """SIGTERM is ignored, and systemd would wait for 90 seconds."""
    unit = unit_for("", "stubborn", user=False)
    stubborn = process("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert stubborn.stdout.readline() == "ready\n"
    systemd.start(manager, unit, "stubborn", stubborn.pid, [])
    with pytest.raises(Error) as late:
        systemd.stop(manager, unit, 1)
    assert str(late.value) == "systemd did not stop unit minirunc-stubborn.scope within 1 seconds: its job is running"
    systemctl("kill", "--signal=KILL", unit.name)
    systemd.stop(manager, unit)
    assert shown(unit, "LoadState")["LoadState"] == "not-found"


def other_unit(name: str, script: str) -> None:
    """A service that a scope can be made to depend on."""
    text = f"[Service]\nType=oneshot\nExecStart=/bin/sh -c '{script}'\n"
    Path(f"/run/systemd/system/{name}.service").write_text(text)
    systemctl("daemon-reload")


def depending(name: str) -> list[tuple[str, str, object]]:
    names = {f"org.systemd.property.{what}": f"['{name}.service']" for what in ("Requires", "After")}
    return annotations.unit_properties(names)


def test_job_that_fails_is_told_in_systemds_word(manager, process):
    """Here by an annotation that makes the unit depend on one that fails."""
    other_unit("failing", "exit 1")
    unit = unit_for("", "fails", user=False)
    with pytest.raises(Error) as wrong:
        systemd.start(manager, unit, "fails", process().pid, depending("failing"))
    assert str(wrong.value) == f"systemd did not start unit {unit.name}: its job ended with the result dependency"
    systemd.stop(manager, unit)


def test_job_that_waits_has_a_deadline(manager, process):
    """The error says what became of the job; a stop takes it back."""
    other_unit("slow", "exec sleep 1000")
    unit = unit_for("", "waits", user=False)
    with pytest.raises(Error) as late:
        systemd.start(manager, unit, "waits", process().pid, depending("slow"), 1)
    assert str(late.value) == "systemd did not start unit minirunc-waits.scope within 1 seconds: its job is waiting"
    systemd.stop(manager, unit)
    assert "minirunc-waits" not in systemctl("list-jobs")
    systemctl("kill", "--signal=KILL", "slow.service")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("NoSuch", "s", "x"), "Cannot set property NoSuch, or unknown property."),
        (("TasksMax", "t", 0), "Value specified in TasksMax is out of range"),
        (("TasksMax", "s", "x"), "Failed to set unit properties: Unexpected message contents"),
    ],
)
def test_refused_property_is_told_in_systemds_words(manager, process, given, why):
    """Nothing is started, and the connection can be used on."""
    unit = unit_for("", "refused", user=False)
    with pytest.raises(Error) as wrong:
        systemd.start(manager, unit, "refused", process().pid, [given])
    assert str(wrong.value) == f"unable to start unit minirunc-refused.scope: {why}"
    assert shown(unit, "LoadState")["LoadState"] == "not-found"
    assert manager.version() >= 252


def test_process_that_is_gone_is_told(manager, process):
    """It died before systemd was asked."""
    child = process("true")
    child.wait()
    with pytest.raises(Error) as wrong:
        systemd.start(manager, unit_for("", "gone", user=False), "gone", child.pid, [])
    assert re.search(r"unable to start unit minirunc-gone.scope: Process with ID \d+ does not exist", str(wrong.value))


def test_lost_connection_is_made_again(manager, process):
    """The bus daemon closes it (here: we do); what can be asked twice is."""
    unit, child = unit_for("", "lost", user=False), process()
    manager.version()
    manager._connection._socket.shutdown(2)
    path = systemd.start(manager, unit, "lost", child.pid, [])
    manager._connection._socket.shutdown(2)
    systemd.set_properties(manager, unit, [("TasksMax", "t", 7)])
    assert (CGROUPS / path[1:] / "pids.max").read_text() == "7\n"
    child.kill()
    manager._connection._socket.shutdown(2)
    systemd.stop(manager, unit)
    assert not (CGROUPS / path[1:]).exists()


def test_bus_daemon_that_hangs_is_given_up(manager, process):
    """No call waits for ever; when it goes on, all is well again."""
    unit = unit_for("", "hangs", user=False)
    manager.version()
    daemon = int(systemctl("show", "--property=MainPID", "--value", "dbus.service"))
    os.kill(daemon, 19)
    try:
        with pytest.raises(Error) as late:
            systemd.start(manager, unit, "hangs", process().pid, [], 1)
        with pytest.raises(Error) as again:
            systemd.start(manager, unit, "hangs", process().pid, [], 1)
    finally:
        os.kill(daemon, 18)
    begun = "systemd did not start unit minirunc-hangs.scope within 1 seconds"
    assert str(late.value) == f"{begun}: no answer to AddMatch from /run/dbus/system_bus_socket"
    assert str(again.value) == f"{begun}: no authentication by /run/dbus/system_bus_socket"
    child = process()
    systemd.start(manager, unit, "hangs", child.pid, [])
    child.kill()
    systemd.stop(manager, unit)


def test_private_socket_stands_in_for_the_bus(manager, process, monkeypatch):
    """As for systemctl: where there is no bus (yet), root asks systemd itself."""
    monkeypatch.setattr(systemd.posix, "environ", {b"DBUS_SYSTEM_BUS_ADDRESS": b"unix:path=/run/nobody"})
    unit, child = unit_for("", "private", user=False), process()
    path = systemd.start(manager, unit, "private", child.pid, [])
    assert manager.connection(time.monotonic() + 5).address == "/run/systemd/private"
    child.kill()
    systemd.stop(manager, unit)
    assert not (CGROUPS / path[1:]).exists()


PROGRAM = f"""
import subprocess, sys
sys.path.insert(0, {str(TOP)!r})
from minirunc.cgroup import systemd
child = subprocess.Popen(["sleep", "1000"])
with systemd.Systemd(user=True) as manager:
    unit = systemd.unit_for(sys.argv[1], "own", user=True)
    path = systemd.start(manager, unit, "own", child.pid, [("TasksMax", "t", 7)])
    above = systemd.control_group(manager)
    limit = open("/sys/fs/cgroup" + path + "/pids.max").read().strip()
    child.kill()
    systemd.stop(manager, unit)
    print(path == systemd.path_of(unit, above), path, limit, manager.connection(1e9).address)
"""


@pytest.mark.parametrize(
    ("cgroups_path", "path"),
    [("", "user.slice/minirunc-own.scope"), ("a-b.slice:p:n", "a.slice/a-b.slice/p-n.scope"), ("-:p:n", "p-n.scope")],
)
def test_users_unit_is_below_his_manager(user_manager: UserManager, cgroups_path, path):
    """Without root: on the user's bus, in his manager's cgroup."""
    told = user_manager.run([sys.executable, "-c", PROGRAM, cgroups_path])
    assert told == f"True {user_manager.cgroup}/{path} 7 {user_manager.runtime}/bus\n"


def test_user_namespace_does_not_hide_who_we_are(user_manager: UserManager):
    """Root there is the user outside, as the socket says; so says rootless Podman, which runs us there."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", PROGRAM, ""]
    told = user_manager.run(command)
    assert told == f"True {user_manager.cgroup}/user.slice/minirunc-own.scope 7 {user_manager.runtime}/bus\n"


def files(cgroup: Path) -> dict[str, str]:
    """Those of the limits."""
    names = [
        path.name
        for path in cgroup.iterdir()
        if re.match(r"(cpu|io|memory|pids)\..*(max|weight|idle|low|high|min|burst)$", path.name)
    ]
    return {name: (cgroup / name).read_text().strip() for name in names}


LIMITS: list[dict[str, Any]] = [
    {"memory": {"limit": GIB, "reservation": 2**25, "swap": GIB + 2**20}, "pids": {"limit": 77}},
    {"memory": {"limit": -1}, "pids": {"limit": 0}, "cpu": {"idle": 1}},
    {"cpu": {"shares": 2048, "quota": 33333, "period": 77777, "burst": 1000}, "pids": {"limit": -1}},
    {"cpu": {"quota": 1001, "period": 1000000, "shares": 2}},
    {"cpu": {"quota": 123456, "period": 1000}},
    {"cpu": {"quota": -1}},
    {"unified": {
        "memory.high": "512M", "memory.min": "1m", "memory.low": "max", "memory.max": "1073741824", "pids.max": "0",
        "memory.swap.max": "0", "memory.swap.high": "100M", "cpu.max": "33333", "cpu.weight": "7", "cpu.max.burst": "5",
    }},
    {"unified": {"cpu.idle": "1", "cpu.max": "max"}},
]  # fmt: skip


@pytest.mark.parametrize("resources", LIMITS)
def test_daemon_reload_changes_no_limit(manager, process, resources):
    """What the files hold is what systemd will write: at a reload, a re-execution, a change of another property."""
    record = Resources.parse(resources)
    unit, child = unit_for("", "limits", user=False), process()
    given = properties(record, manager.version(), lambda file: file != "io.bfq.weight")
    cgroup = CGROUPS / systemd.start(manager, unit, "limits", child.pid, given)[1:]
    begun = files(cgroup)
    for _, file, value in unit_properties.kept(limits(record, lambda file: (cgroup / file).exists())):
        (cgroup / file).write_text(value)
    before = files(cgroup)
    # What systemd writes it had written already; the rest is ours alone.
    changed = {name for name in before if before[name] != begun[name]}
    assert changed <= {"cpu.max.burst", "memory.swap.high"}
    systemctl("daemon-reload")
    assert files(cgroup) == before
    systemd.set_properties(manager, unit, [("Description", "s", "another")])
    assert files(cgroup) == before
    systemctl("daemon-reexec")
    assert files(cgroup) == before
    child.kill()
    systemd.stop(manager, unit)


def test_daemon_reload_resets_what_systemd_was_not_told(manager, process):
    """The reason for it all: a limit that is in its file only is gone with the next reload."""
    unit, child = unit_for("", "reset", user=False), process()
    cgroup = CGROUPS / systemd.start(manager, unit, "reset", child.pid, [])[1:]
    (cgroup / "memory.max").write_text("1073741824")
    systemctl("daemon-reload")
    assert (cgroup / "memory.max").read_text() == "max\n"
    child.kill()
    systemd.stop(manager, unit)


def test_io_max_is_left_alone(manager, process, tmp_path):
    """It has no property of ours, as systemd would limit the disk below a device of the mapper: a reload keeps it."""
    (tmp_path / "image").write_bytes(b"\0" * 2**20)
    number = re.search(r"\d+$", subprocess.check_output(["losetup", "--find"], text=True).strip())
    device = f"/dev/loop{number[0]}"
    subprocess.run(["losetup", device, tmp_path / "image"], check=True)
    record = Resources.parse(
        {"blockIO": {"throttleReadBpsDevice": [{"major": 7, "minor": int(number[0]), "rate": 2**20}]}}
    )
    unit, child = unit_for("", "io", user=False), process()
    cgroup = CGROUPS / systemd.start(manager, unit, "io", child.pid, properties(record, 252, bool))[1:]
    for _, file, value in limits(record, lambda file: (cgroup / file).exists()):
        (cgroup / file).write_text(value)
    before = (cgroup / "io.max").read_text()
    assert before == f"7:{number[0]} rbps=1048576 wbps=max riops=max wiops=max\n"
    systemctl("daemon-reload")
    systemd.set_properties(manager, unit, [("TasksMax", "t", 9)])
    assert (cgroup / "io.max").read_text() == before
    child.kill()
    systemd.stop(manager, unit)
    subprocess.run(["losetup", "--detach", device], check=True)


def test_cpu_and_memory_node_sets_reach_systemd(manager, process):
    """In its order of bits; this kernel has no cpuset controller to show more."""
    record = Resources.parse({"cpu": {"cpus": "0-3,9", "mems": "0,2"}})
    unit, child = unit_for("", "sets", user=False), process()
    systemd.start(manager, unit, "sets", child.pid, properties(record, manager.version(), bool))
    assert shown(unit, "AllowedCPUs", "AllowedMemoryNodes") == {"AllowedCPUs": "0-3 9", "AllowedMemoryNodes": "0 2"}
    child.kill()
    systemd.stop(manager, unit)


# Opens each device as asked for, when it is told to: once before and once after a reload.
OPENS = """
import os, sys
for line in sys.stdin:
    told = []
    for word in line.split():
        name, _, flags = word.partition("=")
        try:
            os.close(os.open(name, {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[flags] | os.O_NONBLOCK))
            told.append("yes")
        except OSError as error:
            told.append(os.strerror(error.errno))
    print(*told, sep=",", flush=True)
"""
NO = "Operation not permitted"


@pytest.mark.parametrize(
    ("rules", "opens"),
    [
        ([], {"/dev/null=rw": "yes", "/dev/zero=r": "yes", "/dev/kmsg=r": NO, "/dev/loop0=r": NO}),
        (
            [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}],
            {"/dev/kmsg=r": "yes", "/dev/kmsg=w": NO, "/dev/kmsg=rw": NO},
        ),
        (
            [
                {"allow": True, "type": "c", "major": 1, "access": "r"},
                {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "w"},
            ],
            {"/dev/kmsg=rw": "yes", "/dev/kmsg=w": "yes", "/dev/loop0=r": NO},
        ),
        ([{"allow": True, "type": "b", "major": 7, "access": "rw"}], {"/dev/loop0=rw": "yes", "/dev/kmsg=r": NO}),
        ([{"allow": True, "type": "b", "access": "r"}], {"/dev/loop0=r": "yes", "/dev/loop0=w": NO, "/dev/kmsg=r": NO}),
        ([{"allow": True, "access": "rwm"}], {"/dev/loop0=rw": "yes", "/dev/kmsg=rw": "yes"}),
    ],
)
def test_device_rules_are_kept_by_systemd(manager, process, rules, opens):
    """systemd's own program, without ours beside: what the rules allow can be opened, before and after a reload."""
    given = properties(Resources.parse({"devices": rules}), manager.version(), bool)
    unit, child = unit_for("", "devices", user=False), process(sys.executable, "-u", "-c", OPENS)
    systemd.start(manager, unit, "devices", child.pid, given)
    for _ in range(2):
        print(*opens, file=child.stdin)
        assert child.stdout.readline() == ",".join(opens.values()) + "\n"
        systemctl("daemon-reload")
    child.kill()
    systemd.stop(manager, unit)
