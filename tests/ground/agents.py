"""Seccomp agents for tests: they take listeners at a socket, and say what becomes of the calls that ask there."""

import errno
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any, NamedTuple

# seccomp_unotify(2): struct seccomp_notif and seccomp_notif_resp, and what is done with them
NOTIF, RESPONSE = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
RECV, SEND, ID_VALID = 0xC0502100, 0xC0182101, 0x40082102
CONTINUE = 1


class Asked(NamedTuple):
    """A system call that waits for an answer."""

    id: int
    pid: int
    number: int
    args: tuple[int, ...]
    listener: int

    def text(self, index: int) -> str:
        """The string that an argument points to, in the caller's memory."""
        with Path(f"/proc/{self.pid}/mem").open("rb", 0) as memory:
            memory.seek(self.args[index])
            return memory.read(256).partition(b"\0")[0].decode()

    def is_valid(self) -> bool:
        """Whether the caller still waits."""
        try:
            ioctl(self.listener, ID_VALID, struct.pack("=Q", self.id))
        except FileNotFoundError:
            return False
        return True


class Agent:
    """One that listens at `address` until it is closed; `answer` gives an errno, 0 or a value, or None: go on."""

    def __init__(self, address: Path | str, answer: Callable[[Asked], int | None]) -> None:
        self.messages: list[Any] = []  # what came with each listener
        self.kinds: list[str] = []  # and what kind of file that was
        self.asked: list[Asked] = []
        self.failed: list[BaseException] = []
        self.path = str(address)
        self._answer = answer
        self._listeners: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._bind()
        self._socket.listen(8)
        self._end, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _bind(self) -> None:
        if self.path.startswith("@"):
            self._socket.bind("\0" + self.path[1:])
            return
        directory = os.open(os.path.dirname(self.path), os.O_PATH)
        try:
            self._socket.bind(f"/proc/self/fd/{directory}/{os.path.basename(self.path)}")
        finally:
            os.close(directory)

    def close(self) -> None:
        """End it, and with it its listeners: who waits is told ENOSYS."""
        if self._end >= 0:
            os.write(self._stop, b"x")
            self._thread.join()
            for fd in (*self._listeners, self._end, self._stop):
                os.close(fd)
            self._end = -1
            self._socket.close()

    def _serve(self) -> None:
        watch = select.poll()
        for fd in (self._socket.fileno(), self._end):
            watch.register(fd, select.POLLIN)
        while True:
            for fd, event in watch.poll():
                if fd == self._end:
                    return
                try:
                    if fd == self._socket.fileno():
                        for listener in self._take():
                            watch.register(listener, select.POLLIN)
                    elif event & select.POLLIN:
                        self._reply(fd)
                    else:
                        watch.unregister(fd)
                except BaseException as error:
                    self.failed.append(error)
                    raise

    def _take(self) -> list[int]:
        """The listener, or nothing from who failed before he had one."""
        connection, _ = self._socket.accept()
        with connection:
            text, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4 * 8))
            while more := connection.recv(1 << 16):
                text += more
        if not text:
            return []
        ((level, kind, data),) = ancillary
        assert (level, kind, len(data)) == (socket.SOL_SOCKET, socket.SCM_RIGHTS, 4)
        (fd,) = struct.unpack("i", data)
        self._listeners.append(fd)
        self.kinds.append(os.readlink(f"/proc/self/fd/{fd}"))
        self.messages.append(json.loads(text))
        return [fd]

    def _reply(self, fd: int) -> None:
        room = bytearray(NOTIF.size)
        try:
            ioctl(fd, RECV, room)
        except FileNotFoundError:  # it was killed
            return
        id, pid, _, number, _, _, *args = NOTIF.unpack(room)
        asked = Asked(id, pid, number, tuple(args), fd)
        self.asked.append(asked)
        said = self._answer(asked)
        reply = RESPONSE.pack(id, 0, 0, CONTINUE) if said is None else RESPONSE.pack(id, max(said, 0), min(said, 0), 0)
        try:
            ioctl(fd, SEND, reply)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
                raise


@contextmanager
def agent(address: Path | str, answer: Callable[[Asked], int | None] = lambda asked: None) -> Iterator[Agent]:
    """An agent for a while; what went wrong in it is an error."""
    made = Agent(address, answer)
    try:
        yield made
    finally:
        made.close()
    assert not made.failed
