"""container/notify.py: NOTIFY_SOCKET of who calls (sd_notify(3)), and what a container may say through it."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ground import leftovers, notify
from tests.ground.bundle import Bundle
from tests.ground.notify import Manager
from tests.ground.runtime import TIMEOUT_S, Runtime, wait_until
from tests.test_namespaces import mapped

NO_STREAMS: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)


@pytest.fixture(scope="session")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`notify MESSAGE...`, a static program."""
    return notify.sender(tmp_path_factory.mktemp("notify"))


@pytest.fixture
def made(bundle: Callable[..., Bundle], sender: Path) -> Callable[..., Bundle]:
    """A bundle whose script has `notify`."""
    return lambda script: notify.with_sender(bundle(script), sender)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """At a path of a usual length."""
    listening = Manager(str(tmp_path / "notify.sock"))
    yield listening
    listening.socket.close()


def test_run_is_the_main_process(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """`run`: READY=1 with our own pid, as it is we who end with the container; then whatever else a service says."""
    script = "read x; notify READY=1; notify STATUS=busy; notify WATCHDOG=1 STOPPING=1; exit 5"
    made_bundle = made(script)
    made_bundle.write()
    running = minirunc.popen("run", "--bundle", made_bundle.path, minirunc.id(), env=manager.environment)
    assert manager.is_silent()
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()
    assert manager.hear() == ["READY=1", f"MAINPID={running.pid}"]
    assert manager.sender == running.pid
    assert [manager.hear() for _ in range(3)] == [["STATUS=busy"], ["WATCHDOG=1"], ["STOPPING=1"]]
    assert running.wait(TIMEOUT_S) == 5
    assert leftovers.state_directories(minirunc.root) == set()


def test_run_detached_waits_until_ready(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """`run -d`: not done before the container is ready and the manager knows its process as the main one."""
    new = made("read x </go; notify STATUS=soon; notify READY=1; exec sleep 1000")
    os.mkfifo(new.rootfs / "go")
    new.write()
    id = minirunc.id()
    running = minirunc.popen("run", "--detach", "--bundle", new.path, id, env=manager.environment, **NO_STREAMS)
    minirunc._kept.add(id)
    wait_until(lambda: minirunc("state", id).status == 0 and minirunc.status(id) == "running", "it runs")
    assert running.poll() is None
    (new.rootfs / "go").write_text("\n")
    assert manager.hear() == ["STATUS=soon"]
    assert manager.hear() == ["READY=1", f"MAINPID={minirunc.pid(id)}"]
    assert manager.hear(answer=False) == ["BARRIER=1"]
    assert running.poll() is None
    manager.answer()
    assert running.wait(TIMEOUT_S) == 0


def test_create_and_start(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """`create` waits for nothing, `start` until the process is ready; its end is an end of the wait, too."""
    new = made("test -S $NOTIFY_SOCKET && notify READY=1; exec sleep 1000")
    id = minirunc.create(new, env=manager.environment)
    assert manager.is_silent()
    starting = minirunc.popen("start", id, env=manager.environment)
    assert manager.hear() == ["READY=1", f"MAINPID={minirunc.pid(id)}"]
    assert manager.hear() == ["BARRIER=1"]
    assert starting.wait(TIMEOUT_S) == 0
    new.args("exit 3")
    id = minirunc.create(new, env=manager.environment)
    minirunc.ok("start", id, env=manager.environment)
    assert manager.is_silent()


def test_ready_and_gone_at_once(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """What was said before the end is passed on, however short the life."""
    for _ in range(5):
        id = minirunc.create(made("notify READY=1"), env=manager.environment)
        starting = minirunc.popen("start", id, env=manager.environment)
        assert manager.hear()[0] == "READY=1"
        assert manager.hear() == ["BARRIER=1"]
        assert starting.wait(TIMEOUT_S) == 0


def test_what_a_container_may_not_say(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """Of another main process, files to be kept, who else may speak: only a service's own state is passed on."""
    bad = "'MAINPID=1' 'FDSTORE=1' 'NOTIFYACCESS=all' 'BARRIER=1' 'READY' 'X_Y=1' '' 'STATUS=a\nMAINPID=1\nREADY=0'"
    new = made(f"notify {bad} READY=1; exit 0")
    new.write()
    running = minirunc.popen("run", "--bundle", new.path, minirunc.id(), env=manager.environment)
    heard = [manager.hear() for _ in range(3)]
    assert heard == [["READY"], ["STATUS=a", "READY=0"], ["READY=1", f"MAINPID={running.pid}"]]
    assert running.wait(TIMEOUT_S) == 0
    assert manager.is_silent()


def test_socket_inside(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """A read-only directory with nothing in it but our socket, which every user may send to; not the manager's own."""
    new = made(
        "echo $NOTIFY_SOCKET; ls -A /run/notify; stat -c %a /run/notify/notify.sock; grep ' /run/notify ' /proc/mounts;"
        " touch /run/notify/x 2>&1; notify READY=1"
    )
    new.process["user"] = {"uid": 1000, "gid": 1000}
    result = minirunc.run(new, env=manager.environment)
    assert manager.hear()[0] == "READY=1"
    lines = result.out.splitlines()
    assert lines[:3] == ["/run/notify/notify.sock", "notify.sock", "777"]
    assert lines[3].split()[1] == "/run/notify"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(lines[3].split()[3].split(","))
    assert lines[4] == "touch: /run/notify/x: Read-only file system"


@pytest.mark.parametrize("umask", ["000", "077"])
def test_in_a_user_namespace(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager, umask: str) -> None:
    """Whose root may not walk to the state directory, whatever the umask is."""
    new = mapped(made("notify READY=1"))
    minirunc.prefix = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
    result = minirunc.run(new, env=manager.environment)
    assert (result.status, result.err) == (0, "")
    assert manager.hear()[0] == "READY=1"


@pytest.mark.parametrize("kind", ["abstract", "long"])
def test_manager_at_any_address(minirunc: Runtime, made: Callable[..., Bundle], tmp_path: Path, kind: str) -> None:
    """An abstract name; a path longer than a socket's address may be; a state root of that length."""
    minirunc.root = tmp_path / ("s" * 120) / "state"
    long = tmp_path / ("d" * 100)
    long.mkdir()
    listening = Manager(f"@{minirunc.token}" if kind == "abstract" else str(long / "notify.sock"))
    result = minirunc.run(made("notify READY=1"), env=listening.environment)
    assert (result.status, result.err) == (0, "")
    assert listening.hear()[0] == "READY=1"
    listening.socket.close()


def test_nobody_listens(minirunc: Runtime, made: Callable[..., Bundle], tmp_path: Path) -> None:
    """A manager that is gone is no reason for the container not to run; a warning says it."""
    gone = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    result = minirunc.run(made("notify READY=1; exit 4"), env=gone)
    assert result.status == 4
    assert f"NOTIFY_SOCKET {tmp_path}/gone: no such file or directory" in result.err
    assert "level=warning" in result.err


def test_start_of_a_container_that_knows_no_manager(
    minirunc: Runtime, made: Callable[..., Bundle], manager: Manager
) -> None:
    """Created without NOTIFY_SOCKET: it cannot tell anything, and nobody waits for it."""
    id = minirunc.create(made("exec sleep 1000"))
    minirunc.ok("start", id, env=manager.environment)
    assert minirunc.status(id) == "running"
    assert manager.is_silent()


def test_without_a_manager_there_is_nothing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """No mount, no variable; nor for a vsock address, which is for a virtual machine."""
    new = bundle("echo ${NOTIFY_SOCKET-none}; ls -d /run/notify 2>&1; true")
    for extra in ({}, {"NOTIFY_SOCKET": "vsock:2:1234"}, {"NOTIFY_SOCKET": ""}):
        result = minirunc.run(new, env=os.environ | extra)
        assert result.out.splitlines() == ["none", "ls: /run/notify: No such file or directory"]


@pytest.mark.parametrize("detached", [False, True])
def test_signals_while_it_is_not_ready(
    minirunc: Runtime, made: Callable[..., Bundle], manager: Manager, detached: bool
) -> None:
    """In the foreground they are the container's, as ever; a detached `run` that only waits is ended by them."""
    new = made("trap 'exit 7' TERM; touch /there; while :; do sleep 0.02; done")
    new.write()
    id = minirunc.id()
    options = ["--detach"] if detached else []
    running = minirunc.popen("run", *options, "--bundle", new.path, id, env=manager.environment, **NO_STREAMS)
    if detached:
        minirunc._kept.add(id)
    wait_until((new.rootfs / "there").exists, "it runs")
    wait_until(lambda: minirunc.status(id) == "running", "it is known")
    while running.poll() is None:
        running.terminate()
        try:
            running.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    assert running.returncode == (-signal.SIGTERM if detached else 7)
    if detached:
        assert minirunc.status(id) == "running"


def test_with_a_terminal(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """The relay of a terminal passes on, too."""
    new = made("notify READY=1; echo done; exit 6")
    new.process["terminal"] = True
    new.write()
    running = minirunc.popen("run", "--bundle", new.path, minirunc.id(), env=manager.environment)
    assert manager.hear() == ["READY=1", f"MAINPID={running.pid}"]
    assert running.communicate(timeout=TIMEOUT_S)[0] == "done\n"
    assert running.returncode == 6


def test_a_birth_that_fails_leaves_nothing(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """Neither directory nor socket."""
    new = made("true")
    new.args(["nosuch"])
    assert minirunc.run(new, env=manager.environment).status == 1
    assert leftovers.state_directories(minirunc.root) == set()


def test_without_a_mount_namespace(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """The directory is mounted below the root in the host's namespace, and gone with the container."""
    new = made("notify READY=1")
    new.without_namespace("mount")
    new.config["mounts"] = []
    new.linux["maskedPaths"] = new.linux["readonlyPaths"] = []
    result = minirunc.run(new, env=manager.environment)
    subprocess.run(["umount", new.rootfs], check=True)  # as after runc, with a warning
    assert result.status == 0
    assert manager.hear()[0] == "READY=1"
    assert not os.path.ismount(new.rootfs / "run/notify")


def test_watchdog_of_the_service(minirunc: Runtime, made: Callable[..., Bundle], manager: Manager) -> None:
    """`run` in the foreground passes WATCHDOG=1 on, so the process learns how often; a detached one does not."""
    new = made("env | grep WATCHDOG_ | sort")
    minirunc.prefix = ["sh", "-c", 'WATCHDOG_USEC=5000000 WATCHDOG_PID=$$ exec "$@"', "sh"]
    assert minirunc.run(new, env=manager.environment).out.split() == ["WATCHDOG_PID=1", "WATCHDOG_USEC=5000000"]
    assert minirunc.run(new).out == ""  # nobody to tell
    minirunc.prefix = ["sh", "-c", 'WATCHDOG_USEC=5000000 WATCHDOG_PID=1 exec "$@"', "sh"]
    assert minirunc.run(new, env=manager.environment).out == ""  # for another process
    minirunc.prefix = ["sh", "-c", 'WATCHDOG_USEC=5000000 WATCHDOG_PID=$$ exec "$@"', "sh"]
    new.args("env | grep WATCHDOG_ >/told; notify READY=1; exec sleep 1000")
    running = minirunc.popen("run", "-d", "--bundle", new.path, id := minirunc.id(), **detached(new, manager))
    minirunc._kept.add(id)
    assert manager.hear()[0] == "READY=1"
    manager.hear()
    assert running.wait(TIMEOUT_S) == 0
    assert (new.rootfs / "told").read_text() == ""


def detached(bundle: Bundle, manager: Manager) -> dict[str, Any]:
    """How to start one that nobody reads from."""
    bundle.write()
    return NO_STREAMS | {"env": manager.environment}
