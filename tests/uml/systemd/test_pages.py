"""README.md, "Under the callers people use": what is below systemd and networks, followed as it stands.

All that is written is gone when this kernel is off, so minirunc is installed and called as its users do it.
"""

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ground import leftovers
from tests.ground.bundle import CHECKOUT
from tests.ground.readme import block
from tests.ground.runtime import cgroup_of, wait_until
from tests.test_cni import SERVER, asking, listens, serving
from tests.uml.systemd.conftest import CGROUP2, show, systemctl

BUNDLE = Path("/srv/box")
PYTHON = os.path.realpath(sys.executable)
UNITS = Path("/etc/systemd/system")
UNIT = CGROUP2 / "system.slice/box.service"
SOCKET_PORT = 8080
NET, ADD, ENTRY, DELETE = "### Networks that others make", 0, 1, 2
SYSTEMD, SERVICE, CGROUPS_PATH, COMMANDS, SOCKET = "### systemd", 0, 1, 2, 3

# What is in the box: it tells that it is ready, and does what it is told by who connects.
BOX = """
import os, signal, socket, sys

def end(*_):
    print("TERM", file=open("/log", "a"))
    sys.exit()

signal.signal(signal.SIGTERM, end)
here = socket.socket(fileno=3) if os.environ.get("LISTEN_PID") == str(os.getpid()) else socket.create_server(("", 8080))
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect(os.environ["NOTIFY_SOCKET"])
manager.send(b"READY=1\\nSTATUS=the box is open")
while True:
    with here.accept()[0] as peer:
        word = peer.recv(100).decode()
        peer.sendall(b"yes")
    if word == "leave":
        os._exit(3)
    elif word == "eat":
        full = bytearray(os.urandom(1 << 20) * 100)
    elif word == "be deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


def follow(script: str, where: Path) -> str:
    """Do what the page says, in this directory, as root, who needs no sudo: what it prints."""
    sudo = 'sudo() { env "$@"; }\n'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", sudo + script], cwd=where, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """As the page's beginning says; and a bundle in /srv/box."""
    follow("make install && mkdir -p /srv/box && bundles/busybox-rootfs /srv/box/rootfs", CHECKOUT)


@pytest.fixture
def config() -> Iterator[dict[str, Any]]:
    """A new config.json of the bundle, to be changed; at the end there is no container any more."""
    file = BUNDLE / "config.json"
    file.unlink(missing_ok=True)
    follow("minirunc spec", BUNDLE)
    made = json.loads(file.read_text())
    made["process"]["terminal"] = False
    yield made
    for id in containers():
        follow(f"minirunc delete --force {id}", BUNDLE)


def containers() -> set[str]:
    """All there are on this machine."""
    return leftovers.state_directories(Path("/run/minirunc"))


def write(config: dict[str, Any]) -> None:
    """Put it into the bundle."""
    (BUNDLE / "config.json").write_text(json.dumps(config))


def test_networks(config: dict[str, Any]) -> None:
    """Plugin, entry, container, plugin."""
    serving(BUNDLE / "rootfs")
    config["process"]["args"] = SERVER
    config["hostname"] = "web"
    entry = json.loads(block(NET, ENTRY))
    config["linux"]["namespaces"] = [
        entry if one["type"] == entry["type"] else one for one in config["linux"]["namespaces"]
    ]
    write(config)
    assert json.loads(follow(block(NET, ADD), BUNDLE))["ips"][0]["address"] == "10.89.0.2/24"
    follow("sudo minirunc run --detach web </dev/null >log 2>&1", BUNDLE)
    pid = json.loads(follow("sudo minirunc state web", BUNDLE))["pid"]
    wait_until(lambda: listens(pid), "the server listens")
    assert follow(f"busybox {shlex.join(asking('10.89.0.2'))}", BUNDLE) == "web for 10.89.0.1\n"
    follow("sudo minirunc delete --force web", BUNDLE)
    functions = block(NET, ADD).partition("sudo ip netns")[0]
    follow(functions + block(NET, DELETE), BUNDLE)
    assert follow("ip netns; ls /sys/class/net | grep veth || :", BUNDLE) == ""


class Box:
    """The service of the page."""

    def shown(self, name: str) -> str:
        """A property of the service."""
        return show("box.service", name)[name]

    def main(self) -> int:
        """minirunc's pid."""
        return int(self.shown("MainPID"))

    def pid(self) -> int:
        """The pid of the container's process."""
        return int(json.loads(follow("sudo minirunc state box", BUNDLE))["pid"])

    def tell(self, word: str) -> None:
        """Say a word to the container's process."""
        with socket.create_connection(("127.0.0.1", SOCKET_PORT), 60) as peer:
            peer.sendall(word.encode())
            assert peer.recv(10) == b"yes"

    def restarted(self, main: int) -> None:
        """Wait until systemd has started it again after that main process."""
        wait_until(
            lambda: self.main() not in (0, main) and self.shown("ActiveState") == "active", "it is started again"
        )

    def log(self) -> str:
        """Which signals the process has had."""
        file = BUNDLE / "rootfs/log"
        return file.read_text() if file.exists() else ""

    @staticmethod
    def nothing_is_left() -> None:
        """No container, no cgroup."""
        assert (containers(), UNIT.exists()) == (set(), False)


@pytest.fixture
def box(config: dict[str, Any]) -> Iterator[Box]:
    """The page followed, but for the commands; Python of the host is in the bundle, and the host's network."""
    config["process"]["args"] = [PYTHON, "-c", BOX]
    config["root"]["readonly"] = False
    for directory in ("/usr", "/lib", "/lib64"):
        mount = {"destination": directory, "type": "bind", "source": directory, "options": ["bind", "ro"]}
        config["mounts"].append(mount)
    config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "network"]
    config["linux"] |= json.loads(block(SYSTEMD, CGROUPS_PATH))["linux"]
    config["linux"]["resources"]["pids"] = {"limit": 17}
    write(config)
    (BUNDLE / "rootfs/log").unlink(missing_ok=True)
    (UNITS / "box.service").write_text(block(SYSTEMD, SERVICE))
    yield Box()
    for unit in ("box.socket", "box.service"):
        for words in (["disable", "--now"], ["reset-failed"]):
            subprocess.run(["systemctl", *words, unit], check=False, stderr=subprocess.DEVNULL)
        (UNITS / unit).unlink(missing_ok=True)
    systemctl("daemon-reload")


def test_service(box: Box) -> None:
    """Ready, shown with its processes, below the service's cgroup; stopped by one SIGTERM, and nothing is left."""
    told = follow(block(SYSTEMD, COMMANDS), BUNDLE)
    pid = box.pid()
    for text in ("Active: active (running)", 'Status: "the box is open"', f"{pid} {PYTHON}"):
        assert text in told
    assert cgroup_of(pid) == UNIT / "box"
    assert (UNIT / "box/pids.max").read_text() == "17\n"
    assert (UNIT / "memory.max").read_text() == f"{64 << 20}\n"
    assert b"minirunc" in Path(f"/proc/{box.main()}/cmdline").read_bytes()
    assert cgroup_of(box.main()).parent == UNIT  # not where it would be in the way of the container's controllers
    assert follow("sudo minirunc exec box cat /proc/self/cgroup", BUNDLE) == "0::/\n"
    systemctl("stop", "box")
    assert (box.shown("ActiveState"), box.shown("Result"), box.log()) == ("inactive", "success", "TERM\n")
    box.nothing_is_left()


def test_service_is_restarted(box: Box) -> None:
    """It failed, had no memory any more, minirunc itself was killed: a new container of the same name each time."""
    follow(block(SYSTEMD, COMMANDS), BUNDLE)
    failures: tuple[Callable[[], Any], ...] = (
        lambda: box.tell("leave"),
        lambda: box.tell("eat"),
        lambda: os.kill(box.main(), 9),
    )
    for count, fail in enumerate(failures, 1):
        main, pid = box.main(), box.pid()
        fail()
        box.restarted(main)
        assert int(box.shown("NRestarts")) == count
        assert box.pid() != pid
        assert not Path(f"/proc/{pid}").exists()
    box.tell("hello")
    box.tell("be deaf")
    systemctl("stop", "box")  # systemd waits five seconds here, and kills all
    box.nothing_is_left()


def test_service_by_socket(box: Box) -> None:
    """The first who connects has it started, and is served."""
    (UNITS / "box.socket").write_text(block(SYSTEMD, SOCKET))
    systemctl("daemon-reload")
    systemctl("start", "box.socket")
    assert box.shown("ActiveState") == "inactive"
    box.tell("hello")
    assert box.shown("ActiveState") == "active"
    main = box.main()
    box.tell("leave")
    wait_until(lambda: box.main() not in (0, main), "it is started again")
    box.tell("hello")
    systemctl("stop", "box.socket", "box.service")
    box.nothing_is_left()
