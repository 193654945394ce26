"""The page of README.md about Docker, followed as it stands, on a node whose containers run."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ground.bundle import CHECKOUT
from tests.ground.compare import PATIENCE_S
from tests.ground.readme import block
from tests.uml.docker.engine import DOCKER

HEADING = "### Docker"
UNIT = ["--property=Type=notify", "--property=KillMode=process", "--property=Delegate=yes"]
RELOAD = "--property=ExecReload=/bin/kill -s HUP $MAINPID"
HERE = ["--bridge=none", "--iptables=false", "--storage-driver=overlay2"]  # what this kernel has


def sh(script: str) -> str:
    """What it prints, as root."""
    environment = {**os.environ, "PATH": f"/usr/local/bin:{Path(DOCKER).parent}:{os.environ['PATH']}"}
    script = script.replace("sudo ", "").replace("docker ", f"{DOCKER} ")
    return subprocess.run(["sh", "-ec", script], env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def docker(*words: str) -> str:
    """What the client prints."""
    return sh(f"docker {shlex.join(words)}").strip()


@pytest.fixture
def node(image: Path) -> Iterator[None]:
    """Docker as a service, without daemon.json. All that is written is on an overlay, which is gone in the end."""
    for place in ("/var/lib/docker", "/etc/docker"):
        Path(place).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    subprocess.run(["systemd-run", "--unit=docker", *UNIT, RELOAD, "dockerd", *HERE], check=True)
    docker("import", str(image), "box")
    yield
    subprocess.run(["systemctl", "stop", "docker"], check=True)


def test_page_is_followed_on_a_running_node(node: None) -> None:
    """What ran goes on with runc, also past a restart of the engine; what is made from then on is minirunc's."""
    docker("run", "--detach", "--name=before", "box", "sleep", "1000")
    subprocess.run(["make", "-C", str(CHECKOUT), "install"], check=True, stdout=subprocess.DEVNULL)
    settings = block(HEADING)
    Path("/etc/docker/daemon.json").write_text(settings)
    sh(block(HEADING, 1))
    end = time.monotonic() + PATIENCE_S
    while docker("info", "--format={{.DefaultRuntime}}") != "minirunc":
        assert time.monotonic() < end, "dockerd has not read its daemon.json again"
    docker("run", "--detach", "--name=after", "box", "sleep", "1000")
    listed = sh(block(HEADING, 2))
    assert docker("inspect", "--format={{.Id}}", "after") in listed
    assert docker("inspect", "--format={{.Id}}", "before") not in listed

    sh("systemctl restart docker")
    runtimes = "--format={{.HostConfig.Runtime}} {{.State.Status}}"
    assert docker("inspect", runtimes, "before", "after").splitlines() == ["runc running", "minirunc running"]
    assert docker("exec", "before", "cat", "/proc/1/comm") == docker("exec", "after", "cat", "/proc/1/comm") == "sleep"
    docker("restart", "--time=0", "before", "after")
    assert docker("inspect", runtimes, "before", "after").splitlines() == ["runc running", "minirunc running"]
    assert json.loads(settings)["live-restore"]
    docker("rm", "--force", "before", "after")
