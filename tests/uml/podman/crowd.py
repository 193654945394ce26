"""Many containers at once, over the API of `podman system service`: its clients start no program each."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.ground.compare import Stage
from tests.uml.podman.engine import IMAGE, Podman

COUNT = 50


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("podman", timeout=300)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(podman: Podman, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request; the status and what was answered."""
    connection = _Connection(str(podman.socket))
    sent = None if body is None else json.dumps(body)
    connection.request(method, f"/v4.0.0/libpod/{path}", sent, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else None


def fifty_at_once(do: Stage) -> None:
    """All are made at the same time, then all are started at the same time; half of them are the other runtime's."""
    podman = do.engine
    assert isinstance(podman, Podman)
    names = [f"crowd{number}" for number in range(COUNT // 2)]

    def create(name: str) -> int:
        body = {"name": name, "image": IMAGE, "command": ["sleep", "1000"], "netns": {"nsmode": "none"}}
        return ask(podman, "POST", "containers/create", body)[0]

    def start(name: str) -> int:
        return ask(podman, "POST", f"containers/{name}/start")[0]

    with podman.service(), ThreadPoolExecutor(COUNT) as pool:
        do.keep(["create"], 0, str(set(pool.map(create, names))))
        do.keep(["start"], 0, str(set(pool.map(start, names))))
        running = ask(podman, "GET", 'containers/json?filters={"status":["running"],"name":["crowd"]}')[1]
        do.keep(["ps"], 0, "\n".join(sorted(one["Names"][0] for one in running)))
