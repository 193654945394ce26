"""An ordinary user's containers where all controllers are delegated to him."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.rootless import given, ordinary_user
from tests.ground.runtime import Runtime, wait_until

RESOURCES = {
    "memory": {"limit": 64 << 20},
    "pids": {"limit": 9},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000},
}
FILES = {"memory.max": str(64 << 20), "pids.max": "9", "cpu.max": "50000 100000"}
READ = f"cd /sys/fs/cgroup && cat {' '.join(FILES)}"


@pytest.fixture
def home(minirunc: Runtime) -> Iterator[Path]:
    """The user's directory; `minirunc` is run by him from now on."""
    with ordinary_user(minirunc) as directory:
        yield directory


def test_ordinary_user_sets_limits(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.resources: in a delegated cgroup an ordinary user's limits are set, seen from inside."""
    made = given(bundle(READ), home)
    made.linux["resources"] |= RESOURCES
    assert minirunc.run(made) == (0, "\n".join([*FILES.values(), ""]), "")


def test_limits_of_an_ordinary_user_hold(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """pids.limit: the process that is one too many is not made; memory.limit: what takes more is ended."""
    made = given(bundle("for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo not reached"), home)
    made.linux["resources"] |= RESOURCES
    result = minirunc.run(made)
    assert (result.status != 0, result.out) == (True, "")
    assert "can't fork" in result.err
    made.args("dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?")
    assert minirunc.run(made).out == "137\n"


def test_ordinary_user_pauses_execs_and_kills(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """All of the life in a delegated cgroup; a fork bomb, too, is ended as a whole."""
    made = given(bundle("bomb() { bomb | bomb & }; bomb & exec sleep 1000"), home)
    made.linux["resources"] |= RESOURCES
    id = minirunc.start(made)
    cgroup = minirunc.cgroup(id)
    wait_until(lambda: "max 0" not in (cgroup / "pids.events").read_text(), "the bomb meets the limit")
    minirunc.ok("pause", id)
    assert minirunc.status(id) == "paused"
    minirunc.ok("resume", id)
    minirunc.ok("delete", "--force", id)
    assert not cgroup.exists()


def test_controller_that_is_not_delegated_is_named(
    minirunc: Runtime, bundle: Callable[..., Bundle], home: Path
) -> None:
    """linux.resources: what the cgroup above does not give is an error with the line of systemd's that would."""
    made = given(bundle(), home)
    made.linux["resources"]["pids"] = {"limit": 9}
    given_below = leftovers.cgroup2_mounts()[0] / "cgroup.subtree_control"
    given_below.write_text("-pids")
    try:
        result = minirunc.run(made)
    finally:
        given_below.write_text("+pids")
    assert result.status == 1
    assert "linux.resources.pids: the pids controller is not available in this cgroup" in result.err
    assert "Delegate=pids in user@.service" in result.err


class TestInACgroupOfHisOwn:
    """A cgroup is delegated to the user, and none above it, as by `systemd-run --uid --scope -p Delegate=yes`."""

    @pytest.fixture
    def own(self, minirunc: Runtime, home: Path) -> Path:
        """The cgroup, in which `minirunc` is run."""
        above = next(path for path in leftovers.cgroup2_mounts()[0].iterdir() if (path / "own").is_dir())
        for name in (".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(above / name, 0, 0)
        for level in (above.parent, above):
            (level / "cgroup.subtree_control").write_text("+cpu +memory +pids")
        return above / "own"

    def test_limits_hold(self, minirunc: Runtime, bundle: Callable[..., Bundle], home: Path, own: Path) -> None:
        """The runtime is alone there: it goes to a leaf, so that the container's cgroup has controllers."""
        made = given(bundle(f"{READ}; exec sleep 1000"), home)
        made.linux["resources"] |= RESOURCES
        made.write()
        running = minirunc.popen("run", "--bundle", made.path, id := minirunc.id())
        wait_until((own / id / "memory.max").exists, "it has a cgroup with controllers")
        wait_until(lambda: "max" not in (own / id / "cpu.max").read_text(), "all limits are set")
        assert [(own / id / name).read_text().strip() for name in FILES] == list(FILES.values())
        assert str(running.pid) in (own / "minirunc-caller/cgroup.procs").read_text().split()
        # From elsewhere: where limits are set for those below, nobody goes in any more.
        minirunc.prefix = [word.replace(f">{own}/", f">{own}/minirunc-caller/") for word in minirunc.prefix]
        minirunc.ok("delete", "--force", id)
        assert running.wait(60) == 137
        assert [path.name for path in own.iterdir() if path.is_dir()] == ["minirunc-caller"]
        (own / "minirunc-caller").rmdir()  # where `run` was until its end; systemd takes it away with the scope

    def test_who_is_in_the_way_is_named(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], home: Path, own: Path
    ) -> None:
        """Another process is there, too, and not the runtime's to move: the error tells which."""
        made = given(bundle(READ), home)
        made.linux["resources"] |= RESOURCES
        minirunc.prefix += ["sh", "-c", 'sleep 1000 & pid=$!; "$@"; kill -9 $pid', "sh"]
        result = minirunc.run(made)
        assert "linux.resources.pids: the pids controller is not available in this cgroup" in result.err
        assert f"move the processes of {own} (" in result.err
        assert " (sh, state S), " in result.err
        made.args("cat /sys/fs/cgroup/cgroup.type")
        for name in ("memory", "cpu", "pids"):
            del made.linux["resources"][name]
        assert minirunc.run(made).out == "domain\n"
        made.args("cat /sys/fs/cgroup/cgroup.type /sys/fs/cgroup/pids.max")
        made.linux["resources"]["pids"] = {"limit": 9}
        assert minirunc.run(made).out == "threaded\n9\n"
