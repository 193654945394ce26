"""Docker: dockerd with its own containerd, everything of theirs below one directory."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.ground.bundle import CHECKOUT
from tests.ground.compare import PATIENCE_S

DOCKER = "/usr/bin/docker"  # a newer one may lie in /usr/local/bin
MINIRUNC = os.environ.get("MINIRUNC") or str(CHECKOUT / ".venv/bin/minirunc")


class Docker:
    """An engine whose default runtime is `runtime`: runc, as Docker knows it, or minirunc, by its daemon.json.

    MINIRUNC_RUNC in the environment names the directory of another runc than Debian's.
    """

    def __init__(self, runtime: str, place: Path, **settings: Any) -> None:
        self.runtime = runtime
        self.place = place / runtime
        self.socket = self.place / "docker.sock"
        self.settings = {
            "data-root": str(self.place / "data"),
            "exec-root": str(self.place / "run"),
            "pidfile": str(self.place / "pid"),
            "hosts": [f"unix://{self.socket}"],
            "storage-driver": "overlay2",
            "bridge": "none",
            "iptables": False,
            "log-level": "warn",
            "runtimes": {"minirunc": {"path": MINIRUNC}},
            "default-runtime": runtime,
            **settings,
        }
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers."""
        self.place.mkdir(parents=True, exist_ok=True)
        (self.place / "daemon.json").write_text(json.dumps(self.settings))
        with (self.place / "log").open("ab") as log:
            argv = ["dockerd", "--config-file", str(self.place / "daemon.json")]
            self._daemon = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert time.monotonic() < end, (self.place / "log").read_text()
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End dockerd, and with SIGTERM its containerd; containers go on if there is live-restore."""
        assert self._daemon
        self._daemon.send_signal(number)
        self._daemon.wait(60)
        self._daemon = None

    def argv(self, words: Sequence[str]) -> list[str]:
        """The whole command line of a call."""
        return [DOCKER, "--host", f"unix://{self.socket}", *words]

    def clean(self, again: bool = False) -> None:
        """Remove all containers and volumes. By the API, which does not start a client for each."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._remove, self.ask("GET", "/containers/json?all=1")))
        self.ask("POST", "/volumes/prune")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers."""
        text = None if body is None else json.dumps(body)
        with closing(_Connection(self.socket)) as connection:
            connection.request(method, path, text, {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                answer = response.read()
                assert response.status < 400, f"{path}: {response.status} {answer!r}"
        return json.loads(answer) if answer.strip() else None

    def _remove(self, container: dict[str, Any]) -> None:
        self.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")

    def _environment(self) -> dict[str, str]:
        # Docker finds runc by PATH alone.
        path = os.pathsep.join(filter(None, [os.environ.get("MINIRUNC_RUNC"), os.environ["PATH"]]))
        return {**os.environ, "PATH": path}

    def _answers(self) -> bool:
        assert self._daemon
        assert self._daemon.poll() is None, (self.place / "log").read_text()
        try:
            self.ask("GET", "/info")
        except OSError:
            return False
        return True


class _Connection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))
