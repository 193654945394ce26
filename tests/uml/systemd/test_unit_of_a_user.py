"""--systemd-cgroup of an ordinary user: a unit of his own `systemd --user`, in his part of the hierarchy."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground.bundle import Bundle
from tests.ground.rootless import given
from tests.ground.runtime import Runtime, wait_until
from tests.uml.systemd.conftest import BY_SYSTEMD, CGROUP2, UserManager, scope, systemctl
from tests.uml.test_memory import EAT_64_MIB

MIB = 1 << 20
RESOURCES = {
    "memory": {"limit": 64 * MIB, "swap": 64 * MIB},
    "pids": {"limit": 9},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000},
}
FILES = {"memory.max": str(64 * MIB), "pids.max": "9", "cpu.max": "50000 100000", "cpu.weight": "59"}


def user_listed(user_manager: UserManager, pattern: str) -> str:
    """The units of his that his manager knows."""
    return user_manager.run(["systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", pattern])


@pytest.fixture
def his(bundle: Callable[..., Bundle], home: Path) -> Callable[[str], Bundle]:
    """A bundle of his with limits."""

    def make(script: str) -> Bundle:
        made = given(bundle(script), home)
        made.linux["resources"] |= RESOURCES
        return made

    return make


@pytest.mark.parametrize(("path", "where"), [
    ("", "/user.slice/minirunc-ID.scope"),
    ("outer-inner.slice:box:ID", "/outer.slice/outer-inner.slice/box-ID.scope"),
])  # fmt: skip
def test_scope_is_below_his_manager(
    minirunc: Runtime, his: Callable[[str], Bundle], user_manager: UserManager, path: str, where: str
) -> None:
    """The slice is his manager's, by default user.slice; he is seen to have his limits from inside."""
    id = minirunc.id()
    made = his(f"cd /sys/fs/cgroup && cat {' '.join(FILES)} && exec sleep 1000")
    made.linux["cgroupsPath"] = path.replace("ID", id)
    out = made.path / "out"
    with out.open("wb") as file:
        minirunc.start(made, id=id, before=BY_SYSTEMD, stdout=file)
    cgroup = CGROUP2 / f"{user_manager.cgroup}{where.replace('ID', id)}"[1:]
    assert minirunc.cgroup(id) == cgroup
    wait_until(lambda: out.read_text() == "\n".join([*FILES.values(), ""]), "it has read its limits")
    assert cgroup.name in user_listed(user_manager, f"*{id}*")
    minirunc.ok("delete", "--force", id)
    assert (cgroup.exists(), user_listed(user_manager, f"*{id}*")) == (False, "")


def test_limits_hold(minirunc: Runtime, his: Callable[[str], Bundle]) -> None:
    """pids.limit, memory.limit: as root's do."""
    made = his("for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo not reached")
    result = minirunc.run(made, before=BY_SYSTEMD)
    assert (result.status != 0, result.out) == (True, "")
    assert "can't fork" in result.err
    made.args(EAT_64_MIB.split())
    assert minirunc.run(made, before=BY_SYSTEMD).status == 137


def test_all_of_a_life(minirunc: Runtime, his: Callable[[str], Bundle], user_manager: UserManager) -> None:
    """exec, update, pause, resume, a reload and delete; what is told is told to his manager."""
    id = minirunc.start(his("sleep 1000"), before=BY_SYSTEMD)
    cgroup = minirunc.cgroup(id)
    assert minirunc.ok("exec", id, "cat", "/proc/self/cgroup") == "0::/\n"
    minirunc.ok("update", "--pids-limit", "17", "--memory", str(96 * MIB), "--memory-swap", str(96 * MIB), id)
    told = user_manager.run(["systemctl", "--user", "show", "--property=TasksMax,MemoryMax", scope(id)])
    assert set(told.splitlines()) == {"TasksMax=17", f"MemoryMax={96 * MIB}"}
    user_manager.run(["systemctl", "--user", "daemon-reload"])
    systemctl("daemon-reload")
    assert (cgroup / "pids.max").read_text() == "17\n"
    minirunc.ok("pause", id)
    assert minirunc.status(id) == "paused"
    minirunc.ok("resume", id)
    minirunc.ok("delete", "--force", id)
    assert (cgroup.exists(), user_listed(user_manager, f"*{id}*")) == (False, "")


def test_root_of_his_user_namespace(minirunc: Runtime, his: Callable[[str], Bundle], user_manager: UserManager) -> None:
    """Where he is root, as with rootless Podman, it is his manager all the same: the host's is another root's."""
    made = his("cat /sys/fs/cgroup/pids.max; exec sleep 1000")
    made.without_namespace("user")
    del made.linux["uidMappings"], made.linux["gidMappings"]
    minirunc.prefix += ["unshare", "--user", "--map-root-user"]
    id = minirunc.start(made, before=BY_SYSTEMD)
    found = minirunc.cgroup(id)
    listed = user_listed(user_manager, f"*{id}*")
    minirunc.ok("delete", "--force", id)
    assert found == CGROUP2 / f"{user_manager.cgroup}/user.slice/{scope(id)}"[1:]
    assert scope(id) in listed


def test_from_within_his_manager(minirunc: Runtime, his: Callable[[str], Bundle], user_manager: UserManager) -> None:
    """Called by a unit of his, as a desktop's terminal or Podman's API service is."""
    made = his("sleep 1000")
    made.write()
    id = minirunc.id()
    command = minirunc.argv("run", "--detach", "--bundle", made.path, id, before=BY_SYSTEMD)
    # The command line begins with what makes root that user.
    end = command.index(minirunc.binary)
    scoped = [*command[:end], "systemd-run", "--user", "--quiet", "--scope", *command[end:]]
    subprocess.run(scoped, stdin=subprocess.DEVNULL, check=True)
    assert minirunc.cgroup(id) == CGROUP2 / f"{user_manager.cgroup}/user.slice/{scope(id)}"[1:]
    minirunc.ok("delete", "--force", id)


def test_without_a_manager(minirunc: Runtime, his: Callable[[str], Bundle]) -> None:
    """Nobody listens in XDG_RUNTIME_DIR, or it is not said: one line that says so and what to do."""
    made = his("true")
    for said in (["XDG_RUNTIME_DIR=/nonexistent"], ["-u", "XDG_RUNTIME_DIR"]):
        minirunc.prefix += ["env", *said]
        result = minirunc.run(made, before=BY_SYSTEMD)
        assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
        assert "systemd cannot be reached" in result.err
        assert "XDG_RUNTIME_DIR" in result.err or "/nonexistent/bus" in result.err
