"""A pty in the foreground: bytes between our terminal and the container's, its size kept, ours restored at the end."""

import posix
import termios
from fcntl import ioctl
from select import POLLHUP, POLLIN, POLLOUT, poll

from minirunc.container.foreground import FORWARDED, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGWINCH, forward, reap, taken
from minirunc.kernel.constants import O_CLOEXEC, O_NONBLOCK
from minirunc.kernel.syscalls import local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.container.notify import Proxy

_CHUNK = 65536
_VEOF = b"\x04"
EIO, EAGAIN = 5, 11


class Relay:
    """stdin to the master, the master to stdout, until the process has ended and all its output is through.

    Nothing here blocks but poll(2), so that signals come through whatever stdout does, and no more is read than the
    other side takes.
    """

    __slots__ = ("_half", "_input", "_master", "_output", "_proxy", "_reading", "_saved", "_signals", "_writing")

    def __init__(self, master: int, proxy: "Proxy | None" = None) -> None:
        self._master = master
        self._proxy = proxy  # passes on what the process tells its service manager
        self._saved: list[object] | None = None  # the mode of our terminal
        self._reading = True  # until stdin ends
        self._input = b""  # read from stdin, not yet taken by the master
        self._half = False  # what stdin gave last was not the end of a line
        self._writing = True  # until nobody reads stdout any more
        self._output = b""  # read from the master, not yet taken by stdout

    def __enter__(self) -> "Relay":
        mask = sum(1 << number - 1 for number in FORWARDED).to_bytes(8, "little")
        self._signals = int(local().signalfd4(-1, mask, O_CLOEXEC | O_NONBLOCK))
        posix.set_blocking(self._master, False)
        take_size(self._master)  # it may have changed since the birth
        if posix.isatty(0):
            if _in_background():
                self._reading = False  # it is the shell's now
            else:
                self._saved = termios.tcgetattr(0)
                _set_raw(0)
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        if self._saved is not None:
            try:
                termios.tcsetattr(0, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            except termios.error:  # hung up: there is nothing to restore
                pass
        posix.close(self._signals)
        posix.close(self._master)

    def run(self, pid: int) -> int:
        """Relay until `pid` has ended; its exit status."""
        status: int | None = None
        gone = False  # nobody has the slave open; it would not let us sleep, and may yet be opened again
        while status is None:
            ready = self._wait(gone)
            events = ready.get(self._master, 0)
            if 0 in ready:
                self._take_input()
            if events & POLLOUT:
                self._give_input()
            if events & (POLLIN | POLLHUP):
                gone = not self._take_output()
            elif gone:
                gone = False
            if 1 in ready:
                self._give_output()
            if self._proxy and self._proxy.fd in ready:
                self._proxy.take(posix.getpid())
            if self._signals in ready:
                status = self._take_signals(pid)
        self._drain()
        return status

    def _wait(self, gone: bool) -> dict[int, int]:
        """Which of our files are ready, and for what."""
        watch = poll()
        watch.register(self._signals, POLLIN)
        if self._proxy:
            watch.register(self._proxy.fd, POLLIN)
        if self._reading and len(self._input) < _CHUNK:
            watch.register(0, POLLIN)
        if self._output:
            watch.register(1, POLLOUT)
        events = (0 if self._output else POLLIN) | (POLLOUT if self._input else 0)
        if events and not gone:
            watch.register(self._master, events)
        return dict(watch.poll(100 if gone else None))

    def _drain(self) -> None:
        """What was written before the end; a signal now says that nobody wants it."""
        watch = poll()
        watch.register(self._signals, POLLIN)
        watch.register(1, POLLOUT)
        while self._output or self._take_output():
            ready = dict(watch.poll())
            if self._signals in ready and self._take_signals(0) is None:
                return
            if 1 in ready:
                self._give_output()

    def _take_signals(self, pid: int) -> int | None:
        """The exit status if `pid` has ended. Where it is 0, there is nobody to forward to: None if one came."""
        status: int | None = None if pid else 0
        for number in taken(self._signals):
            if number == SIGWINCH:
                take_size(self._master)
            elif number == SIGCHLD:
                ended = reap(pid)
                status = ended if ended is not None else status
            elif pid:
                forward(pid, number)
            elif number in (SIGHUP, SIGINT, SIGTERM):
                return None
        return status

    def _take_input(self) -> None:
        try:
            data = posix.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: our terminal was hung up
            self._reading = False
            return
        if data:
            self._input += data
            self._half = data[-1:] not in b"\r\n"
        else:
            # The end of a pipe is the end of input on a terminal: VEOF, which in a line only ends that line.
            self._reading = False
            self._input += _VEOF * (2 if self._half else 1)

    def _give_input(self) -> None:
        try:
            self._input = self._input[posix.write(self._master, self._input) :]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != EIO:
                raise
            self._input = b""  # nobody has the terminal open any more

    def _take_output(self) -> bool:
        """Read what the container wrote; False when there is nothing more, now or for good."""
        try:
            data = posix.read(self._master, _CHUNK)
        except OSError as error:
            if error.errno not in (EIO, EAGAIN):  # EIO: the last slave is closed
                raise
            return False
        if self._writing:
            self._output += data
        return bool(data)

    def _give_output(self) -> None:
        try:
            # A page: what poll found room for in a pipe.
            self._output = self._output[posix.write(1, self._output[:4096]) :]
        except BlockingIOError:
            pass
        except OSError:  # EPIPE, EIO: nobody listens; the process need not know
            self._writing = False
            self._output = b""


def prepare(master: int) -> None:
    """Before the process writes: our size, and no CR before LF, as our terminal adds it and a pipe is to have none."""
    mode = termios.tcgetattr(master)
    mode[1] &= ~termios.ONLCR
    termios.tcsetattr(master, termios.TCSANOW, mode)
    take_size(master)


def take_size(master: int) -> None:
    """Give the container's terminal the size of ours, whichever stream that is; none or 0 by 0 is no size."""
    for stream in (0, 1, 2):
        if posix.isatty(stream):
            size = ioctl(stream, termios.TIOCGWINSZ, bytes(8))
            if any(size[:4]):
                ioctl(master, termios.TIOCSWINSZ, size)
            return


def _in_background() -> bool:
    """Whether our terminal has another process group in its foreground; not if it controls nobody of ours."""
    try:
        return posix.tcgetpgrp(0) != posix.getpgrp()
    except OSError:
        return False


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
