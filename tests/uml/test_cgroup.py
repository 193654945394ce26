"""config.json linux.cgroupsPath and linux.resources.unified; the life of a cgroup with all controllers."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until

CGROUP2 = Path("/sys/fs/cgroup")


def test_empty_path_is_the_id_below_the_caller_s_cgroup(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """No cgroupsPath: a cgroup named by the id, beside the caller."""
    id = minirunc.start(limited("sleep 1000"))
    assert minirunc.cgroup(id) == CGROUP2 / id


@pytest.mark.observes("linux.cgroupsPath")
def test_absolute_path_has_its_controllers(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """cgroupsPath: missing levels are made, and each gives the controllers to the next."""
    top = CGROUP2 / f"top-{minirunc.id()}"
    bundle = limited("true", pids={"limit": 9})
    bundle.linux["cgroupsPath"] = f"/{top.name}/middle/bottom"
    id = minirunc.create(bundle)
    bottom = minirunc.cgroup(id)
    assert bottom == top / "middle/bottom"
    assert (bottom / "pids.max").read_text() == "9\n"
    assert {"cpu", "io", "memory", "pids"} <= set((top / "middle/cgroup.subtree_control").read_text().split())
    minirunc.ok("delete", "--force", id)
    assert not bottom.exists()
    # The levels above may be somebody's by now, so they may stay, empty.
    for left in (top / "middle", top):
        if left.exists():
            left.rmdir()


def test_path_with_dots_stays_in_the_hierarchy(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """cgroupsPath: .. does not lead out of the cgroup file system."""
    id = minirunc.id()
    bundle = limited("sleep 1000")
    bundle.linux["cgroupsPath"] = f"/../../../{id}"
    minirunc.start(bundle, id=id)
    assert minirunc.cgroup(id) == CGROUP2 / id


def test_first_process_is_in_the_cgroup_before_it_runs(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A created container is already in its cgroup, and alone there: a caller may look after it at once."""
    id = minirunc.create(limited("true"))
    pid = minirunc.pid(id)
    assert (CGROUP2 / id / "cgroup.procs").read_text() == f"{pid}\n"


def test_cgroup_in_use_is_refused(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """cgroupsPath: a cgroup with processes in it belongs to somebody else, and stays as it is."""
    bundle = limited("sleep 1000")
    id = minirunc.start(bundle)
    bundle.linux["cgroupsPath"] = f"/{id}"
    result = minirunc.run(bundle)
    assert result.status == 1
    assert "not empty" in result.err
    assert minirunc.status(id) == "running"


def test_cgroup_is_gone_after_run(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`run` removes the cgroup with the container."""
    id = minirunc.id()
    assert minirunc.run(limited("true", pids={"limit": 9}), id=id).status == 0
    assert not (CGROUP2 / id).exists()


def test_cgroups_made_inside_are_gone_after_delete(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`delete` removes what the container made below its own cgroup."""
    bundle = limited("mkdir -p /sys/fs/cgroup/a/b && sleep 1000")
    for mount in bundle.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    id = minirunc.start(bundle)
    wait_until((CGROUP2 / id / "a/b").exists, "the container makes cgroups of its own")
    minirunc.ok("delete", "--force", id)
    assert not (CGROUP2 / id).exists()


def test_pause_freezes_and_resume_thaws(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`pause`: cgroup.events says frozen and nothing runs any more; `resume`: it goes on."""
    id = minirunc.start(limited("while :; do :; done"))
    minirunc.ok("pause", id)
    assert minirunc.status(id) == "paused"
    assert "frozen 1" in (CGROUP2 / id / "cgroup.events").read_text()
    used = _usage(id)
    time.sleep(0.5)
    assert _usage(id) == used
    minirunc.ok("resume", id)
    assert minirunc.status(id) == "running"
    wait_until(lambda: _usage(id) > used, "it runs again")


def test_kill_ends_what_the_first_process_started(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`delete --force` of a container without a pid namespace of its own kills all of its cgroup."""
    bundle = limited("sleep 1000 & sleep 1000 & sleep 1000 & wait")
    bundle.without_namespace("pid")
    id = minirunc.start(bundle)
    procs = CGROUP2 / id / "cgroup.procs"
    wait_until(lambda: len(procs.read_text().split()) == 4, "all are started")
    pids = procs.read_text().split()
    minirunc.ok("delete", "--force", id)
    assert not [pid for pid in pids if _lives(pid)]


@pytest.mark.observes("linux.resources.unified[]")
@pytest.mark.parametrize(
    ("unified", "file", "value"),
    [
        ({"memory.high": "16777216"}, "memory.high", "16777216"),
        ({"pids.max": "7"}, "pids.max", "7"),
        ({"cpu.max": "20000 50000"}, "cpu.max", "20000 50000"),
    ],
)
def test_unified_is_written_as_it_is(
    minirunc: Runtime, limited: Callable[..., Bundle], unified: dict[str, str], file: str, value: str
) -> None:
    """unified: a file of the cgroup and its value."""
    result = minirunc.run(limited(f"cat /sys/fs/cgroup/{file}", unified=unified))
    assert result == (0, f"{value}\n", "")


def test_unified_wins(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """unified: written last, so it stands."""
    bundle = limited("cat /sys/fs/cgroup/pids.max", pids={"limit": 9}, unified={"pids.max": "7"})
    assert minirunc.run(bundle) == (0, "7\n", "")


@pytest.mark.parametrize("key", ["../pids.max", "a/b", "hugetlb.2MB.max", "no.such"])
def test_unified_that_cannot_be_set_is_refused(minirunc: Runtime, limited: Callable[..., Bundle], key: str) -> None:
    """unified: a key that is no file of the cgroup is an error that names it."""
    result = minirunc.run(limited("true", unified={key: "1"}))
    assert result.status == 1
    assert key in result.err


def test_device_not_allowed_cannot_be_opened(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """devices: what no rule allows is refused by the kernel, although the node is there."""
    bundle = limited("cat /dev/mine; echo $?")
    bundle.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]
    result = minirunc.run(bundle)
    assert result.out == "1\n"
    assert "Operation not permitted" in result.err


def test_device_allowed_can_be_opened(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """devices: a later rule wins over an earlier one."""
    bundle = limited("head -c 1 /dev/mine >/dev/null && echo opened")
    bundle.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]
    rule = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    bundle.linux["resources"]["devices"].append(rule)
    assert minirunc.run(bundle).out == "opened\n"


def _usage(id: str) -> int:
    return int((CGROUP2 / id / "cpu.stat").read_text().split()[1])


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestFrozenAbove:
    """A cgroup above the container's is frozen: what would wait for it is refused, and which it is is said."""

    @pytest.fixture
    def above(self, minirunc: Runtime) -> Iterator[Path]:
        """The cgroup above; thawed at the end."""
        path = CGROUP2 / f"above-{minirunc.id()}"
        path.mkdir()
        yield path
        if path.exists():
            (path / "cgroup.freeze").write_text("0")
            for id in leftovers.state_directories(minirunc.root):
                minirunc("delete", "--force", id)
            path.rmdir()

    def bundle(self, limited: Callable[..., Bundle], above: Path) -> Bundle:
        made = limited("exec sleep 1000")
        made.linux["cgroupsPath"] = f"/{above.name}/own"
        return made

    def freeze(self, above: Path) -> None:
        (above / "cgroup.freeze").write_text("1")
        wait_until(lambda: "frozen 1" in (above / "cgroup.events").read_text(), "it is frozen")

    def test_birth(self, minirunc: Runtime, limited: Callable[..., Bundle], above: Path) -> None:
        """`create` and `run` end at once, with nothing left."""
        self.freeze(above)
        result = minirunc.run(self.bundle(limited, above))
        assert result.status == 1
        assert f"container's cgroup unexpectedly frozen: nothing would begin to run: {above} is frozen" in result.err
        assert not (above / "own").exists()

    def test_life(self, minirunc: Runtime, limited: Callable[..., Bundle], above: Path) -> None:
        """`start`, `exec` and `resume` name it; `kill` and `delete` do their work all the same."""
        made = self.bundle(limited, above)
        created, running = minirunc.create(made), ""
        made.linux["cgroupsPath"] = f"/{above.name}/other"
        running = minirunc.start(made)
        self.freeze(above)
        assert f"in a frozen cgroup: thaw /{above.name}" in minirunc("start", created).err
        result = minirunc("exec", running, "true")
        assert (result.status, f"{above} is frozen" in result.err) == (255, True)
        minirunc.ok("pause", running)
        result = minirunc("resume", running)
        assert (result.status, f"is thawed, but /{above.name} above it is frozen" in result.err) == (1, True)
        minirunc.ok("kill", running, "KILL")
        minirunc.wait_for_status(running, "stopped")
        minirunc.ok("delete", running)
        minirunc.ok("delete", created)
        assert [path for path in above.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("own_pids", [True, False])
def test_threaded_container_is_found_and_ended(
    minirunc: Runtime, limited: Callable[..., Bundle], own_pids: bool
) -> None:
    """cgroup.kill and cgroup.procs are not for threaded cgroups: `ps` and `delete` find the processes all the same."""
    top = CGROUP2 / f"top-{minirunc.id()}"
    (top / "other").mkdir(parents=True)
    (top / "other/cgroup.type").write_text("threaded")  # so that all below `top` has to be
    made = limited("sleep 1000 & wait", pids={"limit": 9})
    made.linux["cgroupsPath"] = f"/{top.name}/own"
    if not own_pids:
        made.without_namespace("pid")
    id = minirunc.start(made)
    assert (top / "own/cgroup.type").read_text() == "threaded\n"
    assert (top / "own/pids.max").read_text() == "9\n"
    wait_until(lambda: len(json.loads(minirunc.ok("ps", "--format", "json", id))) == 2, "two processes")
    assert minirunc.ok("exec", id, "cat", "/proc/self/cgroup") == "0::/\n"
    minirunc.ok("delete", "--force", id)
    assert [path.name for path in top.iterdir() if path.is_dir()] == ["other"]
    made.linux["resources"]["memory"] = {"limit": 1 << 25}
    result = minirunc.run(made)
    assert (result.status, "those beside it are threaded, for which it is not" in result.err) == (
        1,
        True,
    )
    (top / "other").rmdir()
    top.rmdir()


@pytest.mark.parametrize("joined", [False, True])
def test_exec_and_birth_where_cgroup_namespaces_are_boundaries(
    minirunc: Runtime, limited: Callable[..., Bundle], joined: bool
) -> None:
    """cgroup2 mounted with nsdelegate, as by systemd: a container in a cgroup namespace, its own or joined by path, has
    its cgroup, and an exec goes there."""
    assert "nsdelegate" in Path("/proc/self/mounts").read_text()
    made = limited("exec sleep 1000")
    if joined:
        other = minirunc.start(limited("exec sleep 1000"))
        made.namespace("cgroup", path=f"/proc/{minirunc.pid(other)}/ns/cgroup")
    id = minirunc.start(made)
    assert minirunc.cgroup(id) == CGROUP2 / id
    seen = minirunc.ok(
        "exec", id, "sh", "-c", "cat /proc/self/cgroup; readlink /proc/self/ns/cgroup; readlink /proc/1/ns/cgroup"
    )
    path, own, first = seen.split()
    assert (path, own) == (f"0::/../{id}" if joined else "0::/", first)


def test_mount_without_a_cgroup_namespace_leaves_the_hosts_options(
    minirunc: Runtime, limited: Callable[..., Bundle]
) -> None:
    """cgroup2 mounted in the host's cgroup namespace sets the options of all its mounts anew: they are as they were."""

    def hosts() -> list[str]:
        return [line for line in Path("/proc/self/mounts").read_text().splitlines() if " cgroup2 " in line]

    before = hosts()
    assert "nsdelegate" in before[0]
    made = limited("exec sleep 1000")
    made.without_namespace("cgroup")
    id = minirunc.start(made)
    assert "nsdelegate" in minirunc.ok("exec", id, "cat", "/proc/1/mounts")
    assert hosts() == before
    more = json.dumps([{"destination": "/mnt", "type": "cgroup2", "source": "cgroup2"}])
    minirunc.ok("mounts", "add", id, "-", input=more)
    assert hosts() == before
