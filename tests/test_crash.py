"""container/store.py, life.py: whatever was killed, broken or done twice at once, `delete --force` leaves nothing."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ground import crashes, leftovers
from tests.ground.bundle import Bundle
from tests.ground.rootless import USER, given, ordinary_user
from tests.ground.runtime import Result, Runtime, wait_until


class TestKilled:
    """SIGKILL at every step of a command; then `delete --force` succeeds, and the same id can be used again."""

    @pytest.fixture
    def ids(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> tuple[str, Bundle]:
        """An id, and the bundle of a container with it."""
        made = bundle("exec sleep 1000")
        made.write()
        minirunc.root.mkdir()
        return minirunc.id(), made

    def crash(self, minirunc: Runtime, ids: tuple[str, Bundle], every: int, killed: str, *before: str) -> int:
        """Kill the command at every so-manieth step; how many there are."""
        id, made = ids
        killed, *before = (line.replace("BUNDLE", str(made.path)) for line in (killed, *before))
        return crashes.at_every_step(minirunc, id, every, killed, before=before, after=["delete --force ID"])

    def test_create(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """A birth is long: every second step."""
        assert self.crash(minirunc, ids, 2, "create --bundle BUNDLE ID") > 100

    def test_create_in_the_hosts_pid_namespace(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """Where the end of the first process ends nobody else."""
        ids[1].without_namespace("pid")
        ids[1].write()
        assert self.crash(minirunc, ids, 5, "create --bundle BUNDLE ID") > 100

    def test_run(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """From create to delete."""
        ids[1].args(["true"])
        ids[1].write()
        assert self.crash(minirunc, ids, 5, "run --bundle BUNDLE ID") > 100

    @pytest.mark.parametrize("own_pids", [True, False])
    def test_without_a_cgroup(self, minirunc: Runtime, bundle: Callable[..., Bundle], own_pids: bool) -> None:
        """Of an ordinary user who can make none: the process alone, by its pid and start time."""
        with ordinary_user(minirunc, delegated=False) as home:
            made = given(bundle("exec sleep 1000"), home)
            if not own_pids:
                made.without_namespace("pid")
                made.config["mounts"] = [mount for mount in made.config["mounts"] if mount["type"] != "proc"]
                made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []
            made.write()
            minirunc.root.mkdir()
            os.chown(minirunc.root, USER, USER)
            ids = minirunc.id(), made
            assert self.crash(minirunc, ids, 5, "create --bundle BUNDLE ID") > 100
            assert self.crash(minirunc, ids, 2, "delete --force ID", "create --bundle BUNDLE ID", "start ID") > 5

    def test_start(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """It has few."""
        assert self.crash(minirunc, ids, 1, "start ID", "create --bundle BUNDLE ID") > 3

    def test_start_with_hooks(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """In the container and outside."""
        hooks = {kind: [{"path": "/bin/true"}] for kind in ("startContainer", "poststart", "poststop")}
        ids[1].config["hooks"] = hooks
        ids[1].write()
        assert self.crash(minirunc, ids, 3, "start ID", "create --bundle BUNDLE ID") > 20

    def test_exec(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """Into a running container."""
        assert self.crash(minirunc, ids, 3, "exec ID true", "create --bundle BUNDLE ID", "start ID") > 50

    @pytest.mark.parametrize("status", ["created", "running", "paused"])
    def test_delete(self, minirunc: Runtime, ids: tuple[str, Bundle], status: str) -> None:
        """In the middle of a delete: it can be repeated."""
        before = ["create --bundle BUNDLE ID", "start ID", "pause ID"]
        count = ["created", "running", "paused"].index(status) + 1
        assert self.crash(minirunc, ids, 1, "delete --force ID", *before[:count]) > 5

    def test_pause_and_resume(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """Between freeze and thaw."""
        before = ["create --bundle BUNDLE ID", "start ID"]
        assert self.crash(minirunc, ids, 1, "pause ID", *before) > 1
        assert self.crash(minirunc, ids, 1, "resume ID", *before, "pause ID") > 1

    def test_run_in_the_foreground(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """The container goes on without the one who waits for it."""
        id, made = ids
        made.args("echo ready; exec sleep 1000")
        made.write()
        running = minirunc.popen("run", "--bundle", made.path, id)
        assert running.stdout is not None
        running.stdout.readline()
        running.kill()
        running.wait()
        assert minirunc.status(id) == "running"
        assert minirunc("delete", "--force", id) == Result(0, "", "")

    def test_during_a_hook(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """The container is `creating` as long as its maker lives, then stopped."""
        id, made = ids
        fifo, seen = made.path / "fifo", made.path / "seen"
        os.mkfifo(fifo)
        made.config["hooks"] = {
            "prestart": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {seen}; read x < {fifo}"]}]
        }
        made.write()
        creating = minirunc.popen("create", "--bundle", made.path, id)
        wait_until(seen.exists, "the hook runs")
        assert minirunc.status(id) == "creating"
        creating.kill()
        creating.wait()
        assert minirunc.status(id) == "stopped"
        assert f"{id} " in minirunc.ok("list")
        assert "cannot start a container that has stopped" in minirunc("start", id).err
        assert minirunc("delete", "--force", id) == Result(0, "", "")
        fifo.write_text("go\n")

    def test_the_hand(self, minirunc: Runtime, ids: tuple[str, Bundle]) -> None:
        """The process inside is killed while the container is made: create fails, says so and leaves nothing."""
        id, made = ids
        kill = "pid=$(grep -o '\"pid\":[0-9]*' | cut -d: -f2); kill -9 $pid"
        made.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", kill]}]}
        made.write()
        result = minirunc("create", "--bundle", made.path, id)
        assert (result.status, result.out) == (1, "")
        assert "the hand (pid " in result.err
        assert leftovers.state_directories(minirunc.root) == set()


BROKEN = [
    (lambda text: "", r"state\.json:1:1: expecting value"),
    (lambda text: text[: len(text) // 2], r"state\.json:1:\d+: "),
    (lambda text: "null", r"state\.json: "),
    (lambda text: "[]", r"state\.json: "),
    (lambda text: "{}", r"state\.json: id is not what minirunc writes"),
    (lambda text: text.replace('"pid":', '"pid":"x","was":'), r"state\.json: pid is not what minirunc writes"),
    (lambda text: text.replace('"cgroup":', '"was":'), r"state\.json: cgroup is not what minirunc writes"),
    (lambda text: re.sub(r'"hooks":\[\]', '"hooks":[1]', text), r"state\.json: hooks is not what minirunc writes"),
    (lambda text: "\0" * len(text), r"state\.json:1:1: "),
    (lambda text: None, "container does not exist"),
]


class TestBrokenState:
    """state.json is not what was written."""

    @pytest.mark.parametrize("running", [True, False])
    @pytest.mark.parametrize(("broken", "why"), BROKEN)
    def test_is_told_and_deleted(
        self,
        minirunc: Runtime,
        bundle: Callable[..., Bundle],
        broken: Callable[[str], str | None],
        why: str,
        running: bool,
    ) -> None:
        """`list` shows the others, each command names the file, `delete --force` removes all, running or not."""
        made = bundle("sleep 1000")
        other, id = minirunc.create(bundle()), minirunc.create(made)
        if running:
            minirunc.ok("start", id)
        else:
            minirunc.ok("kill", id, "KILL")
            minirunc.wait_for_status(id, "stopped")
        file = minirunc.root / id / "state.json"
        text = broken(file.read_text())
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        listed = minirunc("list", "--quiet")
        assert (listed.status, listed.out) == (0, f"{other}\n")
        assert re.match(f"load container {id}: .*{why}", listed.err)
        for command in (["state"], ["kill"], ["start"], ["pause"], ["ps"], ["delete"]):
            result = minirunc(*command, id)
            assert (result.status, result.out) == (1, "")
            assert re.search(why, result.err), result.err
            assert "internal error" not in result.err
        assert (minirunc.root / id).exists()
        assert minirunc("delete", "--force", id) == Result(0, "", "")
        assert not (minirunc.root / id).exists()
        minirunc.create(made, id=id)

    def test_with_a_cgroups_path(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """What state.json cannot tell, the copy of config.json does."""
        made = bundle("sleep 1000")
        made.linux["cgroupsPath"] = f"/{minirunc.token}/some/where"
        id = minirunc.start(made)
        cgroup = minirunc.cgroup(id)
        (minirunc.root / id / "state.json").write_text("")
        minirunc.ok("delete", "--force", id)
        assert not cgroup.exists()
        cgroup.parent.rmdir()  # whose it is nobody knows any more
        cgroup.parent.parent.rmdir()

    def test_config_is_broken_too(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """The cgroup has the container's id by default."""
        id = minirunc.start(bundle("sleep 1000"))
        for name in ("state.json", "config.json"):
            (minirunc.root / id / name).write_text("{")
        assert minirunc("delete", "--force", id) == Result(0, "", "")

    def test_config_alone_is_broken(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """Its poststop hooks cannot be run: a warning; a delete succeeds."""
        made = bundle("sleep 1000")
        made.config["hooks"] = {"poststop": [{"path": "/bin/true"}]}
        id = minirunc.create(made)
        (minirunc.root / id / "config.json").write_text("{")
        assert "config.json:1:2: " in minirunc("exec", id, "true").err
        result = minirunc("delete", id)
        assert (result.status, result.out) == (0, "")
        assert "level=warning" in result.err
        assert "poststop hooks are not run" in result.err

    def test_only_the_directory_is_there(self, minirunc: Runtime) -> None:
        """As a birth leaves it that is killed at once: delete removes it, and answers as runc does."""
        for force in (True, False):
            (minirunc.root / "x").mkdir(parents=True)
            assert "load container x: container does not exist" in minirunc("list").err
            result = minirunc("delete", *["--force"][:force], "x")
            assert result.status == (0 if force else 1)
            assert ("container does not exist" in result.err) is not force
            assert not (minirunc.root / "x").exists()

    def test_strangers_below_the_root(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """Files, dangling links and directories that are no container do not stop `list`."""
        id = minirunc.create(bundle())
        (minirunc.root / "file").touch()
        (minirunc.root / "link").symlink_to("/nosuch")
        (minirunc.root / "bad name").mkdir()
        (minirunc.root / "state-is-directory/state.json").mkdir(parents=True)
        result = minirunc("list", "-q")
        assert (result.status, result.out) == (0, f"{id}\n")
        # what cannot be an id is no container
        assert [line.partition(": ")[0] for line in result.err.splitlines()] == ["load container state-is-directory"]
        minirunc.ok("delete", "--force", "state-is-directory")
        (minirunc.root / "bad name").rmdir()


def edit(minirunc: Runtime, id: str, **members: Any) -> None:
    """Change the state on disk."""
    file = minirunc.root / id / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **members}))


class TestStaleState:
    """state.json is of another time."""

    def test_other_boot(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """A pid of before the reboot is nobody's: stopped; delete and create work."""
        made = bundle("sleep 1000")
        id = minirunc.start(made)
        edit(minirunc, id, bootId="4b1d1b5e-0000-0000-0000-000000000000")
        state = minirunc.state(id)
        assert (state["status"], state["pid"]) == ("stopped", 0)
        assert "container not running" in minirunc("kill", id, "TERM").err
        minirunc.ok("delete", id)
        minirunc.create(made, id=id)

    def test_reused_pid(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """A process with the pid that started at another time is somebody else: neither shown nor killed."""
        id = minirunc.start(bundle("sleep 1000"))
        minirunc.ok("kill", id, "KILL")
        minirunc.wait_for_status(id, "stopped")
        stranger = subprocess.Popen(["sleep", "1000"])  # now: a clock tick later it starts at another time
        try:
            edit(minirunc, id, pid=stranger.pid)
            state = minirunc.state(id)
            assert (state["status"], state["pid"]) == ("stopped", 0)
            assert "container not running" in minirunc("kill", id, "KILL").err
            minirunc.ok("delete", "--force", id)
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    @pytest.mark.parametrize("pid", [-1, 2**31, 2**70])
    def test_impossible_pid(self, minirunc: Runtime, bundle: Callable[..., Bundle], pid: int) -> None:
        """Stopped."""
        id = minirunc.create(bundle())
        edit(minirunc, id, pid=pid)
        assert minirunc.status(id) == "stopped"
        assert minirunc("delete", id) == Result(0, "", "")


class TestAtOnce:
    """Several commands for one container at the same time."""

    @staticmethod
    def at_once(minirunc: Runtime, *commands: Sequence[object]) -> list[tuple[int, str]]:
        """Status and stderr of each: a file, as a container may inherit it."""
        running = []
        for number, command in enumerate(commands):
            with open(minirunc.root.parent / f"err{number}", "w+") as err:
                running.append(
                    minirunc.popen(*command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
                )
        return [(run.wait(60), (minirunc.root.parent / f"err{n}").read_text()) for n, run in enumerate(running)]

    def test_two_starts(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """One of several starts it; the others say that it is started; the process runs once."""
        made = bundle("echo x >> /runs; exec sleep 1000")
        id = minirunc.create(made)
        results = self.at_once(minirunc, *[["start", id]] * 5)
        assert sorted(status for status, _ in results) == [0, 1, 1, 1, 1]
        for status, err in results:
            said = "already running" in err or "by another process" in err
            assert said == bool(status), err
        wait_until((made.rootfs / "runs").exists, "it runs")
        assert (made.rootfs / "runs").read_text() == "x\n"

    @pytest.mark.parametrize("force", [True, False])
    def test_deletes(self, minirunc: Runtime, bundle: Callable[..., Bundle], force: bool) -> None:
        """One deletes; for --force all have. poststop hooks run once."""
        made = bundle("sleep 1000")
        log = made.path / "log"
        made.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo x >> {log}"]}]}
        id = minirunc.create(made)
        if force:
            minirunc.ok("start", id)
        results = self.at_once(minirunc, *[["delete", *["--force"][:force], id]] * 5)
        assert sorted(status for status, _ in results) == ([0] * 5 if force else [0, 1, 1, 1, 1]), results
        for status, err in results:
            assert ("container does not exist" in err) == bool(status), err
        assert log.read_text() == "x\n"

    def test_creates(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """One has the id; for the others it is in use, and they leave the one alone."""
        made = bundle("sleep 1000")
        made.write()
        id = minirunc.id()
        results = self.at_once(minirunc, *[["create", "--bundle", made.path, id]] * 5)
        assert sorted(status for status, _ in results) == [0, 1, 1, 1, 1]
        for status, err in results:
            assert ("container with given ID already exists" in err or "cgroup is not empty" in err) == bool(status), (
                err
            )
        assert minirunc.status(id) == "created"
        minirunc.ok("delete", id)

    def test_delete_of_what_is_being_created(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """--force wins at any moment, and the create fails."""
        made = bundle("sleep 1000")
        made.write()
        for _ in range(6):
            id = minirunc.id()
            creating = minirunc.popen("create", "--bundle", made.path, id)
            wait_until((minirunc.root / id).exists, "it has begun")
            result = minirunc("delete", "--force", id)
            assert (result.status, result.out, result.err) == (0, "", "")
            _, err = creating.communicate(timeout=60)
            assert not (minirunc.root / id).exists(), err
            assert "internal error" not in err

    def test_delete_during_a_hook(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """A hook that hangs does not hold it; create, when it goes on, leaves alone who has the id by then."""
        made = bundle("sleep 1000")
        fifo, seen = made.path / "fifo", made.path / "seen"
        os.mkfifo(fifo)
        plain = json.loads(json.dumps(made.config))
        made.config["hooks"] = {
            "prestart": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {seen}; read x < {fifo}"]}]
        }
        made.write()
        id = minirunc.id()
        creating = minirunc.popen("create", "--bundle", made.path, id)
        wait_until(seen.exists, "the hook runs")
        began = time.monotonic()
        assert minirunc("delete", "--force", id) == Result(0, "", "")
        assert time.monotonic() - began < 10
        assert leftovers.state_directories(minirunc.root) == set()
        made.config = plain
        minirunc.create(made, id=id)
        fifo.write_text("go\n")
        _, err = creating.communicate(timeout=60)
        assert creating.returncode == 1, err
        assert minirunc.status(id) == "created"
        minirunc.ok("start", id)
        minirunc.ok("delete", "--force", id)

    def test_exec_and_kill_and_delete(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """Each gives an answer, none of them an internal error."""
        for _ in range(3):
            id = minirunc.start(bundle("sleep 1000"))
            commands = [["exec", id, "true"], ["kill", id, "KILL"], ["ps", id], ["state", id], ["pause", id], ["list"]]
            results = self.at_once(minirunc, *commands * 2, ["delete", "--force", id])
            assert [err for _, err in results if "internal error" in err] == []
            assert results[-1] == (0, "")
            assert minirunc("delete", "--force", id) == Result(0, "", "")


def test_cgroup_of_another_container(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A second container in one cgroup is refused, and the first goes on."""
    first, second = bundle("sleep 1000"), bundle("sleep 1000")
    for made in (first, second):
        made.linux["cgroupsPath"] = f"/{minirunc.token}/shared"
    id = minirunc.start(first)
    second.write()
    result = minirunc("create", "--bundle", second.path, minirunc.id())
    assert (result.status, result.out) == (1, "")
    assert "container's cgroup is not empty: 1 process(es) found" in result.err
    assert minirunc.status(id) == "running"
    minirunc.ok("delete", "--force", id)
    assert not [path for mount in leftovers.cgroup2_mounts() for path in mount.glob(f"{minirunc.token}*")]


def test_process_that_ignores_everything(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Stopped by SIGSTOP, frozen, with all signals ignored: deleted at once."""
    made = bundle("trap '' TERM INT HUP QUIT; (kill -STOP $$ &) ; sleep 1000")
    made.without_namespace("pid")
    id = minirunc.start(made)
    pid = minirunc.pid(id)
    wait_until(lambda: "State:\tT" in Path(f"/proc/{pid}/status").read_text(), "it is stopped")
    minirunc.ok("pause", id)
    began = time.monotonic()
    minirunc.ok("delete", "--force", id)
    assert time.monotonic() - began < 5


def test_interrupted(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Ctrl-C at a create that hangs in a hook undoes it."""
    made = bundle()
    seen = made.path / "seen"
    made.config["hooks"] = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {seen}; exec sleep 1000"]}]}
    made.write()
    creating = minirunc.popen("create", "--bundle", made.path, minirunc.id())
    wait_until(seen.exists, "the hook runs")
    creating.send_signal(signal.SIGINT)
    _, err = creating.communicate(timeout=60)
    assert (creating.returncode, err.count("\n")) == (130, 1)
    assert "interrupted" in err
    assert leftovers.state_directories(minirunc.root) == set()


class TestFullDisk:
    """The state directory's file system has no room: the command fails with one line, and is undone."""

    def tried(self, minirunc: Runtime, made: Bundle, option: str) -> tuple[int, str, str]:
        """`create` on a tmpfs mounted with this option; its status, what it said, and what is on the tmpfs then."""
        minirunc.root.mkdir(exist_ok=True)
        root = minirunc.root
        script = (
            f"mount -t tmpfs -o {option} none {root}; "
            f'if "$@"; then {minirunc.binary} --root {root} delete --force {minirunc.token}; '
            f"else s=$?; ls -A {root}; exit $s; fi"
        )
        minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
        made.write()
        result = minirunc("create", "--bundle", made.path, minirunc.token)
        return result.status, result.err, result.out

    def test_no_inodes(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """At every file of its own: directory, state.json, config.json, fifo."""
        made = bundle("sleep 1000")
        done = False
        for count in range(1, 12):
            status, err, left = self.tried(minirunc, made, f"nr_inodes={count}")
            assert left == ""
            if status == 0:
                done = True
                break
            assert "no space left on device" in err
            assert err.count("\n") == 1
        assert done
        assert count > 3

    def test_no_blocks(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """In the middle of state.json or of the copy of config.json."""
        made = bundle("sleep 1000")
        made.config["annotations"] = {"long": "x" * 20000}
        for size in range(4, 80, 4):
            status, err, left = self.tried(minirunc, made, f"size={size}k")
            assert left == ""
            if status == 0:
                break
            assert "no space left on device" in err
        assert 24 < size < 76
