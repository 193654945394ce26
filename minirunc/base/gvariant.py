"""Values in GVariant's text form, as the annotations org.systemd.property.* have them, for D-Bus.

    'inactive-or-failed'   true   -5   uint64 123   1.5   ['a', 'b']   @as []   ('/dev/null', 'rw')   {'a': <1>}

Source: "GVariant Text Format" of GLib. Left out is what no property of a unit can be: maybe types, handles, object
paths, signatures.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Typed = tuple[str, Any]  # D-Bus signature, value: a struct is a tuple, a variant a Typed, the rest Python's own

_BITS = {
    "y": (0, 8),
    "n": (1, 16),
    "q": (0, 16),
    "i": (1, 32),
    "u": (0, 32),
    "x": (1, 64),
    "t": (0, 64),
}  # signed, bits
_KEYWORDS = {
    "boolean": "b", "byte": "y", "double": "d", "int16": "n", "int32": "i", "int64": "x", "string": "s",
    "uint16": "q", "uint32": "u", "uint64": "t",
}  # fmt: skip
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_END = frozenset(" \t\n\r,:])}>")
_DEEPEST = 32  # D-Bus has no deeper arrays and structs


def parse(text: str) -> "Typed":
    """The value's D-Bus signature and the value. Raises ValueError, saying what was expected, and where."""
    reader = _Reader(text)
    typed = reader.value("", 0)
    if reader.peek():
        raise reader.wrong("expected no more")
    return typed


class _Reader:
    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def wrong(self, why: str) -> ValueError:
        return ValueError(f"{why} at character {self.at + 1}")

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, wanted: str) -> bool:
        found = self.peek() == wanted
        self.at += found
        return found

    def need(self, wanted: str) -> None:
        if not self.take(wanted):
            raise self.wrong(f"expected {wanted}")

    def value(self, kind: str, depth: int) -> "Typed":
        """Of the signature `kind`, if that is known: "" is whatever it looks like."""
        if depth > _DEEPEST:
            raise self.wrong("too deep")
        first = self.peek()
        if first == "@":
            self.at += 1
            return self.value(self.agreed(kind, self.signature(depth)), depth + 1)
        if first and first in "'\"":
            return self.agreed(kind, "s"), self.string()
        if first == "b" and self.text[self.at + 1 : self.at + 2] in ("'", '"'):
            self.at += 1
            return self.agreed(kind, "ay"), self.string().encode() + b"\0"
        below = {"[": self.array, "(": self.struct, "{": self.dictionary, "<": self.variant}.get(first)
        if below:
            self.at += 1
            return below(kind, depth + 1)
        word = self.word()
        if word in ("true", "false"):
            return self.agreed(kind, "b"), word == "true"
        if word in _KEYWORDS:
            return self.value(self.agreed(kind, _KEYWORDS[word]), depth + 1)
        return self.number(word, kind)

    def agreed(self, kind: str, found: str) -> str:
        if kind not in ("", found):
            raise self.wrong(f"expected a value of type {kind}, got one of type {found}")
        return found

    def word(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in _END:
            self.at += 1
        return self.text[start : self.at]

    def number(self, word: str, kind: str) -> "Typed":
        sign, digits = (-1, word[1:]) if word[:1] == "-" else (1, word.removeprefix("+"))
        if not (digits[:1].isdigit() or digits[:1] == ".") or not digits.isascii() or "_" in digits:
            raise self.wrong(f'expected a value, got "{word}"')
        is_float = kind == "d" or (not digits.startswith("0x") and set(digits) & set(".eE"))
        kind = self.agreed(kind, "d") if is_float else kind or "i"
        octal = digits[0] == "0" and digits.isdigit()
        try:
            number = sign * (float(digits) if is_float else int(digits, 8 if octal else 0))
        except ValueError:
            raise self.wrong(f'expected a number, got "{word}"') from None
        if kind == "d":
            return kind, number
        if kind not in _BITS:
            raise self.wrong(f'expected a value of type {kind}, got "{word}"')
        signed, bits = _BITS[kind]
        if not -(signed << bits - 1) <= number < 1 << bits - signed:
            raise self.wrong(f"{word} does not fit into type {kind}")
        return kind, number

    def string(self) -> str:
        quote = self.text[self.at]
        self.at += 1
        found = []
        while (letter := self.text[self.at : self.at + 1]) != quote:
            if not letter:
                raise self.wrong(f"expected {quote}")
            self.at += 1
            found.append(self.escape() if letter == "\\" else letter)
        self.at += 1
        whole = "".join(found)
        if "\0" in whole or any("\ud800" <= letter <= "\udfff" for letter in whole):
            raise self.wrong("a NUL or half of a surrogate pair is in the string")
        return whole

    def escape(self) -> str:
        letter = self.text[self.at : self.at + 1]
        self.at += len(letter)
        length = {"u": 4, "U": 8}.get(letter, 0)
        if not length:
            return _ESCAPES.get(letter, letter)
        digits = self.text[self.at : self.at + length]
        self.at += length
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise self.wrong(f'"{digits}" is not the number of a character') from None

    def array(self, kind: str, depth: int) -> "Typed":
        if kind and kind[0] != "a":
            raise self.wrong(f"expected a value of type {kind}, got an array")
        inner = kind[1:]
        found: list[Any] = []
        while not self.take("]"):
            if found:
                self.need(",")
            inner, one = self.value(inner, depth)
            found.append(one)
        if not inner:
            raise self.wrong("an empty array needs a type, as in @as []")
        return "a" + inner, found

    def struct(self, kind: str, depth: int) -> "Typed":
        if kind and kind[0] != "(":
            raise self.wrong(f"expected a value of type {kind}, got a tuple")
        inner = _Reader(kind[1:-1])
        kinds = ""
        found: list[Any] = []
        while not self.take(")"):
            if found:
                self.need(",")
                if len(found) == 1 and self.take(")"):  # (1,)
                    break
            if kind and not inner.peek():
                raise self.wrong(f"expected a value of type {kind}, got more")
            one, value = self.value(inner.signature(depth) if kind else "", depth)
            kinds += one
            found.append(value)
        if not found or inner.peek():
            raise self.wrong(f"expected a value of type {kind}, got less" if kind else "a tuple cannot be empty")
        return f"({kinds})", tuple(found)

    def dictionary(self, kind: str, depth: int) -> "Typed":
        if kind and kind[:2] != "a{":
            raise self.wrong(f"expected a value of type {kind}, got a dictionary")
        names, values = kind[2:3], kind[3:-1]
        found: dict[Any, Any] = {}
        while not self.take("}"):
            if found:
                self.need(",")
            names, name = self.value(names, depth)
            if len(names) > 1 or names == "v":
                raise self.wrong("a key must be a plain value")
            self.need(":")
            values, found[name] = self.value(values, depth)
        if not names:
            raise self.wrong("an empty dictionary needs a type, as in @a{sv} {}")
        return f"a{{{names}{values}}}", found

    def variant(self, kind: str, depth: int) -> "Typed":
        kind = self.agreed(kind, "v")
        inside = self.value("", depth)
        self.need(">")
        return kind, inside

    def signature(self, depth: int) -> str:
        """One complete type."""
        start = self.at
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if depth > _DEEPEST or not letter or letter not in "bdsva(ynqiuxt":
            self.at = start
            raise self.wrong("expected a type")
        if letter == "a":
            if self.text[self.at : self.at + 1] != "{":
                return "a" + self.signature(depth + 1)
            self.at += 1
            names, values = self.signature(depth + 1), self.signature(depth + 1)
            self.need("}")
            if len(names) > 1 or names == "v":
                raise self.wrong("a key must be a plain value")
            return f"a{{{names}{values}}}"
        if letter == "(":
            parts = [self.signature(depth + 1)]
            while not self.take(")"):
                parts.append(self.signature(depth + 1))
            return f"({''.join(parts)})"
        return letter
