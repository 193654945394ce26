"""JSON text: read by the C scanner of the json library without its import; the library only words errors.

Plain text, as our own state.json is, is read and written here: loading the scanner's shared library costs 0.4 ms.
"""

from minirunc.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SPACE = " \t\n\r"
_DEPTH = "nested too deeply"
_SHORT = 4096  # characters; longer texts are for the scanner


class _Context:
    """What make_scanner asks its settings of."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: "dict[str, str]" = {}

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(name)


def loads(text: str | bytes, name: str) -> object:
    """The value of a JSON text. Of members with the same name the last one wins.

    Raises Error, naming the place: `config.json:7:12: expecting ',' delimiter`.
    """
    try:
        text = text if isinstance(text, str) else text.decode()
        if len(text) < _SHORT and "\\" not in text and text.isprintable():
            try:
                return _plain(text)
            except (ValueError, IndexError):
                pass
        start = len(text) - len(text.lstrip(_SPACE))
        value, end = _scan(text, start)
        if not text[end:].strip(_SPACE):
            return value
    except (ValueError, StopIteration, RecursionError, SystemError):  # the last where json is not imported
        pass
    return _explain(text, name)


def _scan(text: str, start: int) -> "tuple[Any, int]":
    from _json import make_scanner

    scanner: Callable[[str, int], tuple[Any, int]] = make_scanner(_Context)  # type: ignore[arg-type]
    return scanner(text, start)


def _plain(text: str) -> object:
    """The value of a text of objects, lists, strings without escapes and whole numbers; else raises ValueError.

    Without escapes every second piece between quotes is a string.
    """
    tokens: list[str] = []
    for index, piece in enumerate(text.split('"')):
        if index & 1:
            tokens.append('"' + piece)
        else:
            for mark in "{}[],:":
                piece = piece.replace(mark, f" {mark} ")
            tokens += piece.split()
    tokens.reverse()
    value = _take(tokens)
    if tokens or text.count('"') & 1:
        raise ValueError(text)
    return value


def _take(tokens: list[str]) -> object:
    token = tokens.pop()
    if token[0] == '"':
        return token[1:]
    if token not in ("{", "["):
        if not (token.isdigit() and token.isascii()) or token[0] == "0" != token:
            raise ValueError(token)
        return int(token)
    end = "}" if token == "{" else "]"
    items: list[Any] = []
    names: list[str] = []
    while tokens[-1] != end or items:
        if end == "}":
            names.append(tokens.pop())
            if names[-1][0] != '"' or tokens.pop() != ":":
                raise ValueError(token)
        items.append(_take(tokens))
        if tokens[-1] == end:
            break
        if tokens.pop() != ",":
            raise ValueError(token)
    tokens.pop()
    return items if end == "]" else {name[1:]: item for name, item in zip(names, items, strict=True)}


def _explain(text: str | bytes, name: str) -> object:
    """Hand the text that the scanner refused to the json library, and its words to the reader."""
    import json  # cold: only a broken text comes here

    try:
        text = text if isinstance(text, str) else text.decode()
        return json.loads(text, parse_constant=_Context.parse_constant)
    except json.JSONDecodeError as broken:
        why = (broken.msg[:1].lower() + broken.msg[1:]).removesuffix(" at")
        if broken.doc.startswith("\ufeff"):
            why = "begins with a byte order mark"
        raise Error(f"{name}:{broken.lineno}:{broken.colno}: {why}") from None
    except UnicodeDecodeError as broken:
        line = broken.object.count(b"\n", 0, broken.start) + 1
        column = broken.start - broken.object.rfind(b"\n", 0, broken.start)
        raise Error(f"{name}:{line}:{column}: not UTF-8") from None
    except RecursionError:
        raise Error(f"{name}: {_DEPTH}") from None
    except ValueError:
        import re

        # what the library reads and we do not, outside strings
        for token in re.finditer(r'"(?:\\.|[^"\\])*"|-?(?:NaN|Infinity|[0-9]{4000,})', str(text)):
            if token[0][0] != '"':
                line = token.string.count("\n", 0, token.start()) + 1
                column = token.start() - token.string.rfind("\n", 0, token.start())
                why = "a number of too many digits" if token[0][-1].isdigit() else f"{token[0]} is not JSON"
                raise Error(f"{name}:{line}:{column}: {why}") from None
        raise


def dumps(value: object, indent: int | str = 0) -> str:
    """The JSON text of str, bool, int, float, None, and lists and dicts of them; ASCII only.

    Compact without indent; else a member a line, indented by so many spaces or by the string given.
    Raises Error for NaN, infinity, any other type and too deep nesting.
    """
    parts: list[str] = []
    try:
        _write(value, "\n" if indent else "", " " * indent if isinstance(indent, int) else indent, parts)
    except RecursionError:
        raise Error(f"JSON value {_DEPTH}") from None
    return "".join(parts)


def _string(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    from _json import encode_basestring_ascii

    return encode_basestring_ascii(text)


def _write(value: object, line: str, unit: str, parts: list[str]) -> None:
    """Append the text of a value; `line` is the line break with the indentation of what holds it."""
    if isinstance(value, str):
        parts.append(_string(value))
    elif value is None or value is True or value is False:
        parts.append("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        parts.append(int.__repr__(value))
    elif isinstance(value, float):
        if value - value != 0:
            raise Error(f"JSON has no {value!r}")
        parts.append(float.__repr__(value))
    elif isinstance(value, dict | list):
        if not value:
            parts.append("{}" if isinstance(value, dict) else "[]")
            return
        inner = line + unit
        mark = "{" if isinstance(value, dict) else "["
        if isinstance(value, dict):
            for name, item in value.items():
                parts += (mark, inner, _string(name), ": " if line else ":")
                _write(item, inner, unit, parts)
                mark = ","
        else:
            for item in value:
                parts += (mark, inner)
                _write(item, inner, unit, parts)
                mark = ","
        parts += (line, "}" if isinstance(value, dict) else "]")
    else:
        raise Error(f"JSON has no form for {type(value).__name__}")
