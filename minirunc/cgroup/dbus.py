"""D-Bus, as far as systemd is spoken to: a connection, calls and signals, each waited for until a time and no longer.

    we                                 the bus (or systemd itself, at its private socket)
    \\0 AUTH EXTERNAL, DATA, BEGIN --> who we are says the socket: in a user namespace, too
                                  <--  DATA, OK
    Hello                         -->  only a bus wants it
    method_call, serial n         -->
                                  <--  method_return or error, reply_serial n; signals at any time

Source: the D-Bus specification, "Authentication Protocol" and "Message Protocol". jeepney makes and reads the messages.
"""

import posix
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket
from select import POLLIN, poll
from time import monotonic, sleep

from minirunc.base import seams
from minirunc.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = tuple[Any, ...]

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")

_AUTH = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"
_LINE = 8192  # bytes; none of the handshake's is nearly as long


class Late(Error):
    """It was not done in time; the message says what was waited for."""


class Dropped(Error):
    """The other side closed the connection: what was asked last may or may not have been done."""


class Refused(Error):
    """The answer is an error; `name` is D-Bus's name for it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name


class Connection:
    """To one socket; closed by close(). Times are time.monotonic()'s."""

    __slots__ = ("_low", "_parser", "_serial", "_socket", "address", "is_bus", "signals")

    def __init__(self, address: str, *, is_bus: bool, end: float) -> None:
        """`address` is a path, or @NAME in the abstract namespace. Raises OSError where nobody listens."""
        self._low = seams.jeepney()
        self._parser = self._low.Parser()
        self._serial = 0
        self.address = address
        self.is_bus = is_bus
        self.signals: list[tuple[str, Body]] = []  # (member, body), in the order of arrival
        self._socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            self._connect(end)
            self._authenticate(end)
            if is_bus:
                self.call(BUS, "Hello", end=end)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def call(self, to: tuple[str, str, str], member: str, signature: str = "", *body: object, end: float) -> "Body":
        """Call a method of (name on the bus, object, interface); returns the answer. Raises Late, Dropped, Refused."""
        low = self._low
        field = low.HeaderFields
        name, path, interface = to
        fields = {field.path: path, field.interface: interface, field.member: member}
        if self.is_bus:
            fields[field.destination] = name
        if signature:
            fields[field.signature] = signature
        self._serial += 1
        header = low.Header(low.Endianness.little, low.MessageType.method_call, 0, 1, 0, self._serial, fields)
        waiting_for = f"no answer to {member} from {self.address}"
        self._send(low.Message(header, body).serialise(), waiting_for, end)
        while True:
            message = self._next(waiting_for, end)
            if message.header.fields.get(field.reply_serial) == self._serial:
                break
        if message.header.message_type is low.MessageType.error:
            text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
            raise Refused(message.header.fields[field.error_name], text)
        answer: Body = message.body
        return answer

    def wait_for_signal(self, waiting_for: str, end: float) -> None:
        """Until there is one more in `signals`. Raises Late, saying what was waited for, and Dropped."""
        had = len(self.signals)
        while len(self.signals) == had:
            self._next(waiting_for, end)

    def _connect(self, end: float) -> None:
        self._socket.settimeout(0)
        while True:
            try:
                self._socket.connect(self.address.replace("@", "\0", 1) if self.address[0] == "@" else self.address)
                return
            except BlockingIOError:  # too many are waiting to be let in: unix(7), EAGAIN
                if monotonic() > end:
                    raise Late(f"no connection to {self.address}") from None
                sleep(0.01)

    def _authenticate(self, end: float) -> None:
        waiting_for = f"no authentication by {self.address}"
        self._send(_AUTH, waiting_for, end)
        text = b""
        while text.count(b"\r\n") < 2:
            # To the byte: what follows is a message.
            text += self._receive(1, waiting_for, end)
            if text.startswith((b"REJECTED", b"ERROR", b"DATA\r\nREJECTED", b"DATA\r\nERROR")) or len(text) > _LINE:
                raise Refused("Auth", f"{self.address} does not let us in (AUTH EXTERNAL as uid {posix.geteuid()})")

    def _next(self, waiting_for: str, end: float) -> "Any":
        """The next message; a signal is put aside, too."""
        while (message := self._parser.get_next_message()) is None:
            self._parser.add_data(self._receive(65536, waiting_for, end))
        if message.header.message_type is self._low.MessageType.signal:
            self.signals.append((message.header.fields[self._low.HeaderFields.member], message.body))
        return message

    def _send(self, data: bytes, waiting_for: str, end: float) -> None:
        self._socket.settimeout(max(end - monotonic(), 0.001))
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise Late(waiting_for) from None
        except (BrokenPipeError, ConnectionResetError):
            raise Dropped(f"the connection was lost: {waiting_for}") from None

    def _receive(self, most: int, waiting_for: str, end: float) -> bytes:
        watch = poll()
        watch.register(self._socket.fileno(), POLLIN)
        if not watch.poll(max(end - monotonic(), 0) * 1000):
            raise Late(waiting_for)
        try:
            data = self._socket.recv(most)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Dropped(f"the connection was lost: {waiting_for}")
        return data


def socket_addresses(text: str) -> list[str]:
    """Those of a D-Bus address that are Unix sockets: `unix:path=/run/user/1000/bus,guid=...;tcp:...`."""
    found = []
    for one in text.split(";"):
        transport, _, rest = one.partition(":")
        pairs = dict(pair.partition("=")[::2] for pair in rest.split(","))
        if transport == "unix" and pairs.get("path", "").startswith("/"):
            found.append(_unescaped(pairs["path"]))
        elif transport == "unix" and pairs.get("abstract"):
            found.append("@" + _unescaped(pairs["abstract"]))
    return found


def _unescaped(value: str) -> str:
    """%xx is a byte."""
    first, *rest = value.split("%")
    try:
        return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)
    except ValueError:
        return value
