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
from minirunc.kernel.constants import CLOSE_RANGE_CLOEXEC, PR_SET_DUMPABLE, PR_SET_NAME
from minirunc.kernel.hand_code import BUFFER, SIZE, elf, machine
from minirunc.kernel.syscalls import Arg, Calls, Fd, Out, Result, Words, failure, local, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

TOLERATE = 1
FORKS = 2
_SIGNALS = (*range(1, 32), *range(34, 65))  # 32 and 33 belong to the C library
_ENTRY = Struct("<8Q").pack
_MASK = (1 << 64) - 1
_END = b"\xff" * 8
_image: list[int] = []  # fd of the sealed memfd, made once a process


def _sealed_image() -> int:
    """The hand's program as an unreadable, sealed memfd (CVE-2019-5736: nobody can write what runs inside)."""
    if _image:
        return _image[0]
    if machine() not in ("x86_64", "aarch64", "riscv64"):
        raise Error(f"this machine is {machine()}: the hand is written for x86_64, aarch64 and riscv64")
    fd = _memfd()
    posix.write(fd, elf(machine()))
    # Mode 0111 keeps the process non-dumpable where it is executed in a user namespace that does not map us.
    posix.fchmod(fd, 0o111)
    from fcntl import fcntl

    try:
        fcntl(fd, 1033, 15)  # F_ADD_SEALS: SEAL, SHRINK, GROW, WRITE
    except OSError as error:
        if error.errno != 22:  # EINVAL: a file of our tmpfs, which nobody else reaches
            raise
    _image.append(fd)
    return fd


def _memfd() -> int:
    """A new file that may be executed: a memfd, or where vm.memfd_noexec forbids it one on a tmpfs of our own."""
    for flags in (
        0x13,
        0x03,
    ):  # CLOEXEC, ALLOW_SEALING, and EXEC, which kernels before 6.3 refuse with EINVAL
        try:
            return posix.memfd_create("minirunc:hand", flags)
        except OSError as error:
            if error.errno == 13:
                break
            if error.errno != 22:
                raise
    from minirunc.kernel.constants import FSCONFIG_CMD_CREATE

    do = local()
    fs = do.fsopen("tmpfs", 1)
    do.fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)
    mount = do.fsmount(fs, 1, 0)
    fd = int(do.openat(mount, "hand", posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o700))
    do.close(fs)
    # A file open for writing cannot be executed (ETXTBSY): the writer closes after the caller wrote.
    return fd


class _Data:
    """What lies behind a batch's entries: strings, structures, room for results; addresses are the hand's."""

    __slots__ = ("base", "bytes", "outs", "seen")

    def __init__(self, base: int) -> None:
        self.base = base
        self.bytes = bytearray()
        self.seen: dict[bytes, int] = {}
        self.outs: list[tuple[Out, int]] = []

    def word(self, arg: Arg) -> int:
        """The argument as a word: a number, or the address of what it is put into."""
        if arg is None:
            return 0
        if isinstance(arg, (int, Result)):  # a Result of an earlier batch is a number by now
            return int(arg) & _MASK
        if isinstance(arg, str):
            return self._place(arg.encode("utf-8", "surrogateescape") + b"\0")
        if isinstance(arg, bytes):
            return self._place(arg + b"\0")
        if isinstance(arg, Words):
            return self._place(pack(f"<{len(arg.items)}Q", *map(self.word, arg.items)))
        address = self.base + len(self.bytes)
        self.bytes.extend(bytes(arg.size + -arg.size % 8))
        self.outs.append((arg, address - BUFFER))
        return address

    def _place(self, raw: bytes) -> int:
        address = self.seen.get(raw)
        if address is None:
            address = self.seen[raw] = self.base + len(self.bytes)
            self.bytes.extend(raw)
            self.bytes.extend(bytes(-len(raw) % 8))
        return address


class Batch(Calls):
    """Calls being gathered; `with hand.batch() as do:` sends them when the block ends."""

    __slots__ = ("entries", "hand", "reply")

    def __init__(self, hand: "Hand") -> None:
        self.hand = hand
        self.entries: list[tuple[str, tuple[Arg, ...], int, Result]] = []
        self.reply = b""

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

    def encode(self) -> tuple[bytes, list[tuple[Out, int]]]:
        """The message, and where in it the kernel will put each Out; raises Error if it is too long."""
        data = _Data(BUFFER + 64 * len(self.entries) + 8)
        table = bytearray()
        for name, args, flags, _ in self.entries:
            words = [0, 0, 0, 0, 0, 0]
            for i, arg in enumerate(args):
                if isinstance(arg, Result) and arg.index < len(self.entries) and self.entries[arg.index][3] is arg:
                    flags |= 256 << i
                    words[i] = BUFFER + 64 * arg.index
                else:
                    words[i] = data.word(arg)
            table += _ENTRY(number(name), *words, flags)
        message = bytes(table) + _END + bytes(data.bytes)
        if len(message) > SIZE:
            raise Error(f"a batch of {len(message)} bytes does not fit the hand's {SIZE}")
        return message, data.outs

    def decode(self, reply: bytes, outs: "list[tuple[Out, int]]") -> None:
        """Put results and Out data in place; raises SyscallError for the call that ended the batch."""
        for out, offset in outs:
            out.data = reply[offset : offset + out.size]
        for index, (name, args, flags, result) in enumerate(self.entries):
            if flags >> 56:
                continue
            result.value = unpack_from("<q", reply, 64 * index)[0]
            if trace.sink:
                trace.report(f"hand {self.hand.pid}", name, args, result.value)
            if result.value < 0 and not flags & TOLERATE:
                raise failure(name, args, -result.value)


class Hand:
    """A running hand; `pid` is ours to wait for. Closing the control socket ends it where it still listens."""

    __slots__ = ("control", "pid", "socket")

    def __init__(self, keep: int = 0) -> None:
        """Spawn one in our namespaces, with our standard streams and the `keep` fds from 3 on."""
        self.control = 3 + keep
        self.socket, theirs = _socketpair()
        with_theirs = theirs.fileno()
        argv = ["minirunc", "init"] + [""] * (self.control - 2)
        try:
            self.pid = posix.posix_spawn(
                f"/proc/self/fd/{_sealed_image()}",
                argv,
                {},
                file_actions=[(posix.POSIX_SPAWN_DUP2, with_theirs, self.control)],
                setsigmask=(),
                setsigdef=_SIGNALS,
            )
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()
        with self.batch() as do:
            # Before anything else, while it has all capabilities: nobody below us may ptrace it (CVE-2016-9962).
            do.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
            do.prctl(PR_SET_NAME, "minirunc:[init]")
            do.close_range(self.control + 1)

    def batch(self) -> Batch:
        """A new batch; nothing happens before its block ends."""
        return Batch(self)

    def execute(self, batch: Batch) -> None:
        """Send, wait for the results, put them in place; raises SyscallError naming the call that failed."""
        message, outs = batch.encode()
        self._send(message)
        reply = self._receive()
        if len(reply) != len(message):
            raise (
                self._gone(batch)
                if not reply
                else SecurityError(f"the hand sent {len(reply)} bytes back, not {len(message)}")
            )
        batch.decode(reply, outs)
        _, _, flags, result = batch.entries[-1]
        if flags & FORKS and result.value > 0:
            posix.waitpid(self.pid, 0)
            self.pid = result.value

    def finish(self, batch: Batch) -> None:
        """Send the last batch, the one that ends in execve, and let go."""
        message, _ = batch.encode()
        if trace.sink:
            for name, args, flags, _ in batch.entries:
                if not flags >> 56:
                    trace.report(f"hand {self.pid}, last batch", name, args, 0)
        self._send(message)

    def become(self, batch: Batch) -> None:
        """Send a batch that ends in execve and wait until that closed the control socket; raises SyscallError."""
        with self.batch() as do:
            do.fcntl(self.control, 2, 1)  # F_SETFD, FD_CLOEXEC
        message, outs = batch.encode()
        self._send(message)
        if reply := self._receive():
            batch.decode(reply, outs)

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
            batch.decode(self._receive() or bytes(len(message)), outs)
        return address

    def send_fd(self, fd: int) -> int:
        """Hand over a file; returns its number inside."""
        control = Out(24)  # one cmsghdr with one fd
        batch = self.batch()
        batch.recvmsg(self.control, Words(0, 0, Words(Out(8), 1), 1, control, 24, 0), 0x40000000)  # MSG_CMSG_CLOEXEC
        message, outs = batch.encode()
        self._send(message)
        self.socket.sendmsg([b"f"], [(1, 1, pack("<i", fd))])  # SOL_SOCKET, SCM_RIGHTS
        batch.decode(self._receive(), outs)
        return int(unpack_from("<i", control.data, 16)[0])

    def receive_fd(self, fd: Fd) -> int:
        """Fetch a file the hand has open; returns its number here, close-on-exec."""
        batch = self.batch()
        control = pack("<QiiiI", 20, 1, 1, int(fd), 0)
        batch.sendmsg(self.control, Words(0, 0, Words(b"f", 1), 1, control, 24, 0), 0)
        message, outs = batch.encode()
        self._send(message)
        _, ancillary, _, _ = self.socket.recvmsg(1, 24, 0x40000000)  # MSG_CMSG_CLOEXEC
        batch.decode(self._receive(), outs)
        if len(ancillary) != 1 or len(ancillary[0][2]) < 4:
            raise SecurityError("the hand sent no file")
        return int(unpack_from("<i", ancillary[0][2])[0])

    def close(self) -> None:
        """Let go of the control socket."""
        self.socket.close()

    def kill(self) -> None:
        """End it, whatever it does, and reap it: the path of every failure."""
        self.socket.close()
        try:
            posix.kill(self.pid, 9)
            posix.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def _send(self, message: bytes) -> None:
        try:
            self.socket.send(message, 0x4000)  # MSG_NOSIGNAL
        except OSError as error:
            if error.errno not in (32, 104):  # EPIPE, ECONNRESET: told by the empty answer
                raise

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(SIZE)
        except ConnectionResetError:
            return b""

    def _gone(self, batch: Batch) -> Error:
        pid, status = posix.waitpid(self.pid, posix.WNOHANG)
        how = "it is gone" if not pid else f"it was killed by signal {status & 127}" if status & 127 else "it left"
        return Error(f"the hand (pid {self.pid}) did not answer {batch.entries[0][0]}: {how}")


def _socketpair() -> "tuple[socket, socket]":
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    ours.setsockopt(1, 7, 2 * SIZE)  # SO_SNDBUF: a whole batch, whatever net.core.wmem_default is
    theirs.setsockopt(1, 7, 2 * SIZE)
    return ours, theirs


__all__ = ["CLOSE_RANGE_CLOEXEC", "Batch", "Hand"]
