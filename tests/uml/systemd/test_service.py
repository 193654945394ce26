"""minirunc as a program of a systemd service: readiness, sockets, the main process, the end."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import leftovers, notify
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until
from tests.uml.systemd.conftest import show, systemctl

UNITS = Path("/run/systemd/system")


@pytest.fixture(scope="session")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`notify MESSAGE...`, a static program."""
    return notify.sender(tmp_path_factory.mktemp("notify"))


class Service:
    """A unit of a container: `start` it with lines of its [Service] section."""

    def __init__(self, minirunc: Runtime) -> None:
        self.minirunc = minirunc
        self.id = minirunc.id()
        self.unit = f"service-{self.id}"
        self.files: list[Path] = []

    def command(self, *words: object) -> str:
        """A command line of minirunc, as a unit has it."""
        return " ".join(self.minirunc.argv(*words))

    def write(self, kind: str, *lines: str) -> None:
        """A unit file."""
        self.files.append(UNITS / f"{self.unit}.{kind}")
        self.files[-1].write_text(f"[{kind.capitalize()}]\n" + "\n".join(lines) + "\n")
        systemctl("daemon-reload")

    def start(self, *lines: str) -> None:
        """Returns when systemd takes it for started."""
        self.write("service", *lines)
        systemctl("start", f"{self.unit}.service")

    def shown(self, name: str) -> str:
        """A property."""
        return show(f"{self.unit}.service", name)[name]

    def end(self) -> None:
        """Stop it and forget it."""
        for kind in ("socket", "service"):
            if UNITS / f"{self.unit}.{kind}" in self.files:
                subprocess.run(["systemctl", "stop", f"{self.unit}.{kind}"], check=False)
                subprocess.run(["systemctl", "reset-failed", f"{self.unit}.{kind}"], check=False, stderr=-3)
        for file in self.files:
            file.unlink()
        systemctl("daemon-reload")


@pytest.fixture
def service(minirunc: Runtime) -> Iterator[Service]:
    """A unit that is gone after the test."""
    UNITS.mkdir(exist_ok=True)
    made = Service(minirunc)
    yield made
    made.end()


def test_run_as_the_main_process(service: Service, bundle: Callable[..., Bundle], sender: Path) -> None:
    """Type=notify, `run`: started when the container is ready, its status shown, its exit status the service's."""
    made = notify.with_sender(bundle("trap 'exit 3' TERM; touch /early; read x </go; "), sender)
    made.process["args"][2] += "notify READY=1 STATUS=serving; while :; do sleep 0.1; done"
    os.mkfifo(made.rootfs / "go")
    made.write()
    service.write("service", "Type=notify", f"ExecStart={service.command('run', '--bundle', made.path, service.id)}")
    systemctl("start", "--no-block", f"{service.unit}.service")
    wait_until((made.rootfs / "early").exists, "it runs")
    assert service.shown("ActiveState") == "activating"
    (made.rootfs / "go").write_text("\n")
    wait_until(lambda: service.shown("ActiveState") == "active", "it is ready")
    main = int(service.shown("MainPID"))
    assert b"minirunc" in Path(f"/proc/{main}/cmdline").read_bytes()
    wait_until(lambda: service.shown("StatusText") == "serving", "its status is shown")
    systemctl("stop", f"{service.unit}.service")
    assert service.shown("ExecMainStatus") == "3"
    assert leftovers.state_directories(service.minirunc.root) == set()


def test_run_detached_hands_over(service: Service, bundle: Callable[..., Bundle], sender: Path) -> None:
    """Type=notify, `run --detach`: the container's process becomes the main one, and minirunc is gone."""
    made = notify.with_sender(bundle("trap 'exit 0' TERM; notify READY=1; while :; do sleep 0.1; done"), sender)
    made.write()
    minirunc, id = service.minirunc, service.id
    service.start(
        "Type=notify",
        f"ExecStart={service.command('run', '--detach', '--bundle', made.path, id)}",
        f"ExecStop={service.command('kill', id)}",
        f"ExecStopPost={service.command('delete', '--force', id)}",
    )
    assert service.shown("ActiveState") == "active"
    assert int(service.shown("MainPID")) == minirunc.pid(id)
    systemctl("stop", f"{service.unit}.service")
    assert leftovers.state_directories(minirunc.root) == set()


def test_create_and_start(service: Service, bundle: Callable[..., Bundle], sender: Path) -> None:
    """`create` before, `start` as the main command: ready when the container says so."""
    made = notify.with_sender(bundle("notify READY=1; exec sleep 1000"), sender)
    made.write()
    service.start(
        "Type=notify",
        "NotifyAccess=all",
        f"ExecStartPre={service.command('create', '--bundle', made.path, service.id)}",
        f"ExecStart={service.command('start', service.id)}",
        f"ExecStopPost={service.command('delete', '--force', service.id)}",
        "StandardOutput=null",
        "StandardError=null",
    )
    assert service.shown("ActiveState") == "active"
    assert int(service.shown("MainPID")) == service.minirunc.pid(service.id)


def test_pid_file(service: Service, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """Type=forking: the pid that `run --detach` writes is taken for the main process's."""
    made = bundle("exec sleep 1000")
    made.write()
    file = tmp_path / "pid"
    service.start(
        "Type=forking",
        f"PIDFile={file}",
        f"ExecStart={service.command('run', '--detach', '--pid-file', file, '--bundle', made.path, service.id)}",
        f"ExecStopPost={service.command('delete', '--force', service.id)}",
        "StandardOutput=null",
        "StandardError=null",
    )
    assert service.shown("ActiveState") == "active"
    assert int(service.shown("MainPID")) == service.minirunc.pid(service.id)
    systemctl("kill", "--signal=KILL", f"{service.unit}.service")
    wait_until(lambda: service.shown("ActiveState") == "failed", "systemd has seen it end")


def test_container_that_ends_before_it_is_ready(service: Service, bundle: Callable[..., Bundle]) -> None:
    """systemd is not left waiting."""
    made = bundle("exit 4")
    made.write()
    service.write("service", "Type=notify", f"ExecStart={service.command('run', '--bundle', made.path, service.id)}")
    done = subprocess.run(["systemctl", "start", f"{service.unit}.service"], capture_output=True, check=False)
    assert done.returncode == 1
    assert service.shown("ExecMainStatus") == "4"


def test_socket_activation(service: Service, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """A socket unit's sockets reach the process, with their names, and carry what a client says."""
    made = bundle('echo "$LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES" >/told; head -n 1 <&3 >/heard')
    path = tmp_path / "s"
    made.write()
    service.write("service", f"ExecStart={service.command('run', '--bundle', made.path, service.id)}")
    service.write("socket", f"ListenFIFO={path}", "FileDescriptorName=web")
    systemctl("start", f"{service.unit}.socket")
    with path.open("w") as fifo:
        fifo.write("hello\n")
    wait_until(lambda: service.shown("ActiveState") == "inactive" and (made.rootfs / "heard").exists(), "it is done")
    assert (made.rootfs / "told").read_text() == "1 1 web\n"
    assert (made.rootfs / "heard").read_text() == "hello\n"


def test_watchdog(service: Service, bundle: Callable[..., Bundle], sender: Path) -> None:
    """WatchdogSec=: as long as the container's process says WATCHDOG=1 the service lives, and not much longer."""
    script = 'notify READY=1; for i in 1 2 3 4; do sleep 1; notify WATCHDOG=1; done; notify "STATUS=$WATCHDOG_USEC"; '
    made = notify.with_sender(bundle(script + "exec sleep 1000"), sender)
    made.write()
    service.start(
        "Type=notify",
        "WatchdogSec=3",
        "TimeoutAbortSec=1",
        f"ExecStart={service.command('run', '--bundle', made.path, service.id)}",
        f"ExecStopPost={service.command('delete', '--force', service.id)}",
    )
    wait_until(lambda: service.shown("ActiveState") == "failed", "the watchdog has ended it")
    assert service.shown("Result") == "watchdog"
    assert service.shown("StatusText") == "3000000"
