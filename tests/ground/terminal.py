"""A terminal of a test's own: a pty whose slave is the standard streams and controlling terminal of a command."""

import fcntl
import os
import re
import select
import struct
import termios
import time
from types import TracebackType
from typing import Any, Self

from tests.ground.runtime import TIMEOUT_S, Runtime


class Terminal:
    """`with Terminal(minirunc, "run", id) as terminal:` starts the command; `out` is all it has shown so far."""

    def __init__(self, runtime: Runtime, *args: object, size: tuple[int, int] = (24, 80)) -> None:
        self.master, self.slave = os.openpty()
        self.resize(*size)
        self.mode = termios.tcgetattr(self.slave)
        self.out = ""
        before, runtime.prefix = runtime.prefix, ["setsid", "--ctty", *runtime.prefix]
        self.process = runtime.popen(*args, stdin=self.slave, stdout=self.slave, stderr=self.slave)
        runtime.prefix = before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.hang_up()
        os.close(self.slave)

    def hang_up(self) -> None:
        """As when the window is closed; may be called twice."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def resize(self, rows: int, columns: int) -> None:
        """As when the window's size changes."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("<4H", rows, columns, 0, 0))

    def mode_now(self) -> list[Any]:
        """As tcgetattr(3) tells it; the same as `mode`, unless the command changed it."""
        return termios.tcgetattr(self.slave)

    def type(self, text: str) -> None:
        """Press these keys."""
        data = text.encode()
        while data:
            data = data[os.write(self.master, data) :]

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the pattern is shown; what comes before and with it is taken from `out`."""
        end = time.monotonic() + TIMEOUT_S
        while (found := re.search(pattern, self.out)) is None:
            assert self._read(end - time.monotonic()), f"not shown: {pattern!r}; but:\n{self.out}"
        self.out = self.out[found.end() :]
        return found

    def wait(self) -> int:
        """Read on until the command has ended; its exit status."""
        end = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None:
            self._read(min(0.05, end - time.monotonic()))
            assert time.monotonic() < end, f"not done after {TIMEOUT_S} s; shown:\n{self.out}"
        while self._read(0):
            continue
        return self.process.returncode

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self.master], [], [], max(0, timeout_s))[0]:
            return False
        self.out += os.read(self.master, 65536).decode(errors="replace")
        return True
