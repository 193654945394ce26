"""A pty in the foreground: bytes between our terminal and the container's, its size kept, ours restored at the end."""

import posix
import termios
from fcntl import ioctl
from select import POLLHUP, POLLIN, POLLOUT, poll

from minirunc.container.foreground import FORWARDED, SIGCHLD, SIGWINCH, forward, reap
from minirunc.kernel.constants import O_CLOEXEC, O_NONBLOCK
from minirunc.kernel.syscalls import local

_CHUNK = 65536


class Relay:
    """stdin to the master, the master to stdout, until the process has ended and all its output is through."""

    __slots__ = ("_input", "_master", "_reading", "_saved", "_signals")

    def __init__(self, master: int) -> None:
        self._master = master
        self._saved: list[object] | None = None
        self._reading = True
        self._input = b""  # read from stdin, not yet taken by the master

    def __enter__(self) -> "Relay":
        mask = sum(1 << number - 1 for number in FORWARDED).to_bytes(8, "little")
        self._signals = int(local().signalfd4(-1, mask, O_CLOEXEC | O_NONBLOCK))
        if posix.isatty(0):
            self._saved = termios.tcgetattr(0)
            self._resize()
            _set_raw(0)
        posix.set_blocking(self._master, False)
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
        posix.close(self._signals)
        posix.close(self._master)

    def run(self, pid: int) -> int:
        """Relay until `pid` has ended; its exit status."""
        status: int | None = None
        gone = False  # nobody has the slave open; it would not let us sleep, and may yet be opened again
        while status is None:
            watch = poll()
            watch.register(self._signals, POLLIN)
            if self._reading:
                watch.register(0, POLLIN)
            if not gone:
                watch.register(self._master, POLLIN | (POLLOUT if self._input else 0))
            ready = dict(watch.poll(100 if gone else None))
            gone = bool(ready.get(self._master, 0) & POLLHUP)
            if 0 in ready:
                self._take_input()
            if ready.get(self._master, 0) & POLLOUT:
                self._input = self._input[_write(self._master, self._input) :]
            if ready.get(self._master, 0) & (POLLIN | POLLHUP):
                self._give_output()
            if self._signals in ready:
                status = self._take_signals(pid)
        while self._give_output():
            continue
        return status

    def _take_signals(self, pid: int) -> int | None:
        records = posix.read(self._signals, 128 * 16)  # struct signalfd_siginfo is 128 bytes, the number first
        status: int | None = None
        for offset in range(0, len(records), 128):
            number = int.from_bytes(records[offset : offset + 4], "little")
            if number == SIGWINCH and self._saved is not None:
                self._resize()
            elif number == SIGCHLD:
                ended = reap(pid)
                status = ended if ended is not None else status
            else:
                forward(pid, number)
        return status

    def _take_input(self) -> None:
        data = posix.read(0, _CHUNK)
        self._input += data
        if not data:
            self._reading = False
            self._input += b"\x04"  # the end of a pipe is the end of input on a terminal: VEOF

    def _give_output(self) -> bool:
        """Pass on what the container wrote; False when there is nothing more, now or for good."""
        try:
            data = posix.read(self._master, _CHUNK)
        except OSError as error:
            if error.errno not in (5, 11):  # EIO: the last slave is closed; EAGAIN: nothing now
                raise
            return False
        while data:
            data = data[posix.write(1, data) :]
        return True

    def _resize(self) -> None:
        ioctl(self._master, termios.TIOCSWINSZ, ioctl(0, termios.TIOCGWINSZ, bytes(8)))


def _write(fd: int, data: bytes) -> int:
    try:
        return posix.write(fd, data)
    except BlockingIOError:
        return 0


def _set_raw(fd: int) -> None:
    """cfmakeraw(3), but for OPOST: the inner terminal leaves newlines to us."""
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
        | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)
