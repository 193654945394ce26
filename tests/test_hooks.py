"""container/hooks.py, config.hooks: six kinds of programs, each at its moment, in its namespaces, with the state."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import inside
from tests.ground import leftovers, oci_schema
from tests.ground.bundle import Bundle
from tests.ground.runtime import Result, Runtime, wait_until

OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
RUNTIME = {kind: os.readlink(f"/proc/self/ns/{name}") for kind, name in inside.TYPES.items()}


def hook(script: str, **fields: Any) -> dict[str, Any]:
    """A hook that runs a script by /bin/sh, which host and container have."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **fields}


class Log:
    """A file to which hooks append, on the host and, bound to the same place, in the container."""

    def __init__(self, made: Bundle) -> None:
        self.file = made.path / "log"
        self.file.touch()
        self.file.chmod(0o666)
        made.mount(str(self.file), "bind", str(self.file), "bind")

    def lines(self) -> list[str]:
        """What they wrote."""
        return self.file.read_text().splitlines()


@pytest.fixture
def made(bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle that notes its start in the log."""
    made = bundle("sleep 1000")
    made.config["hooks"] = {}
    return made


@pytest.fixture
def log(made: Bundle) -> Log:
    """Its log."""
    log = Log(made)
    made.args(f"echo process >> {log.file}; exec sleep 1000")
    return log


def add(made: Bundle, kind: str, *hooks: dict[str, Any]) -> None:
    """Add hooks of a kind."""
    made.config["hooks"].setdefault(kind, []).extend(hooks)


def stopped(minirunc: Runtime, id: str) -> None:
    """End it."""
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")


def test_each_kind_at_its_moment(minirunc: Runtime, made: Bundle, log: Log) -> None:
    """runtime.md "Lifecycle": what create, start and delete run, in this order; two of a kind in theirs."""
    for kind in KINDS:
        add(made, kind, *(hook(f"echo {kind} {number} >> {log.file}") for number in (0, 1)))
    id = minirunc.create(made)
    created = [f"{kind} {number}" for kind in KINDS[:3] for number in (0, 1)]
    assert log.lines() == created
    minirunc.ok("start", id)
    wait_until(lambda: "process" in log.lines(), "the process runs")
    started = log.lines()[len(created) :]
    assert started[:2] == ["startContainer 0", "startContainer 1"]
    assert [line for line in started if line != "process"][2:] == ["poststart 0", "poststart 1"]
    stopped(minirunc, id)
    assert len(log.lines()) == len(created) + len(started)
    minirunc.ok("delete", id)
    assert log.lines()[len(created) + len(started) :] == ["poststop 0", "poststop 1"]


def test_run_has_all_of_them(minirunc: Runtime, made: Bundle, log: Log) -> None:
    """In the same order, by one command."""
    made.args(f"echo process >> {log.file}; read x")
    for kind in KINDS:
        add(made, kind, hook(f"echo {kind} >> {log.file}"))
    made.write()
    running = minirunc.popen("run", "--bundle", made.path, minirunc.id())
    wait_until(lambda: {"process", "poststart"} <= set(log.lines()), "it runs")
    running.communicate("\n", timeout=30)
    assert running.returncode == 0
    lines = log.lines()
    lines.remove("process")
    assert lines == list(KINDS)


@pytest.mark.observes("annotations[]")
def test_state_is_on_stdin(minirunc: Runtime, made: Bundle, log: Log) -> None:
    """The spec's state: status and pid as they are at the moment, the pid as the hook's own pid namespace counts it."""
    made.config["annotations"] = {"a": "b"}
    for kind in KINDS:
        add(made, kind, hook(f"cat >> {log.file}; echo >> {log.file}"))
    made.args("exec sleep 1000")
    id = minirunc.create(made)
    pid = minirunc.pid(id)
    minirunc.ok("start", id)
    minirunc.ok("delete", "--force", id)
    states = [json.loads(line) for line in log.lines()]
    assert [oci_schema.faults("state-schema.json", state) for state in states] == [[]] * len(KINDS)
    common = {"id": id, "bundle": str(made.path), "annotations": {"a": "b"}, "ociVersion": "1.3.0"}
    assert states == [
        {**common, "status": "creating", "pid": pid},
        {**common, "status": "creating", "pid": pid},
        {**common, "status": "creating", "pid": 1},
        {**common, "status": "created", "pid": 1},
        {**common, "status": "running", "pid": pid},
        {**common, "status": "stopped"},
    ]
    assert list(states[0]) == ["ociVersion", "id", "status", "pid", "bundle", "annotations"]


@pytest.mark.parametrize("kind", KINDS)
def test_namespaces_and_root(minirunc: Runtime, made: Bundle, log: Log, kind: str) -> None:
    """The runtime's; but createContainer the container's with the host's root, startContainer all the container's."""
    (made.rootfs / "is-container").touch()
    script = f"[ -e /is-container ] && echo container || echo host; {inside.NAMESPACES}"
    add(made, kind, hook(f"({script}) > {log.file}.{kind}", env=["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]))
    made.mount(f"{log.file}.{kind}", "bind", f"{log.file}.{kind}", "bind")
    Path(f"{log.file}.{kind}").touch()
    made.args("exec sleep 1000")
    id = minirunc.create(made)
    of_container = {name: os.readlink(f"/proc/{minirunc.pid(id)}/ns/{file}") for name, file in inside.TYPES.items()}
    minirunc.ok("start", id)
    minirunc.ok("delete", "--force", id)
    root, *namespaces = Path(f"{log.file}.{kind}").read_text().split()
    assert root == ("container" if kind == "startContainer" else "host")
    assert namespaces == list((RUNTIME if kind in OUTSIDE else of_container).values())


def test_mounts_are_there_before_create_container(minirunc: Runtime, made: Bundle) -> None:
    """As runc and crun have it: hooks of GPUs and networks look into the new root, at its place on the host."""
    seen = made.path / "seen"
    script = f"grep -c {made.rootfs}/proc /proc/self/mountinfo; pwd"
    add(made, "createContainer", hook(f"({script}) > {seen}", env=["PATH=/usr/bin:/bin"]))
    minirunc.create(made)
    count, cwd = seen.read_text().split()
    assert int(count) >= 1
    assert cwd == str(made.rootfs)


def test_runtime_hooks_see_the_containers_process(minirunc: Runtime, made: Bundle) -> None:
    """createRuntime gets a pid whose namespaces are the container's, so that a network can be moved into it."""
    seen = made.path / "seen"
    script = f"pid=$(grep -o '\"pid\":[0-9]*' | cut -d: -f2); readlink /proc/$pid/ns/net /proc/$pid/ns/mnt > {seen}"
    add(made, "createRuntime", hook(script))
    id = minirunc.create(made)
    pid = minirunc.pid(id)
    assert seen.read_text().split() == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "mnt")]


@pytest.mark.observes(*(f"hooks.{kind}[].env[]" for kind in KINDS if kind != "startContainer"))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "startContainer"])
def test_environment_is_the_runtimes(
    minirunc: Runtime, made: Bundle, log: Log, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a hook has no env; else exactly that, be it empty."""
    monkeypatch.setenv("OF_RUNTIME", "yes")
    script = f'echo "$OF_RUNTIME $A $HOME" >> {log.file}'
    add(made, kind, hook(script), hook(script, env=["A=1"]), hook(script, env=[]))
    made.args("exec sleep 1000")
    id = minirunc.start(made)
    minirunc.ok("delete", "--force", id)
    assert log.lines() == [f"yes  {os.environ['HOME']}", " 1 ", "  "]


@pytest.mark.observes("hooks.startContainer[].env[]")
def test_environment_of_start_container_is_the_processs(minirunc: Runtime, made: Bundle, log: Log) -> None:
    """Where the hook has no env; by start and by run."""
    made.process["env"] += ["OF_PROCESS=yes"]
    script = f'echo "$OF_PROCESS $A $HOME" >> {log.file}'
    add(made, "startContainer", hook(script), hook(script, env=["A=1"]), hook(script, env=[]))
    made.args("exec sleep 1000")
    minirunc.ok("start", minirunc.create(made))
    minirunc.start(made)
    assert log.lines() == ["yes  /root", " 1 ", "  "] * 2


def test_start_container_has_the_processs_rights(minirunc: Runtime, made: Bundle, log: Log) -> None:
    """Its program comes from the container: it is given the process's user, capabilities and cgroup, nothing more."""
    made.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [1002], "umask": 0o27}
    made.process["cwd"] = "/tmp"
    told = "id -u; id -g; id -G; umask; pwd; ulimit -n; cat /proc/self/cgroup; grep -E '^(Cap|NoNew)' /proc/self/status"
    script = f"{told}; echo end"
    add(made, "startContainer", hook(f"({script}) >> {log.file}"))
    made.args(f"({script}) >> {log.file}; exec sleep 1000")
    id = minirunc.create(made)
    minirunc.ok("start", id)
    wait_until(lambda: log.lines().count("end") == 2, "both")
    lines = log.lines()
    half = lines.index("end") + 1
    assert lines[:half] == lines[half:]
    assert lines[:6] == ["1000", "1001", "1001 1002", "0027", "/tmp", "1024"]


@pytest.mark.observes(*(f"hooks.{kind}[].{name}" for kind in KINDS for name in ("path", "args[]")))
@pytest.mark.parametrize("kind", KINDS)
def test_arguments_are_kept(minirunc: Runtime, made: Bundle, log: Log, kind: str) -> None:
    """args[0] is the hook's to choose; without args it is the path."""
    plain = Path("/tmp" if kind == "startContainer" else made.path) / "plain"
    target = made.rootfs / "tmp/plain" if kind == "startContainer" else plain
    target.write_text(f'#!/bin/sh\nexec >> {log.file}\necho "$# $0"\n')
    target.chmod(0o755)
    script = f'exec >> {log.file}; echo "$0|$1|$2"; read -r line < /proc/self/cmdline; echo "$line"'
    add(made, kind, {"path": "/bin/sh", "args": ["any/sh", "-c", script, "a", "b c", ""]}, {"path": str(plain)})
    made.args("exec sleep 1000")
    id = minirunc.start(made)
    minirunc.ok("delete", "--force", id)
    first, second, third = log.lines()
    assert (first, third) == ("a|b c|", f"0 {plain}")
    assert second.startswith("any/sh-c")


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_directory_is_the_bundle(minirunc: Runtime, made: Bundle, log: Log, kind: str) -> None:
    """As runc's create has it, for every command."""
    add(made, kind, hook(f"pwd >> {log.file}"))
    made.args("exec sleep 1000")
    id = minirunc.create(made)
    minirunc.ok("start", id)
    minirunc.ok("delete", "--force", id)
    assert log.lines() == [str(made.path)]


def test_create_container_is_in_the_root_to_be(minirunc: Runtime, made: Bundle) -> None:
    """As runc has it; but also where root of the user namespace may not go by its path."""
    made.path.chmod(0o700)
    made.namespace("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    add(made, "createContainer", hook("echo made >dev/shm/by-hook"))
    made.args("cat /dev/shm/by-hook")
    assert minirunc.run(made) == Result(0, "made\n", "")


def test_bundle_that_is_gone(minirunc: Runtime, made: Bundle, tmp_path: Path) -> None:
    """A poststop hook still runs."""
    add(made, "poststop", hook(f"echo done > {tmp_path}/done"))
    id = minirunc.create(made)
    made.path.rename(tmp_path / "elsewhere")
    minirunc.ok("delete", id)
    assert (tmp_path / "done").exists()


def refusal(result: Result, status: int = 1) -> str:
    """The message of the one log line."""
    assert (result.status, result.out) == (status, "")
    assert result.err.count("\n") == 1
    return result.err.partition('msg="')[2].removesuffix('"\n').replace('\\"', '"')


FAILURES: list[tuple[dict[str, Any], str]] = [
    (hook("echo out; echo err >&2; exit 3"), "exit status 3, stdout: out\\n, stderr: err\\n"),
    (hook("kill -9 $$"), "signal: killed, stdout: , stderr: "),
    ({"path": "/nosuch"}, "no such file or directory"),
    ({"path": "/etc"}, "permission denied"),
]


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
@pytest.mark.parametrize(("failing", "why"), FAILURES)
def test_failure_undoes_create(
    minirunc: Runtime, made: Bundle, log: Log, kind: str, failing: dict[str, Any], why: str
) -> None:
    """The hook is named by kind, number and path; later ones do not run, but for poststop; nothing is left."""
    add(made, kind, hook("true"), failing, hook(f"echo later >> {log.file}"))
    add(made, "startContainer", hook(f"echo later >> {log.file}"))
    add(made, "poststop", hook(f"echo poststop >> {log.file}"))
    made.write()
    for command in ("create", "run"):
        told = refusal(minirunc(command, "--bundle", made.path, minirunc.id()))
        assert told.startswith(f"minirunc {command} failed: ")
        assert told.endswith(f"error running {kind} hook #1: {failing['path']}: {why}")
    assert leftovers.state_directories(minirunc.root) == set()
    assert log.lines() == ["poststop", "poststop"]


@pytest.mark.parametrize(("failing", "why"), [*FAILURES[:3], ({"path": "/etc"}, "is a directory")])
def test_failing_start_container_stops_the_container(
    minirunc: Runtime, made: Bundle, log: Log, failing: dict[str, Any], why: str
) -> None:
    """start fails, the process has never run; delete removes what is left, with poststop."""
    add(made, "startContainer", failing, hook(f"echo later >> {log.file}"))
    add(made, "poststart", hook(f"echo later >> {log.file}"))
    add(made, "poststop", hook(f"echo poststop >> {log.file}"))
    id = minirunc.create(made)
    pid = minirunc.pid(id)
    told = refusal(minirunc("start", id))
    assert f"error running startContainer hook #0: {failing['path']}: " in told
    assert told.endswith(why)
    assert minirunc.status(id) == "stopped"
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    assert log.lines() == []
    assert "cannot start a container that has stopped" in minirunc("start", id).err
    minirunc.ok("delete", id)
    assert log.lines() == ["poststop"]
    made.write()
    assert why in refusal(minirunc("run", "--bundle", made.path, minirunc.id()))


@pytest.mark.parametrize("command", ["start", "run", "run --detach"])
def test_failing_poststart_ends_the_container(minirunc: Runtime, made: Bundle, log: Log, command: str) -> None:
    """As runtime-spec 1.3 asks; by start it is left stopped, by run deleted."""
    add(made, "poststart", hook("true"), hook("exit 3"), hook(f"echo later >> {log.file}"))
    add(made, "poststop", hook(f"echo poststop >> {log.file}"))
    if command == "start":
        id = minirunc.create(made)
        told = refusal(minirunc("start", id))
        assert minirunc.status(id) == "stopped"
        minirunc.ok("delete", id)
    else:
        made.write()
        told = refusal(minirunc(*command.split(), "--bundle", made.path, minirunc.id()))
        assert leftovers.state_directories(minirunc.root) == set()
    assert told.endswith("error running poststart hook #1: /bin/sh: exit status 3, stdout: , stderr: ")
    assert [line for line in log.lines() if line != "process"] == ["poststop"]


def test_failing_poststop_is_a_warning(minirunc: Runtime, made: Bundle, log: Log) -> None:
    """All of them run, the state directory is gone by then, and delete succeeds."""
    id = minirunc.id()
    gone = f"[ -e {minirunc.root}/{id} ] && echo there >> {log.file} || echo gone >> {log.file}"
    add(made, "poststop", hook(f"{gone}; exit 3"), {"path": "/nosuch"}, hook(gone))
    minirunc.create(made, id=id)
    result = minirunc("delete", id)
    assert (result.status, result.out) == (0, "")
    warnings = [line.partition("level=")[2] for line in result.err.splitlines()]
    assert warnings == [
        'warning msg="error running poststop hook #0: /bin/sh: exit status 3, stdout: , stderr: "',
        'warning msg="error running poststop hook #1: /nosuch: no such file or directory"',
    ]
    assert log.lines() == ["gone", "gone"]


@pytest.mark.observes(*(f"hooks.{kind}[].timeout" for kind in KINDS))
@pytest.mark.parametrize("kind", KINDS)
def test_timeout(minirunc: Runtime, made: Bundle, kind: str) -> None:
    """A hook that runs too long is killed, and told; after poststop that is a warning."""
    add(made, kind, hook("exec sleep 1000", timeout=1))
    if kind == "poststop":
        made.args(["true"])
    told = refusal(minirunc.run(made), 0 if kind == "poststop" else 1)
    assert told.endswith(f"error running {kind} hook #0: /bin/sh: hook ran past specified timeout of 1.0s")


@pytest.mark.parametrize("seconds", [60, 2_147_484, 2**63 - 1])
def test_timeout_that_is_not_reached(minirunc: Runtime, made: Bundle, seconds: int) -> None:
    """It costs nothing; one of more milliseconds than poll(2) can count is as good as none."""
    for kind in KINDS:
        add(made, kind, hook("true", timeout=seconds))
    made.args(["true"])
    assert minirunc.run(made) == Result(0, "", "")


def test_output_of_a_good_hook_is_not_the_containers(minirunc: Runtime, made: Bundle) -> None:
    """Its streams are its own; its stdin ends after the state."""
    for kind in KINDS:
        add(made, kind, hook("cat >/dev/null; echo out; echo err >&2"))
    made.args(["echo", "only this"])
    assert minirunc.run(made, input="not for hooks\n") == Result(0, "only this\n", "")


def test_much_output_is_cut(minirunc: Runtime, made: Bundle) -> None:
    """Ten megabytes neither block the hook nor fill the log."""
    add(made, "prestart", hook("head -c 10000000 /dev/zero | tr '\\0' x; exit 1"))
    made.write()
    told = refusal(minirunc("create", "--bundle", made.path, minirunc.id()))
    assert "exit status 1, stdout: xxx" in told
    assert len(told) < 5000


def test_daemon_of_a_hook_does_not_hold_us(minirunc: Runtime, made: Bundle) -> None:
    """Though it keeps the hook's streams open."""
    pid = made.path / "pid"
    add(made, "createRuntime", hook(f"sleep 1000 & echo $! > {pid}"))
    minirunc.create(made)
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_signals_are_as_usual_in_hooks(minirunc: Runtime, made: Bundle, log: Log) -> None:
    """None is ignored or blocked, whatever the runtime does for itself."""
    for kind in KINDS:
        add(made, kind, hook(f"grep -E '^Sig(Blk|Ign)' /proc/self/status >> {log.file}"))
    made.args("exec sleep 1000")
    id = minirunc.start(made)
    minirunc.ok("delete", "--force", id)
    lines = log.lines()
    assert len(lines) == 2 * len(KINDS)
    mask = ~(1 << signal.SIGQUIT - 1)  # which busybox's sh ignores for a last command
    assert {line for line in lines if int(line.split()[1], 16) & mask} == set(), lines


def test_hook_runs_while_the_container_is_looked_at(minirunc: Runtime, made: Bundle) -> None:
    """`state`, `list` and `kill` answer at once during a slow create; the status is `creating`."""
    fifo, seen = made.path / "fifo", made.path / "seen"
    os.mkfifo(fifo)
    add(made, "createRuntime", hook(f"echo > {seen}; read x < {fifo}"))
    made.write()
    id = minirunc.id()
    creating = minirunc.popen("create", "--bundle", made.path, id)
    wait_until(seen.exists, "the hook runs")
    assert minirunc.state(id)["status"] == "creating"
    assert minirunc.ok("list", "-q") == f"{id}\n"
    assert "cannot start" in minirunc("start", id).err or "another process" in minirunc("start", id).err
    assert "is being created" in minirunc("exec", id, "true").err
    assert "container not running" in minirunc("kill", id, "TERM").err
    fifo.write_text("go\n")
    assert creating.wait(30) == 0
    assert minirunc.status(id) == "created"
    minirunc.ok("delete", id)
