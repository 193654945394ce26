"""Forms: calls for the hand that are written down once and sent many times, each time with other strings.

    form    a batch whose strings, in part, are Blanks; made into one large number, a word a lane
    series  forms with their strings, one after the other in one message: the number, plus the addresses times a one
            in each lane that holds one

Ten thousand mounts are a thousand of these numbers and additions, not a hundred thousand calls spelled out.
"""

from struct import pack, unpack_from

from minirunc.base.errors import SecurityError
from minirunc.kernel.hand import TOLERATE, Batch, Hand
from minirunc.kernel.hand_code import BUFFER, SIZE
from minirunc.kernel.syscalls import Arg, Out, Result, Words, number

_MASK = (1 << 64) - 1
_OPENERS = ("fsmount", "fsopen", "open_tree", "openat", "openat2")
_MAX_ERRNO = 4095
_END = b"\xff" * 8


class Blank(str):
    """A string that differs from one sending to the next; its text is its name."""

    __slots__ = ()


class Form(Batch):
    """A batch that is not sent when its block ends, but ready to be."""

    __slots__ = ("_addresses", "_blanks", "_words", "block", "musts", "outs", "results")

    def __init__(self, hand: Hand, blanks: tuple[Blank, ...]) -> None:
        super().__init__(hand)
        self._blanks = dict.fromkeys(blanks, 0)  # a one in each lane where its address goes
        self.block = b""  # what lies behind: constant strings, structures, room
        self.outs: dict[int, int] = {}  # where in it an Out is, by the Out's id

    def __enter__(self) -> "Form":
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        if kind is None:
            self._compile()

    def _compile(self) -> None:
        table = bytearray()
        references = data = 0
        for index, (name, args, flags, _) in enumerate(self.entries):
            words = [number(name)]
            for place, arg in enumerate(args):
                one = 1 << 64 * (8 * index + 1 + place)
                if isinstance(arg, Result):
                    flags |= 256 << place
                    references |= one
                    words.append(64 * arg.index)
                elif isinstance(arg, Blank):
                    self._blanks[arg] |= one
                    words.append(0)
                elif arg is None or isinstance(arg, int):
                    words.append((arg or 0) & _MASK)
                else:
                    data |= one
                    words.append(self._put(arg))
            table += pack("<8Q", *words, *(0,) * (7 - len(words)), flags)
        self._words = int.from_bytes(table, "little")
        self._addresses = references, data, tuple(self._blanks.values())
        self.musts = [index for index, entry in enumerate(self.entries) if not entry[2] & TOLERATE]

    def _put(self, arg: Arg) -> int:
        """Append to the block; returns where."""
        at = len(self.block)
        if isinstance(arg, Out):
            self.outs[id(arg)] = at
            raw = bytes(arg.size)
        elif isinstance(arg, Words):
            raw = pack(f"<{len(arg.items)}Q", *[item & _MASK for item in arg.items if isinstance(item, int)])
        else:
            assert isinstance(arg, str)
            raw = arg.encode("utf-8", "surrogateescape") + b"\0"
        self.block += raw + bytes(-len(raw) % 8)
        return at

    def table(self, index: int, address: int, strings: list[bytes]) -> bytes:
        """The entries, for this place in the series, and for a block at `address` with the strings behind it."""
        references, data, blanks = self._addresses
        words = self._words + references * (BUFFER + 64 * index) + data * address
        address += len(self.block)
        for ones, string in zip(blanks, strings, strict=True):
            words += ones * address
            address += len(string)
        return words.to_bytes(64 * len(self.entries), "little")


class Part:
    """One form of a series and, when it was sent, what came of it."""

    __slots__ = ("_at", "_reply", "form", "strings", "values")

    def __init__(self, form: Form, strings: list[bytes]) -> None:
        self.form = form
        self.strings = strings
        self.values: list[int] = []  # results; as many as calls were made
        self._reply = b""
        self._at = 0

    def take(self, reply: bytes, at: int, values: list[int]) -> bool:
        """Keep the results; False if a call failed that may not, which is the last of `values` then."""
        self._reply, self._at, self.values = reply, at, values
        for must in self.form.musts:
            if values[must] < 0:
                del values[must + 1 :]
                return False
        return True

    def out(self, out: Out) -> bytes:
        """What the kernel put there."""
        at = self._at + self.form.outs[id(out)]
        return self._reply[at : at + out.size]

    def left_open(self) -> list[int]:
        """The files that a part which failed has opened and not closed."""
        opened: list[int] = []
        for (name, args, _, _), value in zip(self.form.entries, self.values, strict=False):
            if name in _OPENERS and value >= 0:
                opened.append(value)
            elif name == "close" and isinstance(args[0], Result) and self.values[args[0].index] in opened:
                opened.remove(self.values[args[0].index])
        return opened


class Series(Batch):
    """Forms to be sent at once; a call that fails and may not ends them: `failed` is its part."""

    __slots__ = ("_size", "failed", "parts")

    def __init__(self, hand: Hand) -> None:
        super().__init__(hand)
        self.parts: list[Part] = []
        self.failed: Part | None = None
        self._size = len(_END)

    def add(self, form: Form, *strings: str) -> bool:
        """False if there is no room left."""
        raw = [string.encode("utf-8", "surrogateescape") for string in strings]
        padded = [text + bytes(8 - len(text) % 8) for text in raw]  # a NUL at least
        size = 64 * len(form.entries) + len(form.block) + sum(map(len, padded))
        if self._size + size > SIZE:
            return False
        self._size += size
        self.parts.append(Part(form, padded))
        return True

    def send(self) -> None:
        """Send them and put the results in place."""
        if self.parts:
            self.entries = self.parts[0].form.entries[:1]  # for who asks what was sent
            self.hand.execute(self)

    def encode(self) -> tuple[bytes, list[tuple[Out, int]]]:
        """The message."""
        count = sum(len(part.form.entries) for part in self.parts)
        address = BUFFER + 64 * count + len(_END)
        index = 0
        table: list[bytes] = []
        data: list[bytes] = []
        for part in self.parts:
            form = part.form
            table.append(form.table(index, address, part.strings))
            index += len(form.entries)
            data += (form.block, *part.strings)
            address += len(form.block) + sum(map(len, part.strings))
        return b"".join([*table, _END, *data]), []

    def decode(self, reply: bytes, outs: "list[tuple[Out, int]]") -> None:  # noqa: ARG002 - there are none
        """Results, part by part, up to a failure."""
        count = sum(len(part.form.entries) for part in self.parts)
        values = list(unpack_from("<" + "q56x" * count, reply))
        if min(values) < -_MAX_ERRNO:
            raise SecurityError(f"the hand sent {min(values)} back, which no system call returns")
        at = 64 * count + len(_END)
        index = 0
        for part in self.parts:
            after = index + len(part.form.entries)
            if not part.take(reply, at, values[index:after]):
                self.failed = part
                return
            index = after
            at += len(part.form.block) + sum(map(len, part.strings))
