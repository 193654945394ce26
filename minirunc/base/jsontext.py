"""JSON text: read by the C scanner of the json library without its import; the library only words errors."""

from _json import encode_basestring_ascii, make_scanner

from minirunc.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SPACE = " \t\n\r"
_DEPTH = "nested too deeply"


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
        start = len(text) - len(text.lstrip(_SPACE))
        value, end = _scan(text, start)
        if not text[end:].strip(_SPACE):
            return value
    except (ValueError, StopIteration, RecursionError):
        pass
    return _explain(text, name)


_scan: "Callable[[str, int], tuple[Any, int]]" = make_scanner(_Context)  # type: ignore[arg-type]


def _explain(text: str | bytes, name: str) -> object:
    """Hand the text that the scanner refused to the json library, and its words to the reader."""
    import json  # cold: only a broken text comes here

    try:
        text = text if isinstance(text, str) else text.decode()
        return json.loads(text, parse_constant=_Context.parse_constant)
    except json.JSONDecodeError as broken:
        why = broken.msg[:1].lower() + broken.msg[1:]
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


def _write(value: object, line: str, unit: str, parts: list[str]) -> None:
    """Append the text of a value; `line` is the line break with the indentation of what holds it."""
    if isinstance(value, str):
        parts.append(encode_basestring_ascii(value))
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
                parts += (mark, inner, encode_basestring_ascii(name), ": " if line else ":")
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
