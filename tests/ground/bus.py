"""A D-Bus that falls silent: a socket before the real one, which passes on what is said up to a word."""

import os
import select
import socket
import threading
from pathlib import Path
from types import TracebackType

SYSTEM_BUS = "/run/dbus/system_bus_socket"


class SilentBus:
    """Listens at `path`. From the first message with `word` in it on, nothing comes back any more, `heard` is set.

    The message itself is passed on if `passed_on`. The empty word is in the first bytes: not even a greeting comes.
    """

    def __init__(self, path: Path, word: bytes, *, passed_on: bool = False) -> None:
        self.address = f"unix:path={path}"
        self.heard = threading.Event()
        self._word = word
        self._passed_on = passed_on
        self._end, self._ended = os.pipe()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "SilentBus":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        os.close(self._ended)
        self._thread.join()
        self._listening.close()
        os.close(self._end)

    def _serve(self) -> None:
        other: dict[socket.socket, socket.socket] = {}
        clients: set[socket.socket] = set()
        while True:
            ready, _, _ = select.select([self._listening, self._end, *other], [], [])
            if self._end in ready:
                break
            for one in ready:
                if one is self._listening:
                    client, bus = one.accept()[0], socket.socket(socket.AF_UNIX)
                    bus.connect(SYSTEM_BUS)
                    clients.add(client)
                    other |= {client: bus, bus: client}
                elif isinstance(one, socket.socket) and one in other:
                    self._pass_on(one, one in clients, other)
        for one in other:
            one.close()

    def _pass_on(self, one: socket.socket, from_client: bool, other: dict[socket.socket, socket.socket]) -> None:
        data = one.recv(1 << 20)
        if not data:
            for end in (one, other[one]):
                del other[end]
                end.close()
            return
        last = from_client and self._word in data and not self.heard.is_set()
        if last:
            self.heard.set()
        if not self.heard.is_set() or (last and self._passed_on):
            other[one].sendall(data)
