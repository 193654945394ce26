"""`update` where cgroup v2 may have no controllers: errors, what is stored and when, devices; limits: tests/uml."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirunc.library import Container
from tests.ground import bpf, crash
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.rootless import given, ordinary_user
from tests.ground.runtime import Result, Runtime, wait_until

# Every cgroup has these two, whatever the controllers.
DEPTH, WIDTH = "cgroup.max.depth", "cgroup.max.descendants"


WITHOUT_LIMIT = "unable to set swap limit without memory limit: linux.resources.memory.limit is missing"


def unified(**values: object) -> str:
    """A document of unified limits: `unified(depth=5)`."""
    return json.dumps({"unified": {f"cgroup.max.{name}": str(value) for name, value in values.items()}})


def stored(minirunc: Runtime, id: str) -> Any:
    """The configuration in the state directory."""
    return json.loads((minirunc.root / id / "config.json").read_text())


def limits_of(cgroup: Path) -> tuple[str, str]:
    return (cgroup / DEPTH).read_text().strip(), (cgroup / WIDTH).read_text().strip()


@pytest.fixture
def made(bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle whose process lives on, with members that nobody knows."""
    made = bundle("exec sleep 1000")
    made.config["x-top"] = {"y": [1, 2.5, None, "\u2028\\"]}
    made.linux["resources"]["x-resource"] = {"z": 2**70}
    made.linux["resources"]["unified"] = {DEPTH: "100"}
    return made


class TestStored:
    """The copy of config.json holds what is in force."""

    def test_document_from_stdin_or_a_file(self, minirunc: Runtime, made: Bundle, tmp_path: Path) -> None:
        """--resources: what it says is in force and stored; all else stays, members nobody knows, too."""
        id = minirunc.start(made)
        before = stored(minirunc, id)
        assert minirunc("update", "--resources=-", id, input=unified(depth=7)) == Result(0, "", "")
        assert limits_of(minirunc.cgroup(id)) == ("7", "max")
        file = tmp_path / "resources.json"
        file.write_text(unified(descendants=9))
        assert minirunc("update", "-r", file, id) == Result(0, "", "")
        assert limits_of(minirunc.cgroup(id)) == ("7", "9")
        before["linux"]["resources"]["unified"] = {DEPTH: "7", WIDTH: "9"}
        assert stored(minirunc, id) == before
        assert minirunc.ok("exec", id, "echo", "it lives") == "it lives\n"

    def test_options_beside_a_document_are_ignored(self, minirunc: Runtime, made: Bundle) -> None:
        """As in runc: not even a wrong one is looked at."""
        id = minirunc.start(made)
        minirunc.ok("update", "-r", "-", "--memory", "1", "--cpu-share", "x", id, input=unified(depth=7))
        assert limits_of(minirunc.cgroup(id))[0] == "7"

    @pytest.mark.parametrize("document", ["{}", "null", '{"memory": null, "cpu": {}, "x": 1}'])
    def test_document_that_says_nothing(self, minirunc: Runtime, made: Bundle, document: str) -> None:
        """Nothing is changed."""
        id = minirunc.start(made)
        assert minirunc("update", "-r", "-", id, input=document) == Result(0, "", "")
        assert minirunc("update", id) == Result(0, "", "")
        assert limits_of(minirunc.cgroup(id)) == ("100", "max")

    def test_file_of_a_kept_limit_is_not_written(self, minirunc: Runtime, made: Bundle) -> None:
        """What is not named keeps the value it has, whoever set it."""
        id = minirunc.start(made)
        (minirunc.cgroup(id) / DEPTH).write_text("55")
        minirunc.ok("update", "-r", "-", id, input=unified(descendants=5))
        assert limits_of(minirunc.cgroup(id)) == ("55", "5")

    def test_members_in_another_case(self, minirunc: Runtime, made: Bundle) -> None:
        """Go's JSON takes them so, in the document and in config.json."""
        made.linux["resources"]["Unified"] = made.linux["resources"].pop("unified")
        made.config["LINUX"] = made.config.pop("linux")
        made.write()
        id = minirunc.id()
        minirunc.ok("run", "-d", "--bundle", made.path, id)
        minirunc.ok("update", "-r", "-", id, input=unified(descendants=5).replace("unified", "UNIFIED"))
        assert stored(minirunc, id)["linux"]["resources"]["unified"] == {DEPTH: "100", WIDTH: "5"}

    def test_huge_pages(self, minirunc: Runtime, made: Bundle) -> None:
        """hugepageLimits: set and stored by the size of a page; 0 is a limit."""
        id = minirunc.start(made)
        file = minirunc.cgroup(id) / "hugetlb.2MB.max"
        if not file.exists():
            pytest.skip("no hugetlb controller in cgroup v2, or no huge pages of 2 MB")
        for size in (4 << 20, 0, 2**62):
            document = {"hugepageLimits": [{"pageSize": "2MB", "limit": size}]}
            minirunc.ok("update", "-r", "-", id, input=json.dumps(document))
            assert file.read_text().strip() in (str(size), str(size & ~((2 << 20) - 1)), "max")
            assert stored(minirunc, id)["linux"]["resources"]["hugepageLimits"] == document["hugepageLimits"]

    def test_by_the_library(self, minirunc: Runtime, made: Bundle) -> None:
        """The same function."""
        id = minirunc.start(made)
        Container.load(str(minirunc.root), id).update({"unified": {DEPTH: "3"}})
        assert limits_of(minirunc.cgroup(id))[0] == "3"


class TestRefused:
    """One error, and nothing is changed."""

    def refused(self, minirunc: Runtime, id: str, *args: object, **call: Any) -> str:
        before = stored(minirunc, id), limits_of(minirunc.cgroup(id))
        result = minirunc("update", *args, id, **call)
        assert (result.status, result.out) == (1, "")
        assert (stored(minirunc, id), limits_of(minirunc.cgroup(id))) == before
        lines = result.err.splitlines()
        assert len(lines) == 1
        return str(re.sub(r'^time="[^"]*" level=error msg="(.*)"$', r"\1", lines[0]).replace('\\"', '"'))

    @pytest.mark.parametrize(("document", "why"), [
        ("", "stdin:1:1: expecting value"),
        ("{", "stdin:1:2: expecting property name enclosed in double quotes"),
        ('{"a": 1} x', "stdin:1:10: extra data"),
        ("[]", "stdin: expected an object, got a list"),
        ('{"memory": {"limit": "1g"}}', 'stdin: memory.limit: expected an integer, got a string ("1g")'),
        (
            '{"memory": {"limit": 10, "swap": 5}}',
            ('stdin: memory.swap: memory+swap limit should be >= memory limit: '
             '5 is below linux.resources.memory.limit 10'),
        ),
        (
            '{"memory": {"swap": 5}}',
            f"stdin: memory.swap: {WITHOUT_LIMIT}",
        ),
        (
            '{"memory": {"limit": -2}}',
            ('stdin: memory.limit: invalid memory value: '
             '-2: expected bytes, or -1 for no limit'),
        ),
        ('{"cpu": {"quota": 5000, "burst": 5001}}', "stdin: cpu.burst: 5001 is above linux.resources.cpu.quota 5000"),
        ('{"cpu": {"idle": 2}}', "stdin: cpu.idle: expected 0 or 1, got 2"),
        ('{"blockIO": {"weight": 9}}', "stdin: blockIO.weight: expected an integer from 10 to 1000, got 9"),
        ('{"blockIO": {"weight": 1001}}', "stdin: blockIO.weight: expected an integer from 10 to 1000, got 1001"),
        ('{"rdma": {"a": null}}', 'stdin: rdma["a"]: must have hcaHandles or hcaObjects'),
        ('{"unified": {"a/b": "1"}}', 'stdin: unified: unified resource "a/b" must be a file name (no slashes)'),
        (
            '{"unified": {"cgroup.freeze": "1"}}',
            ('stdin: unified["cgroup.freeze"]: '
             'is no limit: the runtime alone writes it'),
        ),
        ('{"unified": {"cgroup.max.depth": "5\\u0000"}}', 'stdin: unified["cgroup.max.depth"]: contains a NUL byte'),
        (
            '{"unified": {"none.max": "5"}}',
            ('stdin: unified: unified resource "none.max" can\'t be set: '
             'controller "none" not available'),
        ),
        (
            '{"devices": [{"allow": true, "access": "x"}]}',
            ('stdin: devices[0].access: '
             'invalid cgroup device access "x": expected letters of rwm'),
        ),
    ])  # fmt: skip
    def test_document(self, minirunc: Runtime, made: Bundle, document: str, why: str) -> None:
        """The place is named by its path in the document."""
        assert self.refused(minirunc, minirunc.start(made), "-r", "-", input=document) == why

    @pytest.mark.parametrize(("options", "why"), [
        (["--memory", "1x"], "invalid value for memory: invalid suffix: 'x'"),
        (["--memory-swap", "x"], "invalid value for memory-swap: invalid size: 'x'"),
        (["--memory-reservation", "-5"], "invalid value for memory-reservation: invalid size: '-5'"),
        (["--kernel-memory", "x"], "invalid value for kernel-memory: invalid size: 'x'"),
        (["--cpu-share", "x"], f"invalid value for cpu-share: expected a number from 0 to {2**64 - 1}, got 'x'"),
        (["--cpu-quota", "1.5"],
         f"invalid value for cpu-quota: expected a number from {-(2**63)} to {2**63 - 1}, got '1.5'"),
        (["--cpu-idle", "2"], "update: cpu.idle: expected 0 or 1, got 2"),
        (["--blkio-weight", "9"], "update: blockIO.weight: expected an integer from 10 to 1000, got 9"),
        (["--blkio-weight", "70000"], "update: blockIO.weight: expected an integer from 0 to 65535, got 70000"),
        (["--memory-swap", "5"], f"update: memory.swap: {WITHOUT_LIMIT}"),
        (["-r", "/nonexistent/file"], "open /nonexistent/file: no such file or directory"),
        (["-r", "/"], "open /: is a directory"),
    ])  # fmt: skip
    def test_option(self, minirunc: Runtime, made: Bundle, options: list[str], why: str) -> None:
        """As runc begins it: invalid value for ..."""
        assert self.refused(minirunc, minirunc.start(made), *options) == why

    def test_controller_that_is_not_there(self, minirunc: Runtime, made: Bundle) -> None:
        """Named, with what to do."""
        id = minirunc.start(made)
        if "pids" in (minirunc.cgroup(id) / "cgroup.controllers").read_text():
            pytest.skip("all controllers are in cgroup v2 here")
        assert "update: pids: the pids controller is not available" in self.refused(minirunc, id, "--pids-limit", "5")

    def test_value_the_kernel_refuses_takes_the_others_back(self, minirunc: Runtime, made: Bundle) -> None:
        """What was written before it has its old value again."""
        id = minirunc.start(made)
        (minirunc.cgroup(id) / WIDTH).write_text("44")  # somebody's, and put back as well
        for document in ({WIDTH: "5", DEPTH: "x"}, {DEPTH: "1", WIDTH: "2", "cgroup.type": "x"}):
            why = self.refused(minirunc, id, "-r", "-", input=json.dumps({"unified": document}))
            assert re.fullmatch(r"stdin: unified: unable to set cgroup\.\S+ to 'x': invalid argument", why)
            assert limits_of(minirunc.cgroup(id)) == ("100", "44")

    def test_configuration_that_cannot_be_stored_takes_all_back(self, minirunc: Runtime, made: Bundle) -> None:
        """Limits and the device program: what is in force and what is stored are one."""
        id = minirunc.start(made)
        program = bpf.attached(minirunc.cgroup(id))
        (minirunc.root / id / ".config.json").mkdir()
        document = {"unified": {DEPTH: "1"}, "devices": [{"allow": True, "access": "rwm"}]}
        assert "is a directory" in self.refused(minirunc, id, "-r", "-", input=json.dumps(document))
        assert bpf.attached(minirunc.cgroup(id)) == program
        (minirunc.root / id / ".config.json").rmdir()
        minirunc.ok("update", "-r", "-", id, input=json.dumps(document))
        assert limits_of(minirunc.cgroup(id))[0] == "1"

    def test_limit_that_cannot_be_taken_back_is_told(self, minirunc: Runtime, made: Bundle, tmp_path: Path) -> None:
        """A second error is a warning: the first is the one that counts."""
        id = minirunc.start(made)
        program = tmp_path / "minirunc"
        program.write_text(
            f"#!{sys.executable} -IS\nimport sys\nsys.path.append({str(CHECKOUT)!r})\n"
            "from minirunc.cgroup import before\nfrom minirunc.__main__ import main\n"
            f"before.writes = lambda *_: [({DEPTH!r}, 'y')]\nmain()\n"
        )
        program.chmod(0o755)
        minirunc.binary = str(program)
        result = minirunc("update", "-r", "-", id, input=json.dumps({"unified": {DEPTH: "5", WIDTH: "x"}}))
        warning, error = result.err.splitlines()
        assert f'level=warning msg="{DEPTH} could not be set back: invalid argument' in warning
        assert f"level=error msg=\"stdin: unified: unable to set {WIDTH} to 'x': invalid argument" in error

    def test_realtime_and_kernel_memory_have_no_effect(self, minirunc: Runtime, made: Bundle) -> None:
        """Accepted, the second with runc's warning."""
        id = minirunc.start(made)
        assert minirunc("update", "--cpu-rt-period", "5", "--cpu-rt-runtime", "5", id) == Result(0, "", "")
        result = minirunc("update", "--kernel-memory", "5m", "--kernel-memory-tcp", "-1", id)
        assert (result.status, result.out) == (0, "")
        assert 'level=warning msg="Kernel memory settings are ignored and will be removed"' in result.err
        result = minirunc("update", "-r", "-", id, input='{"memory": {"kernelTCP": 1}}', before=["--debug"])
        assert "Kernel memory settings are ignored" in result.err
        assert "stdin: linux.resources.memory.kernelTCP is ignored: cgroup v2 counts kernel memory" in result.err


class TestStatus:
    """Of a container that lives: waiting, running or paused."""

    def test_created_and_paused(self, minirunc: Runtime, made: Bundle) -> None:
        """It stays what it is."""
        id = minirunc.create(made)
        minirunc.ok("update", "-r", "-", id, input=unified(depth=3))
        assert (minirunc.status(id), limits_of(minirunc.cgroup(id))[0]) == ("created", "3")
        minirunc.ok("start", id)
        minirunc.ok("pause", id)
        minirunc.ok("update", "-r", "-", id, input=unified(depth=4))
        assert (minirunc.status(id), limits_of(minirunc.cgroup(id))[0]) == ("paused", "4")
        minirunc.ok("resume", id)
        assert minirunc.status(id) == "running"

    def test_stopped(self, minirunc: Runtime, made: Bundle) -> None:
        """In runc's words, and nothing is stored."""
        id = minirunc.start(made)
        minirunc.ok("kill", id, "KILL")
        minirunc.wait_for_status(id, "stopped")
        before = stored(minirunc, id)
        result = minirunc("update", "-r", "-", id, input=unified(depth=3))
        assert result.status == 1
        assert f"container not running: {id} is stopped" in result.err
        assert stored(minirunc, id) == before

    def test_none(self, minirunc: Runtime) -> None:
        """Nobody need write to its stdin, which never ends here."""
        end, other = os.pipe()
        result = minirunc("update", "-r", "-", minirunc.id(), stdin=end)
        os.close(end)
        os.close(other)
        assert result.status == 1
        assert "container does not exist" in result.err

    def test_while_it_is_made(self, minirunc: Runtime, made: Bundle) -> None:
        """An update in a hook of the birth is told so at once: the lock is its maker's."""
        id, said = minirunc.id(), made.path / "said"
        command = " ".join(minirunc.argv("update", "-r", "-", id))
        script = f"echo '{unified(depth=3)}' | {command} 2>{said} && exit 9; exit 0"
        made.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 5}]}
        minirunc.start(made, id=id)
        assert f"container not running: {id} is creating" in said.read_text()
        assert limits_of(minirunc.cgroup(id))[0] == "100"

    def test_container_without_a_cgroup(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """One error that says why."""
        with ordinary_user(minirunc, delegated=False) as home:
            id = minirunc.start(given(bundle("exec sleep 1000"), home))
            result = minirunc("update", "--pids-limit", "5", id)
            assert result.status == 1
            assert f"container {id} has no cgroup of its own: none could be made when it was created" in result.err
            minirunc.ok("delete", "--force", id)

    def test_container_of_an_ordinary_user(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """In a cgroup that was delegated to him; who keeps devices away is the user namespace."""
        with ordinary_user(minirunc) as home:
            id = minirunc.start(given(bundle("exec sleep 1000"), home))
            assert minirunc("update", "-r", "-", id, input=unified(depth=3)) == Result(0, "", "")
            assert limits_of(minirunc.cgroup(id))[0] == "3"
            result = minirunc("update", "-r", "-", id, input='{"devices": []}')
            assert result.status == 0
            assert "rules are kept by who is root of the host alone" in result.err
            minirunc.ok("delete", "--force", id)


class TestAtOnce:
    """Two at a time, or one that is killed."""

    def test_no_update_is_lost(self, minirunc: Runtime, made: Bundle) -> None:
        """Each adds to what the others have stored: they take turns."""
        id = minirunc.start(made)
        documents = [json.dumps({"unified": {DEPTH: str(n)}, "x-told": {str(n): n}}) for n in range(20)]
        threads = [
            threading.Thread(target=minirunc.ok, args=("update", "-r", "-", id), kwargs={"input": document})
            for document in documents
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        resources = stored(minirunc, id)["linux"]["resources"]
        assert resources["x-told"] == {str(n): n for n in range(20)}
        assert limits_of(minirunc.cgroup(id))[0] == resources["unified"][DEPTH]

    def test_update_and_delete(self, minirunc: Runtime, made: Bundle) -> None:
        """One after the other: an update that comes too late says that there is no container, or none that runs."""
        for _ in range(5):
            id = minirunc.start(made)
            updates = [minirunc.popen("update", "-r", "-", id) for _ in range(3)]
            for update in updates:
                assert update.stdin is not None
                update.stdin.write(unified(depth=3))
                update.stdin.close()
                update.stdin = None
            minirunc.ok("delete", "--force", id)
            for update in updates:
                _, err = update.communicate()
                assert update.returncode == 0 or re.search("does not exist|not running|deleted by another", err), err
            assert not (minirunc.root / id).exists()

    def test_killed_at_every_step(self, minirunc: Runtime, made: Bundle, tmp_path: Path) -> None:
        """The next update and `delete` work as if nothing had been."""
        id = minirunc.id()
        made.write()
        minirunc.root.mkdir()
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_text(json.dumps({"unified": {DEPTH: "5"}, "devices": [{"allow": True, "access": "rwm"}]}))
        second.write_text(json.dumps({"unified": {DEPTH: "6"}, "devices": []}))
        plan = {
            "root": str(minirunc.root),
            "every": 1,
            "before": [["create", "--bundle", str(made.path), id]],
            "killed": ["update", "-r", str(first), id],
            "after": [["update", "-r", str(second), id], ["start", id], ["delete", "--force", id]],
        }
        argv = [sys.executable, "-I", "-S", crash.__file__, str(CHECKOUT), json.dumps(plan)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        steps, status = map(int, done.stdout.split())
        assert (status, steps > 15) == (0, True), done


# Numbers for experiments (devices.txt): no driver answers, but the device program is asked before.
MAJOR = 240
YES, NO = "No such device or address", "Operation not permitted"


def rules(*minors: int) -> list[dict[str, Any]]:
    """All is denied but these."""
    some = [{"allow": True, "access": "rw", "type": "c", "major": MAJOR, "minor": minor} for minor in minors]
    return [{"allow": False, "access": "rwm"}, *some]


def devices(*minors: int, **more: object) -> str:
    return json.dumps({"devices": rules(*minors), **more})


@pytest.fixture
def with_devices(bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle with three nodes, of which it may use the first; its process lives on."""
    made = bundle("exec sleep 1000")
    made.linux["devices"] = [
        {"path": f"/dev/n{minor}", "type": "c", "major": MAJOR, "minor": minor, "fileMode": 0o666} for minor in range(3)
    ]
    made.linux["resources"]["devices"] = rules(0)
    return made


class TestDevices:
    """One program, always."""

    def usable(self, minirunc: Runtime, id: str) -> list[int]:
        """The nodes whose opening the device program allows."""
        said = minirunc.ok("exec", id, "sh", "-c", "for n in 0 1 2; do (: </dev/n$n); done 2>&1; true").splitlines()
        assert {line.rpartition(": ")[2] for line in said} <= {YES, NO}
        return [minor for minor, line in enumerate(said) if line.endswith(YES)]

    def test_other_rules_replace_the_program(self, minirunc: Runtime, with_devices: Bundle) -> None:
        """For the process that runs, at once; one program, named as ours; the old one is gone from the kernel."""
        id = minirunc.start(with_devices)
        cgroup = minirunc.cgroup(id)
        (first,) = bpf.attached(cgroup)
        assert (bpf.name(first), self.usable(minirunc, id)) == ("minirunc", [0])
        minirunc.ok("update", "-r", "-", id, input=devices(1, 2))
        (second,) = bpf.attached(cgroup)
        assert (bpf.name(second), self.usable(minirunc, id)) == ("minirunc", [1, 2])
        assert stored(minirunc, id)["linux"]["resources"]["devices"] == rules(1, 2)
        wait_until(lambda: first not in bpf.loaded(), "the kernel has freed the first program")
        minirunc.ok("delete", "--force", id)
        wait_until(lambda: second not in bpf.loaded(), "the kernel has freed the second program")

    def test_equal_rules_leave_the_program_alone(self, minirunc: Runtime, with_devices: Bundle) -> None:
        """Equal is what means the same; hooks put their own program in, which must stay (nvidia-docker#1730)."""
        id = minirunc.start(with_devices)
        before = bpf.attached(minirunc.cgroup(id))
        same = [{"allow": False, "type": "a", "access": "rwm"}, rules(0)[1] | {"access": "wr", "x": 1}]
        for document in (unified(depth=3), devices(0), json.dumps({"devices": same})):
            minirunc.ok("update", "-r", "-", id, input=document)
            assert bpf.attached(minirunc.cgroup(id)) == before

    def test_program_of_a_hook_is_not_replaced(self, minirunc: Runtime, with_devices: Bundle) -> None:
        """Where ours is gone, or not alone: others' are told by their name, and other rules are refused."""
        id = minirunc.start(with_devices)
        cgroup = minirunc.cgroup(id)
        (ours,) = bpf.attached(cgroup)
        theirs = bpf.attach(cgroup, b"sd_devices")
        assert bpf.attached(cgroup) == [ours, theirs]
        minirunc.ok("update", "-r", "-", id, input=devices(1))
        now = bpf.attached(cgroup)
        assert theirs in now
        assert ours not in now
        assert len(now) == 2
        bpf.detach(cgroup, next(number for number in now if number != theirs))
        minirunc.ok("update", "-r", "-", id, input=devices(1, unified={DEPTH: "3"}))
        result = minirunc("update", "-r", "-", id, input=devices(2, unified={DEPTH: "9"}))
        assert result.status == 1
        assert "stdin: devices: the device program of the container's birth is not there any more" in result.err
        assert bpf.attached(cgroup) == [theirs]
        assert limits_of(cgroup)[0] == "3"
        assert stored(minirunc, id)["linux"]["resources"]["devices"] == rules(1)

    def test_500_updates_leave_one_program(self, minirunc: Runtime, with_devices: Bundle) -> None:
        """A process that uses a device keeps it through all of them, and never has another; nothing leaks."""
        with_devices.args("while true; do true </dev/n0; true </dev/n2; done 2>/said")
        before = bpf.loaded()
        id = minirunc.start(with_devices)
        cgroup, said = minirunc.cgroup(id), with_devices.rootfs / "said"
        wait_until(lambda: said.exists() and said.stat().st_size > 1000, "the process uses its device")
        container = Container.load(str(minirunc.root), id)
        fds = os.listdir("/proc/self/fd")
        seen = set()
        for turn in range(500):
            document = [devices(0, 1), devices(0), unified(depth=turn), devices(0)][turn % 4]
            if turn % 20 == 0:
                minirunc.ok("update", "-r", "-", id, input=document)
            else:
                container.update(json.loads(document))
            seen.add(tuple(map(bpf.name, bpf.attached(cgroup))))
        size = said.stat().st_size
        wait_until(lambda: said.stat().st_size > size + 1000, "it still does")
        assert seen == {("minirunc",)}
        assert os.listdir("/proc/self/fd") == fds
        wait_until(lambda: len(bpf.loaded() - before) == 1, "the kernel has freed the others")
        minirunc.ok("kill", id, "KILL")
        answers = {line.rpartition("open ")[2] for line in said.read_text().splitlines()[:-1]}
        assert answers == {f"/dev/n0: {YES}", f"/dev/n2: {NO}"}

    def test_there_is_always_one_program(self, minirunc: Runtime, with_devices: Bundle) -> None:
        """Never none, never two: seen by who looks all the time."""
        id = minirunc.start(with_devices)
        cgroup = minirunc.cgroup(id)
        counts, over = set(), threading.Event()

        def watch() -> None:
            while not over.is_set():
                counts.add(len(bpf.attached(cgroup)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for turn in range(40):
                minirunc.ok("update", "-r", "-", id, input=devices(turn % 3))
        finally:
            over.set()
            watcher.join()
        assert counts == {1}
