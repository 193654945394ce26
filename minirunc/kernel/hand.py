"""The hand: a static program of some 200 bytes that executes the system calls it is sent, inside the container.

    Python                       the hand (hand_x86_64.S)
    posix_spawn sealed memfd --> read(control) ...
    batch of calls           --> executed one by one; the first failure not tolerated ends the batch
    results, errors named    <-- the same batch, results in place
    last batch: execve       --> the container's process; the control socket closes

What comes back is untrusted: it has the length of what was sent, and numbers are read from fixed places.
Sources: unix(7) SOCK_SEQPACKET, memfd_create(2), execve(2), posix_spawn(3).
"""

import posix
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from struct import Struct, pack, unpack_from

from minirunc.base.errors import Error, SecurityError
from minirunc.kernel import trace
from minirunc.kernel.constants import PR_SET_DUMPABLE, PR_SET_NAME
from minirunc.kernel.hand_code import BUFFER, SIZE, image, renew
from minirunc.kernel.syscalls import Arg, Calls, Fd, Out, Result, Words, failure, number, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

EPERM, ETXTBSY, EPIPE, ECONNRESET = 1, 26, 32, 104
NAME = "minirunc:[init]"  # as ps(1) shows it
TOLERATE = 1
FORKS = 2
_C_LIBRARY_SIGNALS = (32, 33)  # it lets nobody change them, and ignores them in what it spawns
_SIGNALS = (*range(1, 32), *range(34, 65))
_SIG_DFL = bytes(32)
_ENTRY = Struct("<8Q").pack
_MASK = (1 << 64) - 1
_ZEROS = (0,) * 6
_END = b"\xff" * 8
_CTRUNC, _NOSIGNAL, _CMSG_CLOEXEC = 0x8, 0x4000, 0x40000000  # MSG_*
_MAX_ERRNO = 4095
_DYING_MS = 1000


class _Data:
    """What lies behind a batch's entries: strings, structures, room for results; addresses are the hand's."""

    __slots__ = ("base", "batch", "bytes", "outs", "seen")

    def __init__(self, batch: "Batch") -> None:
        self.base = BUFFER + 64 * len(batch.entries) + len(_END)
        self.batch = batch
        self.bytes = bytearray()
        self.seen: dict[bytes, int] = {}
        self.outs: list[tuple[Out, int]] = []

    def word(self, arg: Arg) -> int:
        """The argument as a word: a number, or the address of what it is put into."""
        if arg is None:
            return 0
        if isinstance(arg, (int, Result)):  # a Result of an earlier batch is a number by now
            assert isinstance(arg, int) or not self.batch.owns(arg), "a result of the same batch inside a structure"
            return int(arg) & _MASK
        if isinstance(arg, str):
            return self._place(arg.encode("utf-8", "surrogateescape") + b"\0")
        if isinstance(arg, Out):
            address = self.base + len(self.bytes)
            self.bytes.extend(bytes(arg.size + -arg.size % 8))
            self.outs.append((arg, address - BUFFER))
            return address
        if isinstance(arg, bytes):
            return self._place(arg + b"\0")
        return self._place(pack(f"<{len(arg.items)}Q", *map(self.word, arg.items)))

    def _place(self, raw: bytes) -> int:
        address = self.seen.get(raw)
        if address is None:
            address = self.seen[raw] = self.base + len(self.bytes)
            self.bytes.extend(raw)
            self.bytes.extend(bytes(-len(raw) % 8))
        return address


class Batch(Calls):
    """Calls being gathered; `with hand.batch() as do:` sends them when the block ends."""

    __slots__ = ("entries", "hand", "meanwhile")

    def __init__(self, hand: "Hand", meanwhile: "Callable[[], None] | None" = None) -> None:
        self.hand = hand
        self.meanwhile = meanwhile
        self.entries: list[tuple[str, tuple[Arg, ...], int, Result]] = []

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        if kind is None and self.entries:
            self.hand.execute(self)

    def call(self, name: str, *args: Arg) -> Result:
        """Gather the call; its Result may be an argument of later ones."""
        return self._add(name, args, 0)

    def _add(self, name: str, args: tuple[Arg, ...], flags: int) -> Result:
        result = Result(len(self.entries))
        self.entries.append((name, args, flags, result))
        return result

    def tolerate(self, result: Fd) -> Fd:
        """Let the call that gave `result` fail without ending the batch: its value is then -errno."""
        return self._flag(result, TOLERATE)

    def forks(self, result: Fd) -> Fd:
        """The call that gave `result` makes the process that reads the next batch; this one ends."""
        return self._flag(result, FORKS)

    def on_failure(self, errno: int, result: Fd) -> Fd:
        """Execute the call that gave `result` only if the last failure was `errno`."""
        return self._flag(result, errno << 56)

    def _flag(self, result: Fd, flag: int) -> Fd:
        assert isinstance(result, Result)
        name, args, flags, same = self.entries[result.index]
        self.entries[result.index] = (name, args, flags | flag, same)
        return result

    def owns(self, result: Result) -> bool:
        """Whether the result is one of this batch's, so that only the hand will know it."""
        return result.index < len(self.entries) and self.entries[result.index][3] is result

    def halves(self) -> "tuple[Batch, Batch]":
        """Two batches that do the same, one after the other; the first is empty where that cannot be."""
        depends = any(flags >> 56 for _, _, flags, _ in self.entries)  # on an earlier failure
        middle = 0 if depends else len(self.entries) // 2
        first, second = Batch(self.hand), Batch(self.hand)
        first.entries, second.entries = self.entries[:middle], self.entries[middle:]
        second.meanwhile = self.meanwhile
        for index, entry in enumerate(second.entries):
            entry[3].index = index
        return first, second

    def encode(self) -> tuple[bytes, list[tuple[Out, int]]]:
        """The message, and where in it the kernel will put each Out."""
        data = _Data(self)
        table = bytearray()
        for name, args, flags, result in self.entries:
            assert not flags & FORKS or result.index == len(self.entries) - 1, f"{name} forks, but is not the last"
            words = []
            for arg in args:
                if type(arg) is int:  # most are: no call for them
                    words.append(arg & _MASK)
                elif type(arg) is Result and self.owns(arg):
                    flags |= 256 << len(words)
                    words.append(BUFFER + 64 * arg.index)
                else:
                    words.append(data.word(arg))
            table += _ENTRY(number(name), *words, *_ZEROS[len(words) :], flags)
        return bytes(table) + _END + bytes(data.bytes), data.outs

    def encode_whole(self) -> tuple[bytes, list[tuple[Out, int]]]:
        """The same for what cannot be sent in parts; raises Error if it is too long."""
        message, outs = self.encode()
        if len(message) > SIZE:
            raise Error(f"a batch of {len(message)} bytes does not fit the hand's {SIZE}")
        return message, outs

    def decode(self, reply: bytes, outs: "list[tuple[Out, int]]") -> None:
        """Put results and Out data in place; raises SyscallError for the call that ended the batch."""
        for out, offset in outs:
            out.data = reply[offset : offset + out.size]
        last = 0
        values = memoryview(reply)[: 64 * len(self.entries)].cast("q")[::8].tolist()
        for (name, args, flags, result), value in zip(self.entries, values, strict=True):
            if flags >> 56 not in (0, last):
                continue
            if value < -_MAX_ERRNO:
                raise SecurityError(f"the hand sent {value} back for {name}, which no system call returns")
            result.value = value
            if trace.sink:
                trace.report(f"hand {self.hand.pid}", name, args, value)
            if value < 0:
                last = -value
                if not flags & TOLERATE:
                    raise failure(name, args, last)


class Hand:
    """A running hand; `pid` is ours to wait for. Closing the control socket ends it where it still listens."""

    __slots__ = ("control", "pid", "socket")

    def __init__(self, keep: int = 0) -> None:
        """Spawn one in our namespaces, with our standard streams and the `keep` fds from 3 on."""
        self.control = 3 + keep
        self.socket, theirs = _socketpair()
        argv = ["minirunc", "init"] + [""] * (self.control - 2)
        try:
            self.pid = self._spawn(argv, theirs.fileno())
        except BaseException as error:
            self.socket.close()
            if isinstance(error, OSError) and error.errno == EPERM:  # the C library falls back on ENOSYS alone
                raise refusal("clone3", "posix_spawn(3) of the hand", error) from None
            raise
        finally:
            theirs.close()
        try:
            with self.batch() as do:
                # Before anything else, while it has all capabilities: nobody below us may ptrace it (CVE-2016-9962).
                do.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
                do.prctl(PR_SET_NAME, NAME)
                do.close_range(self.control + 1)
                for signal in _C_LIBRARY_SIGNALS:
                    do.rt_sigaction(signal, _SIG_DFL)
        except BaseException:
            self.kill()
            raise

    def _spawn(self, argv: list[str], end: int) -> int:
        files = [(posix.POSIX_SPAWN_DUP2, end, self.control)]
        while True:
            path = f"/proc/self/fd/{image(not_at=self.control)}"
            try:
                return posix.posix_spawn(path, argv, {}, file_actions=files, setsigmask=(), setsigdef=_SIGNALS)
            except OSError as error:
                if error.errno != ETXTBSY:
                    raise
                renew()

    def batch(self, meanwhile: "Callable[[], None] | None" = None) -> Batch:
        """A new batch; nothing happens before its block ends. `meanwhile` is called while the hand is at it."""
        return Batch(self, meanwhile)

    def execute(self, batch: Batch) -> None:
        """Send, wait for the results, put them in place; raises SyscallError naming the call that failed.

        What the hand cannot take at once is sent in parts.
        """
        message, outs = batch.encode()
        if len(message) > SIZE:
            halves = batch.halves()
            if not halves[0].entries:
                batch.encode_whole()  # raises
            for half in halves:
                self.execute(half)
            return
        self._send(message)
        try:
            if batch.meanwhile:
                batch.meanwhile()
        finally:  # whatever that says: who serves the next batch is in the answer
            self._take(batch, message, outs, self._receive(message))
            _, _, flags, result = batch.entries[-1]
            if flags & FORKS and result.value > 0:
                self._go_on_as(result.value)

    def _go_on_as(self, pid: int) -> None:
        """The hand forked and ends: the child serves the next batch."""
        self._end()
        try:
            posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
        except (ChildProcessError, OverflowError):
            # Else we would signal a stranger.
            raise SecurityError(f"the hand says that it is process {pid} now, which is no child of ours") from None
        self.pid = pid

    def finish(self, batch: Batch) -> None:
        """Send the last batch, the one that ends in execve, and let go."""
        message, _ = batch.encode_whole()
        if trace.sink:
            for name, args, flags, _ in batch.entries:
                if not flags >> 56 or name == "execve":
                    trace.announce(f"hand {self.pid}, last batch", name, args)
        if not self._send(message):
            raise self._gone(batch)

    def become(self, batch: Batch) -> None:
        """Send a batch that ends in execve and wait until that closed the control socket; raises SyscallError."""
        with self.batch() as do:
            do.fcntl(self.control, 2, 1)  # F_SETFD, FD_CLOEXEC
        message, outs = batch.encode_whole()
        if not self._send(message):
            raise self._gone(batch)
        if reply := self._receive(message):
            self._take(batch, message, outs, reply)

    def load(self, data: bytes) -> int:
        """Put more than a batch holds into the hand's memory; returns its address there."""
        with self.batch() as do:
            room = do.mmap(len(data), 3, 0x22)  # PROT_READ|WRITE, MAP_PRIVATE|ANONYMOUS
        address = int(room)
        for start in range(0, len(data), SIZE // 2):
            part = data[start : start + SIZE // 2]
            batch = self.batch()
            batch.read(self.control, address + start, len(part))
            message, outs = batch.encode()
            self._send(message)
            self._send(part)
            self._take(batch, message, outs, self._receive(message))
        return address

    def shrink(self) -> None:
        """Give back the memory that large batches took; this one stands in the first page."""
        page = posix.sysconf("SC_PAGE_SIZE")
        with self.batch() as do:
            do.madvise(BUFFER + page, SIZE - page, 4)  # MADV_DONTNEED

    def send_fd(self, fd: int) -> int:
        """Hand over a file; returns its number inside."""
        control = Out(24)  # one cmsghdr with one fd
        batch = self.batch()
        batch.recvmsg(self.control, Words(0, 0, Words(Out(8), 1), 1, control, 24, 0), _CMSG_CLOEXEC)
        message, outs = batch.encode()
        self._send(message)
        self._send(b"f", [(1, 1, pack("<i", fd))])  # SOL_SOCKET, SCM_RIGHTS
        self._take(batch, message, outs, self._receive(message))
        return int(unpack_from("<i", control.data, 16)[0])

    def receive_fd(self, fd: Fd, batch: Batch | None = None) -> int:
        """Fetch a file the hand has open, or will have after `batch`; returns its number here, close-on-exec."""
        batch = batch or self.batch()
        control = pack("<QiiiI", 20, 1, 1, int(fd), 0)
        batch.sendmsg(self.control, Words(0, 0, Words(b"f", 1), 1, control, 24, 0), 0)
        message, outs = batch.encode_whole()
        self._send(message)
        try:
            first, ancillary, flags, _ = self.socket.recvmsg(len(message) + 1, 20, _CMSG_CLOEXEC)  # room for one fd
        except ConnectionResetError:
            first, ancillary, flags = b"", [], 0
        received = [unpack_from("<i", data)[0] for level, kind, data in ancillary if (level, kind) == (1, 1)]
        try:
            # If sendmsg failed, the answer comes at once.
            self._take(batch, message, outs, self._receive(message) if len(first) == 1 else first)
            if not received or flags & _CTRUNC:
                raise SecurityError(f"the hand sent {'more than one' if received else 'no'} file")
        except BaseException:
            for stranger in received:
                posix.close(stranger)
            raise
        return int(received[0])

    def close(self) -> None:
        """Let go of the control socket."""
        self.socket.close()

    def kill(self) -> None:
        """End it, whatever it does, and reap it: the path of every failure."""
        self.socket.close()
        self._end()

    def _end(self) -> None:
        """Kill and reap the process, once: afterwards its pid may be anybody's."""
        pid, self.pid = self.pid, 0
        if pid:
            try:
                posix.kill(pid, 9)
                posix.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass  # our caller reaped it, or ignores SIGCHLD

    def _send(self, message: bytes, ancillary: "list[tuple[int, int, bytes]] | tuple[()]" = ()) -> bool:
        """Send it; False if nobody is there, which an empty answer tells as well."""
        try:
            if ancillary:
                self.socket.sendmsg([message], ancillary, _NOSIGNAL)
            else:
                self.socket.send(message, _NOSIGNAL)
        except OSError as error:
            if error.errno not in (EPIPE, ECONNRESET):
                raise
            return False
        return True

    def _receive(self, message: bytes) -> bytes:
        """The answer to a message, or empty if the control socket was closed."""
        try:
            return self.socket.recv(len(message) + 1)  # one more, to see that it is too long
        except ConnectionResetError:
            return b""

    def _take(self, batch: Batch, message: bytes, outs: "list[tuple[Out, int]]", reply: bytes) -> None:
        """Put an answer's results in place; raises Error if there is none, SecurityError for one that cannot be."""
        if not reply:
            raise self._gone(batch)
        if len(reply) != len(message):
            raise SecurityError(f"the hand's answer has not the {len(message)} bytes of what it was sent")
        batch.decode(reply, outs)

    def _gone(self, batch: Batch) -> Error:
        """Why there is no answer; kill() will reap."""
        from minirunc.kernel import hand_gone

        how = hand_gone.how(self.pid, _DYING_MS)
        return Error(f"the hand (pid {self.pid}) did not answer {batch.entries[0][0]}: {how}")


def _socketpair() -> "tuple[socket, socket]":
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    ours.setsockopt(1, 7, 2 * SIZE)  # SO_SNDBUF: a whole batch, whatever net.core.wmem_default is
    theirs.setsockopt(1, 7, 2 * SIZE)
    return ours, theirs
