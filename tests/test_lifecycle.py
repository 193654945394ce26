"""commands/*, container/life.py: a container's life over separate commands, and the same commands given to runc."""

import functools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import leftovers, oci_schema
from tests.ground.bundle import Bundle
from tests.ground.runtime import PURE_V2, Result, Runtime, wait_until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"

# One life, a command a line; a line that begins with "until" waits for that status. ID, BUNDLE and FILE are filled in.
LIFE = """
list
list --format json
list --quiet
list --format xml
state ID
start ID
kill ID
exec ID true
pause ID
resume ID
ps ID
delete ID
delete --force ID
create --bundle BUNDLE ID
create --bundle BUNDLE ID
state ID
list
list --format json
list --quiet
exec ID echo hello
pause ID
state ID
start ID
exec ID true
resume ID
resume ID
kill ID 0
kill ID NOSUCH
kill ID SIGusr9
start ID
start ID
state ID
list
ps ID -o pid,comm
ps --format json ID
ps --format xml ID
ps ID -o comm
exec ID true
exec ID false
exec ID sh -c 'exit 42'
exec ID sh -c 'kill -9 $$'
exec ID sh -c 'kill -TERM $$'
exec ID nosuch
exec ID /nosuch
exec --cwd /nosuch ID true
exec --process /nosuch ID
exec --tty --detach ID true
exec --console-socket /nosuch ID true
exec --cap NOSUCH ID true
exec --detach ID sleep 1000
exec --pid-file FILE --detach ID sleep 1000
delete ID
pause ID
pause ID
state ID
exec ID true
start ID
delete ID
resume ID
kill ID usr1
kill ID KILL
until stopped
state ID
list
list --format json
ps --format json ID
ps ID -o pid,comm
start ID
exec ID true
pause ID
resume ID
kill ID
kill ID 9
kill --all ID
delete ID
delete ID
state ID
create --bundle BUNDLE ID
delete ID
run --detach --bundle BUNDLE ID
delete ID
delete --force ID
run --bundle BUNDLE --detach --pid-file FILE ID
pause ID
delete --force ID
list
list --format json
"""


class Player:
    """Plays a script with one runtime and notes what each command gave, in words that do not name the runtime."""

    def __init__(self, runtime: Runtime, name: str, bundle: Bundle, file: Path) -> None:
        self.runtime = runtime
        self.name = name
        self.id = runtime.id()
        self.words = {"ID": self.id, "BUNDLE": str(bundle.path), "FILE": str(file)}
        self.pids: dict[str, str] = {}

    def play(self, script: str) -> list[tuple[str, int, str, str]]:
        """Status, stdout and stderr of each line, made comparable."""
        played = []
        for line in script.strip().splitlines():
            if line.startswith("until"):
                wait_until(functools.partial(self._has, line.split()[1]), line)
                continue
            quoted = [word for pair in re.findall(r"'([^']*)'|(\S+)", line) for word in pair if word]
            result = self.runtime(*(self.words.get(word, word) for word in quoted))
            played.append((line, result.status, self._told(result.out), self._said(result.err)))
        return played

    def _has(self, status: str) -> bool:
        leftovers.alive(set())  # runc takes the first process for running until those of exec are waited for
        return self.runtime.status(self.id) == status

    def _told(self, out: str) -> str:
        """Versions, times and pids by the order in which they come; columns one blank apart."""
        out = re.sub(TIME, "TIME", out).replace(self.id, "ID").replace(str(self.words["BUNDLE"]), "BUNDLE")
        out = re.sub(r'("ociVersion": ?)"[^"]+"', r'\1"V"', out)
        out = re.sub(r"\b\d{3,}\b", lambda found: self.pids.setdefault(found[0], f"pid{len(self.pids)}"), out)
        if out.lstrip().startswith(("ID ", "PID ")):
            return "\n".join(" ".join(line.split()) for line in out.splitlines())
        return out

    def _said(self, err: str) -> str:
        return re.sub(r'time="[^"]*" ', "", err).replace(self.name, "RUNTIME").replace(self.id, "ID")


@pytest.fixture
def runc(tmp_path: Path) -> Iterator[Runtime]:
    """Debian's runc on the pure cgroup v2 ground, with a state root of its own."""
    directory = tmp_path / "runc"
    directory.mkdir()
    runtime = Runtime(directory)
    runtime.binary = "runc"
    runtime.prefix = PURE_V2
    runtime.root.mkdir()
    yield runtime
    runtime.close()


def test_life_is_as_with_runc(
    minirunc: Runtime, pure_v2: list[str], runc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """The same commands give the same statuses and outputs; runc's words of what is wrong are among ours."""
    minirunc.root.mkdir()
    script = [bundle("trap : USR1; while :; do sleep 1000 & wait; done") for _ in range(2)]
    for each in script:
        each.write()
    theirs = Player(runc, "runc", script[0], tmp_path / "theirs.pid").play(LIFE)
    ours = Player(minirunc, "minirunc", script[1], tmp_path / "ours.pid").play(LIFE)
    for expected, given in zip(theirs, ours, strict=True):
        assert given[:3] == expected[:3]
        line, expected_err, given_err = *expected[::3], given[3]
        words = re.fullmatch(r"level=(\w+) msg=(.*)\n", expected_err)
        if words is None:
            assert given_err == expected_err, line
        else:
            assert given_err.startswith(f"level={words[1]} msg="), line
            assert words[2].strip('"') in given_err, line
            assert given_err.count("\n") == 1, line


def test_state_is_the_specs_json(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """runtime.md "State", with runc's further members, in its order and indentation; annotations if there are any."""
    made = bundle("sleep 1000")
    made.config["annotations"] = {"b.c": "1", "a": "ü\n"}
    id = minirunc.create(made)
    told = minirunc.ok("state", id)
    value = json.loads(told)
    assert told == json.dumps(value, indent=2)
    assert oci_schema.faults("state-schema.json", value) == []
    assert list(value) == ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"]
    assert re.fullmatch(TIME, value.pop("created"))
    pid = value.pop("pid")
    assert value == {
        "ociVersion": "1.3.0",
        "id": id,
        "status": "created",
        "bundle": str(made.path),
        "rootfs": str(made.rootfs),
        "annotations": {"b.c": "1", "a": "ü\n"},
        "owner": "",
    }
    assert Path(f"/proc/{pid}/comm").read_text().startswith("minirunc")
    minirunc.ok("start", id)
    assert (minirunc.pid(id), minirunc.status(id)) == (pid, "running")


def test_list_stands_in_columns(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Columns are 12 wide or three more than their longest entry; the owner is a name; ids are sorted."""
    ids = [minirunc.start(bundle("sleep 1000")) for _ in range(2)]
    states = [minirunc.state(id) for id in ids]
    rows = [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
    rows += [[*(str(state[name.lower()]) for name in rows[0][:5]), "root"] for state in states]
    widths = [max(12, *(len(row[i]) + 3 for row in rows)) for i in range(5)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[5] for row in rows]
    assert minirunc.ok("list").splitlines() == lines
    assert minirunc.ok("list", "-q") == "".join(f"{id}\n" for id in ids)
    told = minirunc.ok("list", "-f", "json")
    assert told.count("\n") == 1
    assert json.loads(told) == [{**state, "owner": "root"} for state in states]


def test_list_without_its_root(minirunc: Runtime) -> None:
    """A --root that is not there is an error, as with runc 1.5."""
    result = minirunc("list")
    assert (result.status, result.out) == (1, "")
    assert f"open {minirunc.root}: no such file or directory" in result.err


def test_ps_shows_the_hosts_pids(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """As JSON for containerd, or as the lines of the host's ps, which is given the options."""
    id = minirunc.start(bundle("sleep 1000 & exec sleep 2000"))
    wait_until(lambda: len(json.loads(minirunc.ok("ps", "-f", "json", id))) == 2, "two processes")
    pids = json.loads(minirunc.ok("ps", "--format", "json", id))
    assert minirunc.pid(id) in pids
    header, *lines = minirunc.ok("ps", id).splitlines()
    assert header.split()[:2] == ["UID", "PID"]
    assert sorted(line.split()[1] for line in lines) == sorted(map(str, pids))
    lines = minirunc.ok("ps", id, "-eo", "pid,args").splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert sorted(line.split(maxsplit=1)[1] for line in lines[1:]) == ["sleep 1000", "sleep 2000"]
    result = minirunc("ps", id, "--nosuch")
    assert result.status == 1
    assert "nosuch" in result.err or "unknown gnu long option" in result.err


@pytest.mark.parametrize("word", ["USR1", "usr1", "SIGUSR1", "sigusr1", "SigUsr1", str(signal.SIGUSR1)])
def test_kill_by_name_or_number(minirunc: Runtime, bundle: Callable[..., Bundle], word: str) -> None:
    """A signal's name in any case, with or without SIG, or its number."""
    made = bundle("trap 'echo got >> /got' USR1; echo > /ready; while :; do sleep 0.02; done")
    id = minirunc.start(made)
    wait_until((made.rootfs / "ready").exists, "the trap is set")
    assert minirunc("kill", id, word) == Result(0, "", "")
    wait_until((made.rootfs / "got").exists, "the signal came")


@pytest.mark.parametrize("word", ["", None])
def test_kill_sends_sigterm_by_default(minirunc: Runtime, bundle: Callable[..., Bundle], word: str | None) -> None:
    """Where no signal, or an empty one, is given."""
    made = bundle("trap 'exit 7' TERM; echo > /ready; while :; do sleep 0.02; done")
    id = minirunc.start(made)
    wait_until((made.rootfs / "ready").exists, "the trap is set")
    minirunc.ok("kill", id, *([] if word is None else [word]))
    minirunc.wait_for_status(id, "stopped")


@pytest.mark.parametrize("word", ["NOSUCH", "SIG", "-1", "SIG_IGN", "ITIMER_REAL", "9x", "٩"])
def test_kill_with_a_bad_signal(minirunc: Runtime, bundle: Callable[..., Bundle], word: str) -> None:
    """It is named, and nothing is sent."""
    id = minirunc.start(bundle("sleep 1000"))
    result = minirunc("kill", id, "--", word)
    assert (result.status, result.out) == (1, "")
    assert f'msg="unknown signal \\"{word}\\""' in result.err
    assert minirunc.status(id) == "running"


def test_regular_expressions_of_kill_and_delete(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """--regex (crun's): all that match anywhere, and no others; one that fails is a warning, and keeps nobody."""
    made = bundle("sleep 1000")
    ids = [minirunc.start(made, id=f"{minirunc.token}-{name}") for name in ("web1", "web2", "db")]
    assert minirunc("kill", "--regex", f"^{minirunc.token}-web[0-9]$", "KILL") == Result(0, "", "")
    for id in ids[:2]:
        minirunc.wait_for_status(id, "stopped")
    assert minirunc.status(ids[2]) == "running"
    result = minirunc("delete", "-r", minirunc.token)
    assert (result.status, result.out) == (0, "")
    assert "level=warning" in result.err
    assert f"{ids[2]}: cannot delete container {ids[2]} that is not stopped: running" in result.err
    assert minirunc.ok("list", "-q").split() == ids[2:]
    assert minirunc("delete", "--force", "--regex", "nosuch") == Result(0, "", "")
    assert minirunc("delete", "--force", "--regex", ".*") == Result(0, "", "")
    assert minirunc.ok("list", "-q") == ""
    result = minirunc("delete", "--regex", "(")
    assert result.status == 1
    assert 'msg="invalid regular expression (: ' in result.err


def test_kill_with_a_number_that_is_no_signal(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What the kernel says of it, in runc's words."""
    id = minirunc.start(bundle("sleep 1000"))
    result = minirunc("kill", id, "65")
    assert (result.status, result.out) == (1, "")
    assert 'msg="unable to signal init: invalid argument"' in result.err
    assert minirunc.status(id) == "running"


def test_kill_reaches_the_first_process_alone(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Not its children."""
    child = "trap 'echo child > /got' TERM; echo > /ready; while :; do sleep 0.02; done"
    made = bundle(f"({child}) & trap : TERM; wait; wait")
    id = minirunc.start(made)
    wait_until((made.rootfs / "ready").exists, "the trap is set")
    before = json.loads(minirunc.ok("ps", "-f", "json", id))
    minirunc.ok("kill", id, "TERM")
    minirunc.ok("exec", id, "true")
    assert set(before) & set(json.loads(minirunc.ok("ps", "-f", "json", id)))
    assert not (made.rootfs / "got").exists()


def test_stopped_though_nobody_waits_for_its_other_processes(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """The first process of a pid namespace cannot end before those of `exec` are reaped: the container has stopped."""
    id = minirunc.start(bundle("sleep 1000"))
    minirunc.ok("exec", "--detach", "--pid-file", tmp_path / "pid", id, "sleep", "1000")
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    assert "State:\tZ" in Path(f"/proc/{(tmp_path / 'pid').read_text()}/status").read_text()
    began = time.monotonic()
    assert minirunc("delete", id) == Result(0, "", "")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", ["created", "running", "paused", "stopped"])
def test_delete_force_in_every_status(minirunc: Runtime, bundle: Callable[..., Bundle], status: str) -> None:
    """Nothing is left, whatever it was doing (the fixture looks for processes, mounts and cgroups)."""
    made = bundle("sleep 1000 & wait")
    id = minirunc.create(made)
    if status != "created":
        minirunc.ok("start", id)
    cgroup, pid = minirunc.cgroup(id), minirunc.pid(id)
    if status == "paused":
        minirunc.ok("pause", id)
    elif status == "stopped":
        minirunc.ok("kill", id, "KILL")
        minirunc.wait_for_status(id, "stopped")
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert not cgroup.exists()
    assert not (minirunc.root / id).exists()
    assert _gone(pid)
    assert minirunc("state", id).status == 1


def test_delete_of_a_created_container_kills_it(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """It needs no --force: nothing of the user's has run."""
    id = minirunc.create(bundle())
    pid = minirunc.pid(id)
    assert minirunc("delete", id) == Result(0, "", "")
    assert _gone(pid)


def test_delete_of_a_running_container_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Its status is in the error, and it goes on."""
    id = minirunc.start(bundle("sleep 1000"))
    result = minirunc("delete", id)
    assert result.status == 1
    assert f'msg="cannot delete container {id} that is not stopped: running"' in result.err
    assert minirunc.status(id) == "running"


def test_delete_ends_the_cgroups_the_container_made(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Sub-cgroups with processes in them are no obstacle."""
    id = minirunc.start(bundle("sleep 1000"))
    cgroup = minirunc.cgroup(id)
    (cgroup / "a/b").mkdir(parents=True)
    minirunc.ok("exec", "--detach", "--cgroup", "a/b", id, "sleep", "1000")
    minirunc.ok("delete", "--force", id)
    assert not cgroup.exists()


def test_cgroup_removed_by_someone_else(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """state, list and delete do without it."""
    id = minirunc.start(bundle("sleep 1000"))
    cgroup = minirunc.cgroup(id)
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    wait_until(lambda: _removed(cgroup), "the cgroup is removed")
    assert minirunc.status(id) == "stopped"
    assert id in minirunc.ok("list", "-q")
    assert minirunc.ok("ps", "-f", "json", id) == "null\n"
    assert minirunc("delete", id) == Result(0, "", "")


def test_cgroup_taken_by_someone_else(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """It was removed, and another of its name made: neither kill nor delete reaches who is in that."""
    made = bundle("sleep 1000")
    made.linux["cgroupsPath"] = f"/{minirunc.token}/own"
    id = minirunc.start(made)
    cgroup = minirunc.cgroup(id)
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    wait_until(lambda: _removed(cgroup), "the cgroup is removed")
    other = minirunc.start(made)
    assert minirunc.cgroup(other) == cgroup
    assert "container not running" in minirunc("kill", id, "KILL").err
    assert minirunc.ok("ps", "-f", "json", id) == "null\n"
    assert minirunc("delete", id) == Result(0, "", "")
    assert minirunc.status(other) == "running"
    minirunc.ok("delete", "--force", other)
    cgroup.parent.rmdir()  # of the levels above each container removes those it made, when nobody is below


class TestHostPidNamespace:
    """Without a pid namespace of its own the end of the first process ends nobody else."""

    @pytest.fixture
    def made(self, bundle: Callable[..., Bundle]) -> Bundle:
        """Leaves a second process that ignores what it can."""
        made = bundle("sh -c 'trap : TERM HUP; echo > /ready; while :; do sleep 0.05; done' & wait")
        made.without_namespace("pid")
        return made

    def test_kill_kill_takes_all(self, minirunc: Runtime, made: Bundle) -> None:
        """SIGKILL goes to the whole cgroup."""
        id, pids = self._started(minirunc, made)
        minirunc.ok("kill", id, "KILL")
        wait_until(lambda: all(_gone(pid) for pid in pids), "all are gone")

    def test_kill_kill_takes_what_the_first_left(self, minirunc: Runtime, made: Bundle) -> None:
        """Though the container has stopped."""
        id, pids = self._started(minirunc, made)
        os.kill(minirunc.pid(id), signal.SIGKILL)
        minirunc.wait_for_status(id, "stopped")
        assert not all(_gone(pid) for pid in pids)
        minirunc.ok("kill", id, "KILL")
        wait_until(lambda: all(_gone(pid) for pid in pids), "all are gone")
        assert "container not running" in minirunc("kill", id, "KILL").err

    def test_delete_takes_what_the_first_left(self, minirunc: Runtime, made: Bundle) -> None:
        """A stopped container is deleted with all it left."""
        id, pids = self._started(minirunc, made)
        os.kill(minirunc.pid(id), signal.SIGKILL)
        minirunc.wait_for_status(id, "stopped")
        minirunc.ok("delete", id)
        assert all(_gone(pid) for pid in pids)

    def test_delete_force_takes_all(self, minirunc: Runtime, made: Bundle) -> None:
        """While it runs."""
        id, pids = self._started(minirunc, made)
        minirunc.ok("delete", "--force", id)
        assert all(_gone(pid) for pid in pids)

    def test_run_takes_what_the_first_left(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """The exit of the container's process is the end of the container."""
        made = bundle("sleep 1000 >/dev/null 2>&1 & exit 3")
        made.without_namespace("pid")
        assert minirunc.run(made).status == 3

    @staticmethod
    def _started(minirunc: Runtime, made: Bundle) -> tuple[str, list[int]]:
        id = minirunc.start(made)
        wait_until((made.rootfs / "ready").exists, "the trap is set")
        pids = json.loads(minirunc.ok("ps", "-f", "json", id))
        assert len(pids) >= 2
        return id, pids


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
    ],
)
def test_run_and_exec_give_the_exit_status(
    minirunc: Runtime, bundle: Callable[..., Bundle], script: str, status: int
) -> None:
    """The process's own, or 128 + N where signal N ended it."""
    made = bundle(script)
    made.without_namespace("pid")  # a first process would ignore its own signals
    assert minirunc.run(made) == Result(status, "", "")
    id = minirunc.start(bundle("sleep 1000"))
    assert minirunc("exec", id, "sh", "-c", script) == Result(status, "", "")


def test_caller_that_ignores_or_blocks_signals(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Exit statuses are known all the same, hooks are waited for, and no process inherits it."""
    made = bundle("grep -E '^Sig(Blk|Ign)' /proc/self/status; exit 4")
    made.config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in ("prestart", "startContainer", "poststop")}
    minirunc.prefix = ["env", "--ignore-signal", "--block-signal"]
    none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    assert minirunc.run(made) == Result(4, none, "")
    id = minirunc.start(bundle("exec sleep 1000"))
    assert minirunc("exec", id, "sh", "-c", "exit 5") == Result(5, "", "")
    assert minirunc("exec", id, "sh", "-c", "kill -TERM $$") == Result(128 + signal.SIGTERM, "", "")
    minirunc.ok("delete", "--force", id)


def test_run_forwards_signals(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What the command gets, the container's process gets; what that does then is the command's exit status."""
    made = bundle("trap 'exit 5' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done")
    made.write()
    running = minirunc.popen("run", "--bundle", made.path, minirunc.id())
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGUSR1)
    assert running.stdout.readline() == "usr1\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 5
    assert leftovers.state_directories(minirunc.root) == set()


def test_exec_forwards_signals(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """To its own process."""
    id = minirunc.start(bundle("sleep 1000"))
    script = "trap 'exit 6' INT; echo ready; while :; do sleep 0.02; done"
    running = minirunc.popen("exec", id, "sh", "-c", script)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 6


def test_run_leaves_nothing_when_its_process_is_killed(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """By `kill` from beside."""
    made = bundle("echo ready; exec sleep 1000")
    made.write()
    id = minirunc.id()
    running = minirunc.popen("run", "--bundle", made.path, id)
    assert running.stdout is not None
    running.stdout.readline()
    minirunc.ok("kill", id, "KILL")
    assert running.wait(30) == 137
    assert leftovers.state_directories(minirunc.root) == set()


def test_run_in_the_foreground_is_deleted_from_beside(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`delete --force` wins; run tells the exit status and finds nothing to remove."""
    made = bundle("echo ready; exec sleep 1000")
    made.write()
    id = minirunc.id()
    running = minirunc.popen("run", "--bundle", made.path, id)
    assert running.stdout is not None
    running.stdout.readline()
    assert minirunc("delete", "--force", id) == Result(0, "", "")
    assert running.wait(30) == 137
    assert running.stderr is not None
    assert running.stderr.read() == ""


def test_keep_leaves_a_stopped_container(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`run --keep`: state and cgroup stay for delete."""
    id = minirunc.id()
    assert minirunc.run(bundle("exit 4"), "--keep", id=id).status == 4
    state = minirunc.state(id)
    assert (state["status"], state["pid"]) == ("stopped", 0)
    assert leftovers_of(id) != []
    minirunc.ok("delete", id)
    assert leftovers_of(id) == []


def leftovers_of(id: str) -> list[Path]:
    """The v2 cgroups named after a container."""
    return [Path(top) for mount in leftovers.cgroup2_mounts() for top, _, _ in os.walk(mount) if top.endswith(id)]


def test_detached_process_is_the_callers_orphan(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """After create and run --detach the container's process belongs to who waits for orphans (conmon, a shim)."""
    for id in (minirunc.create(bundle()), minirunc.start(bundle("sleep 1000"))):
        status = Path(f"/proc/{minirunc.pid(id)}/status").read_text()
        assert f"PPid:\t{os.getpid()}\n" in status


class TestPidFile:
    """--pid-file: bare digits, renamed into place when all is done."""

    def test_of_create_run_and_exec(self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
        """It holds the host's pid and no newline; an old file of that name is replaced."""
        files = [tmp_path / name for name in ("create.pid", "run.pid", "exec.pid")]
        for file in files:
            file.write_text("12345678901234567890")
        created = minirunc.create(bundle(), "--pid-file", files[0])
        assert files[0].read_text() == str(minirunc.pid(created))
        running = minirunc.start(bundle("sleep 1000"), "--pid-file", files[1])
        assert files[1].read_text() == str(minirunc.pid(running))
        minirunc.ok("exec", "--detach", "--pid-file", files[2], running, "sleep", "2000")
        assert Path(f"/proc/{files[2].read_text()}/cmdline").read_bytes() == b"sleep\x002000\0"
        assert sorted(tmp_path.glob(".*.pid")) == []

    def test_path_is_the_callers(self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
        """A relative one counts from the caller's directory, not the bundle's."""
        id = minirunc.create(bundle(), "--pid-file", "x.pid", cwd=tmp_path)
        assert (tmp_path / "x.pid").read_text() == str(minirunc.pid(id))

    def test_is_complete_when_it_is_there(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
    ) -> None:
        """A reader that waits for the file reads a whole pid, of a container that can be started."""
        made = bundle()
        made.write()
        id, file = minirunc.id(), tmp_path / "pid"
        creating = minirunc.popen("create", "--bundle", made.path, "--pid-file", file, id)
        while not file.exists():
            assert creating.poll() in (None, 0)
        assert int(file.read_text()) == minirunc.pid(id)
        minirunc.ok("start", id)
        assert creating.wait(30) == 0
        minirunc.wait_for_status(id, "stopped")
        minirunc.ok("delete", id)

    def test_that_cannot_be_written_fails_the_command(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
    ) -> None:
        """Create is undone, and an exec's process is ended."""
        made, file = bundle("sleep 1000"), tmp_path / "nosuch/pid"
        made.write()
        result = minirunc("create", "--bundle", made.path, "--pid-file", file, minirunc.id())
        assert (result.status, result.out) == (1, "")
        assert f"pid file {file}: no such file or directory" in result.err
        assert leftovers.state_directories(minirunc.root) == set()
        id = minirunc.start(made)
        result = minirunc("exec", "--detach", "--pid-file", file, id, "sleep", "1000")
        assert result.status == 255
        assert json.loads(minirunc.ok("ps", "-f", "json", id)) == [minirunc.pid(id)]

    def test_is_not_there_after_a_failure(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
    ) -> None:
        """conmon takes a pid file for success."""
        made, file = bundle(["/nosuch"]), tmp_path / "pid"
        made.write()
        assert minirunc("create", "--bundle", made.path, "--pid-file", file, minirunc.id()).status == 1
        id = minirunc.start(bundle("sleep 1000"))
        assert minirunc("exec", "--pid-file", file, id, "/nosuch").status == 255
        assert sorted(entry.name for entry in tmp_path.iterdir() if "pid" in entry.name) == []

    def test_half_of_one_that_was_killed_is_no_obstacle(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
    ) -> None:
        """The file aside that a killed create left is replaced, too."""
        (tmp_path / ".pid").write_text("1")
        id = minirunc.create(bundle(), "--pid-file", tmp_path / "pid")
        assert (tmp_path / "pid").read_text() == str(minirunc.pid(id))
        assert not (tmp_path / ".pid").exists()


def test_paused_processes_stand_still(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """From pause to resume nothing runs; signals wait."""
    made = bundle("i=0; while :; do i=$((i+1)); echo $i > /count.new; mv /count.new /count; done")
    id = minirunc.start(made)
    count = made.rootfs / "count"
    wait_until(count.exists, "it counts")
    minirunc.ok("pause", id)
    assert minirunc.status(id) == "paused"
    held = count.read_text()
    time.sleep(0.1)  # nothing to wait for: it must not happen
    assert count.read_text() == held
    minirunc.ok("resume", id)
    assert minirunc.status(id) == "running"
    wait_until(lambda: count.read_text() != held, "it counts again")


def test_created_container_that_is_paused_cannot_start(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """And after resume it is created again."""
    id = minirunc.create(bundle("sleep 1000"))
    minirunc.ok("pause", id)
    assert "cannot start a container in the paused state" in minirunc("start", id).err
    minirunc.ok("resume", id)
    assert minirunc.status(id) == "created"
    minirunc.ok("start", id)


def test_paused_container_is_killed(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """SIGKILL ends it though it is frozen."""
    id = minirunc.start(bundle("sleep 1000"))
    minirunc.ok("pause", id)
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    assert minirunc("delete", id) == Result(0, "", "")


def test_options_may_follow_the_id(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """As runc's parser has it."""
    made = bundle("sleep 1000")
    made.write()
    id = minirunc.id()
    minirunc.ok("create", id, "-bundle", made.path)
    minirunc.ok("delete", id, "-f")


def test_create_takes_the_current_directory(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Where no --bundle is given; the state says where that is."""
    made = bundle()
    made.write()
    id = minirunc.id()
    minirunc.ok("create", id, cwd=made.path)
    assert minirunc.state(id)["bundle"] == str(made.path)
    minirunc.ok("delete", id)


def test_configuration_of_another_name(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """--config FILE (crun's): seen from the caller's directory; the root file system is still the bundle's."""
    made = bundle("exec sleep 1000")
    made.write()
    (tmp_path / "other.json").write_text(json.dumps(made.config | {"annotations": {"other": "yes"}}))
    made.file.unlink()
    options = ("--bundle", made.path, "--config", "other.json")
    id = minirunc.id()
    minirunc.ok("run", "--detach", *options, id, cwd=tmp_path)
    state = minirunc.state(id)
    assert (state["annotations"], state["bundle"]) == ({"other": "yes"}, str(made.path))
    minirunc.ok("exec", id, "true")
    result = minirunc("create", *options, minirunc.id(), cwd=made.path)
    assert result.status == 1
    assert f"JSON specification file other.json not found in {made.path}" in result.err


def test_bundle_may_be_gone(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """All later commands work from the state directory's copy."""
    made = bundle("sleep 1000")
    id = minirunc.create(made)
    made.file.unlink()
    minirunc.ok("start", id)
    assert minirunc.ok("exec", id, "echo", "hello") == "hello\n"
    minirunc.ok("delete", "--force", id)


def test_json_log_has_one_error_and_stderr_the_text(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What containerd and podman read: one record for a failure, none for a success."""
    log = minirunc.root.parent / "log.json"
    before = ["--log", str(log), "--log-format", "json"]
    id = minirunc.id()
    made = bundle("sleep 1000")
    made.write()
    minirunc.ok("create", "--bundle", made.path, id, before=before)
    minirunc.ok("start", id, before=before)
    assert log.read_text() == ""
    result = minirunc("exec", id, "/nosuch", before=before)
    (line,) = log.read_text().splitlines()
    record = json.loads(line)
    assert list(record) == ["level", "msg", "time"]
    assert record["level"] == "error"
    assert result == Result(255, "", record["msg"] + "\n")
    minirunc.ok("delete", "--force", id, before=before)


def test_create_keeps_no_pipe_of_the_callers(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Only the standard streams are the container's: a caller that waits for the end of another pipe is not held."""
    made = bundle("sleep 1000")
    made.write()
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    id = minirunc.id()
    minirunc.ok("create", "--bundle", made.path, id, pass_fds=(theirs,))
    os.close(theirs)
    try:
        assert os.read(ours, 1) == b""
    finally:
        os.close(ours)
    fds = Path(f"/proc/{minirunc.pid(id)}/fd")
    links = {os.readlink(fd) for fd in fds.iterdir() if int(fd.name) > 2}
    assert links == {str(minirunc.root / id / "exec.fifo")}
    minirunc.ok("start", id)
    wait_until(lambda: not [fd for fd in fds.iterdir() if int(fd.name) > 2], "the program has no fd beyond 2")
    minirunc.ok("delete", "--force", id)


def _gone(pid: int) -> bool:
    """Whether no such process is left, or only its end to be told to us."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _removed(cgroup: Path) -> bool:
    subprocess.run(["rmdir", cgroup], check=False, capture_output=True)
    return not cgroup.exists()


@pytest.mark.observes("linux.cgroupsPath")
def test_path_of_the_systemd_driver_is_a_name_without_it(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.cgroupsPath slice:prefix:name without --systemd-cgroup: as it stands, beside the caller, as in runc."""
    made = bundle("exec sleep 1000")
    made.linux["cgroupsPath"] = f"system.slice:box:{minirunc.token}"
    id = minirunc.id()
    made.write()
    result = minirunc("run", "--detach", "--bundle", made.path, id, before=["--debug"])
    assert result.status == 0
    assert "is taken as it stands: slice:prefix:name is for --systemd-cgroup" in result.err
    cgroup = minirunc.cgroup(id)
    assert cgroup.name == made.linux["cgroupsPath"]
    minirunc.ok("delete", "--force", id)
    assert not cgroup.exists()
