"""containerd as a service of the test's, and two callers of it: ctr, and who speaks CRI."""

import hashlib
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.ground.compare import PATIENCE_S
from tests.uml.containerd.cri import Client, Error

IMAGE = "docker.io/library/box:latest"
CONFIG = Path("/etc/containerd/config.toml")
DEFAULTS = Path("/run/containerd"), Path("/var/lib/containerd")  # where state and data are if nothing is said


def image(file: Path, rootfs: Path, names: Sequence[str]) -> Path:
    """Make an image as `docker save` writes it, a tar; its program sleeps, so that it may be a pod's sandbox."""
    directory = file.with_suffix("")
    directory.mkdir()
    with tarfile.open(directory / "layer.tar", "w") as tar:
        tar.add(rootfs, ".")
    layer = f"sha256:{hashlib.sha256((directory / 'layer.tar').read_bytes()).hexdigest()}"
    environment = ["PATH=/bin"]
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": environment, "Cmd": ["sleep", "100000"]}}
    (directory / "config.json").write_text(json.dumps(config | {"rootfs": {"type": "layers", "diff_ids": [layer]}}))
    manifest = [{"Config": "config.json", "RepoTags": list(names), "Layers": ["layer.tar"]}]
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(file, "w") as tar:
        for path in directory.iterdir():
            tar.add(path, path.name)
    return file


class Containerd:
    """A daemon, with a runtime. `suffix` keeps its directories apart from those of a second one."""

    def __init__(self, runtime: str, binary: str, config: Path, suffix: str = "") -> None:
        self.runtime = runtime
        self.binary = binary
        self.state, self.data = (path.with_name(path.name + suffix) for path in DEFAULTS)
        self.socket = self.state / "containerd.sock"
        options = ["--address", self.socket, "--state", self.state, "--root", self.data] if suffix else []
        self._argv = ["containerd", "--config", str(config), *map(str, options)]
        self.client = Client(self.socket)
        self._log = Path(f"/run/containerd-{runtime}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It is there when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        """It first looks at all containers that are there: until then CRI refuses to answer."""
        try:
            self.client.call("ListPodSandbox")
        except Error as error:
            if "not initialized" in str(error):
                return False
            raise
        return True

    def stop(self) -> None:
        """Ask it to end, as an upgrade does; the containers stay with their shims."""
        assert self._process
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def ctr(self, *words: str, namespace: str = "default") -> list[str]:
        """The whole command line of a call."""
        return ["ctr", "--address", str(self.socket), "--namespace", namespace, *words]

    def load(self, file: Path, namespace: str) -> None:
        """Import an image."""
        subprocess.run(self.ctr("images", "import", str(file), namespace=namespace), check=True)


class Ctr:
    """ctr, with one of the runtimes and one of the cgroup drivers: the engine of compare.py.

    Cgroups are named after the namespace and the container, so each runtime has a namespace of its own.
    """

    def __init__(self, daemon: Containerd, driver: str) -> None:
        self.daemon = daemon
        self.runtime = daemon.runtime
        self._systemd = driver == "systemd"

    def argv(self, words: Sequence[str]) -> list[str]:
        """`run` gets the options that say which runtime, and which driver."""
        if words[0] != "run":
            return self.daemon.ctr(*words, namespace=self.runtime)
        more = ["--runc-binary", self.daemon.binary]
        if self._systemd:
            id = words[words.index(IMAGE) + 1]
            more += ["--runc-systemd-cgroup", "--cgroup", f"system.slice:{self.runtime}:{id}"]
        return self.daemon.ctr("run", *more, *words[1:], namespace=self.runtime)

    def clean(self, again: bool = False) -> None:
        """Remove all containers."""
        for id in self._told("containers", "ls", "--quiet").split():
            self._told("tasks", "delete", "--force", id)
            self._told("containers", "delete", id)

    def _told(self, *words: str) -> str:
        argv = self.daemon.ctr(*words, namespace=self.runtime)
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout


class Node:
    """CRI, with one of the configured runtime handlers: the engine of compare.py, though no command line is called."""

    def __init__(self, daemon: Containerd, handler: str, driver: str) -> None:
        self.daemon = daemon
        self.runtime = daemon.runtime
        self.handler = handler
        self.driver = driver
        self.client = daemon.client
        self.logs = f"/run/tmp/pods-{os.path.basename(daemon.state)}-{driver}"

    def argv(self, words: Sequence[str]) -> list[str]:
        """Nobody calls it by a command."""
        raise NotImplementedError

    def clean(self, again: bool = False) -> None:
        """Remove all pods."""
        for pod in self.client.call("ListPodSandbox").get("items", []):
            for method in ("StopPodSandbox", "RemovePodSandbox"):
                try:
                    self.client.call(method, pod_sandbox_id=pod["id"])
                except Error as error:
                    print(f"{method}: {error}")
