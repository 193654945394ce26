"""Record: a class body's annotations become `__slots__`, OCI names, defaults and a parser that names paths.

    class Rlimit(Record):
        type: str                       # no default: the member must be there
        soft: UInt64                    # an integer of a range
        comment: str | None             # None when absent
        tags: list[str] = []            # each record gets its own list
        seccomp: "Seccomp | None"       # in quotes: a record of the submodule named after the field, imported
                                        # when the member is met first
        linux: "Linux" = EMPTY          # when absent: the record of `{}`

`Rlimit.parse(value)` reads a JSON value. A JSON null is an absent member; unknown members are ignored, as the
spec says. A name that is not plain camelCase stands in the class: `NAMES = {"container_id": "containerID"}`.
"""

import sys

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self, TypeAlias

    UInt16: TypeAlias = int
    UInt32: TypeAlias = int
    UInt64: TypeAlias = int
    Int32: TypeAlias = int
    Int64: TypeAlias = int
else:

    class UInt16(int):
        LOW, HIGH = 0, 2**16 - 1

    class UInt32(int):
        LOW, HIGH = 0, 2**32 - 1

    class UInt64(int):
        LOW, HIGH = 0, 2**64 - 1

    class Int32(int):
        LOW, HIGH = -(2**31), 2**31 - 1

    class Int64(int):
        LOW, HIGH = -(2**63), 2**63 - 1


EMPTY: "Any" = object()
_MISSING = object()
_UNION: "Any" = type(int | None)
_GENERIC: "Any" = type(list[int])
_EXPECTED = {str: "a string", bool: "true or false", int: "an integer", float: "a number"}


class Wrong(Exception):
    """A value is not what was expected; gathers the steps of its JSON path while unwinding."""

    def __init__(self, why: str, *steps: str) -> None:
        self.why = why
        self.steps = list(steps)  # innermost first

    def where(self, start: str) -> str:
        return start + "".join(reversed(self.steps)) if start else "".join(reversed(self.steps)).lstrip(".")


def describe(value: object) -> str:
    """A JSON value as an error message names it: `a string ("12")`."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'a string ("{_short(value)}")'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"an integer ({_short(str(value))})"
    if isinstance(value, float):
        return f"a number ({value!r})"
    return "a list" if isinstance(value, list) else "an object"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "..."


def _refuse(expected: str, value: object) -> Wrong:
    return Wrong(f"expected {expected}, got {describe(value)}")


def _plain(kind: type) -> "Callable[[Any], Any]":
    """Converter of str, bool, float or an integer with or without a range."""
    if kind is float:

        def number(value: object) -> float:
            if type(value) is float or type(value) is int:
                return value
            raise _refuse("a number", value)

        return number

    if issubclass(kind, int) and kind is not bool:
        low: int | None = getattr(kind, "LOW", None)
        high: int = getattr(kind, "HIGH", 0)

        def integer(value: object) -> int:
            if type(value) is not int:  # a bool is not one, nor is 1.0
                raise _refuse("an integer", value)
            if low is not None and not low <= value <= high:
                raise Wrong(f"expected an integer from {low} to {high}, got {_short(str(value))}")
            return value

        return integer

    expected = _EXPECTED[kind]

    def exact(value: object) -> object:
        if type(value) is kind:
            return value
        raise _refuse(expected, value)

    return exact


def _list_of(kind: "Any") -> "Callable[[Any], Any]":
    convert = _converter(kind)

    def array(value: object) -> "list[Any]":
        if type(value) is not list:
            raise _refuse("a list", value)
        if kind is str:  # the common case: nothing to convert
            for item in value:
                if type(item) is not str:
                    break
            else:
                return value
        result: list[Any] = []
        try:
            for item in value:
                result.append(convert(item))  # noqa: PERF401  # so its length is the index
        except Wrong as wrong:
            wrong.steps.append(f"[{len(result)}]")
            raise
        return result

    return array


def _dict_of(kind: "Any") -> "Callable[[Any], Any]":
    """Its names are data, so a path shows them in brackets: `linux.sysctl["net.core.somaxconn"]`."""
    convert = _converter(kind)

    def members(value: object) -> "dict[str, Any]":
        if type(value) is not dict:
            raise _refuse("an object", value)
        result, name = {}, ""
        try:
            for name, item in value.items():
                if item is not None:
                    result[name] = convert(item)
                elif isinstance(kind, RecordType):  # it is there, and says nothing: {"eth0": null} asks for a device
                    result[name] = convert({})
        except Wrong as wrong:
            wrong.steps.append(f'["{name}"]')
            raise
        return result

    return members


def _anything(value: object) -> object:
    return value


_converters: "dict[Any, Callable[[Any], Any]]" = {object: _anything}


def _converter(kind: "Any") -> "Callable[[Any], Any]":
    """The function that checks a JSON value against an annotation and returns what the record holds."""
    known = _converters.get(kind)
    if known is not None:
        return known
    if type(kind) is _UNION:
        made = _converter(kind.__args__[0])
    elif type(kind) is _GENERIC:
        made = _list_of(kind.__args__[0]) if kind.__origin__ is list else _dict_of(kind.__args__[1])
    else:
        made = getattr(kind, "from_json", None) or _plain(kind)
    _converters[kind] = made
    return made


def _resolve(owner: "RecordType", field: str, text: str) -> "Any":
    """An annotation in quotes as an object."""
    module_name = f"{owner.__module__}.{field}"
    __import__(module_name)
    module = sys.modules[module_name]
    name = text.removesuffix(" | None")
    outer, _, inner = name.removesuffix("]").rpartition("[")
    record: Any = getattr(module, inner.removeprefix("str, "))
    return list[record] if outer == "list" else dict[str, record] if outer else record


def kind_of(owner: "RecordType", name: str) -> "Any":
    """The annotation of the member `name` as an object, without `| None`."""
    field, _, kind, _ = owner.fields[name]
    if type(kind) is str:
        kind = _resolve(owner, field, kind)
    return kind.__args__[0] if type(kind) is _UNION else kind


class RecordType(type):
    """The metaclass: works out, once a class, what parsing needs."""

    # by JSON name: attribute, type that needs no conversion, annotation, converter made of it on first use
    fields: "dict[str, list[Any]]"
    _shared: "list[tuple[str, Any]]"  # attribute and default
    _fresh: "list[tuple[str, str, Any]]"  # attribute, JSON name, list, dict or EMPTY: made anew each time
    _required: list[str]  # JSON names

    def __new__(meta, name: str, bases: tuple[type, ...], body: "dict[str, Any]") -> "RecordType":
        annotate = body.get("__annotate_func__")  # what Python 3.14 has instead; 1 asks for values
        annotations: dict[str, Any] = annotate(1) if annotate else body.get("__annotations__", {})
        irregular = body.get("NAMES", {})
        fields, shared, fresh, required = {}, [], [], []
        for field, kind in annotations.items():
            json_name = irregular.get(field) or camel_case(field)
            fields[json_name] = [field, kind if kind is str or kind is bool else None, kind, None]
            default = body.pop(field, _MISSING)
            if default is EMPTY or type(default) is list or type(default) is dict:
                fresh.append((field, json_name, default))
            elif default is not _MISSING:
                shared.append((field, default))
            elif kind.endswith(" | None") if type(kind) is str else type(kind) is _UNION:
                shared.append((field, None))
            else:
                required.append(json_name)
        body["__slots__"] = tuple(annotations)
        made = super().__new__(meta, name, bases, body)
        made.fields, made._shared, made._fresh, made._required = fields, shared, fresh, required
        return made


def camel_case(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join([word.capitalize() for word in others]) if others else first


class Record(metaclass=RecordType):  # noqa: PLW1641  # can be changed, so has no hash
    """A piece of the configuration. `Rlimit(type="RLIMIT_NOFILE", soft=1, hard=2)` makes one without JSON."""

    def __init__(self, **values: object) -> None:
        cls = type(self)
        for field, default in cls._shared:
            setattr(self, field, default)
        self._fill({name: values.get(entry[0]) for name, entry in cls.fields.items()})
        for field, value in values.items():
            setattr(self, field, value)
        for name in cls._required:
            if cls.fields[name][0] not in values:
                raise TypeError(f"{cls.__name__} needs {cls.fields[name][0]}")

    @classmethod
    def parse(cls, value: object, where: str = "") -> "Self":
        """The record of a JSON value; `where` is its JSON path. Raises ConfigError."""
        try:
            return cls.from_json(value)
        except Wrong as wrong:
            raise ConfigError(wrong.where(where), wrong.why) from None

    @classmethod
    def from_json(cls, value: object) -> "Self":
        """As parse, but raises Wrong: for use inside another converter."""
        if type(value) is not dict:
            raise _refuse("an object", value)
        self = cls.__new__(cls)
        for field, default in cls._shared:
            setattr(self, field, default)
        fields = cls.fields
        for name, item in value.items():
            if item is None:
                continue
            entry = fields.get(name)
            if entry is None:  # at the first of them, once for all
                return cls.from_json({name: item for name, item in cls.renamed(value).items() if name in fields})
            if type(item) is entry[1]:
                setattr(self, entry[0], item)
                continue
            try:
                setattr(self, entry[0], (entry[3] or cls._converter_of(name))(item))
            except Wrong as wrong:
                wrong.steps.append("." + name)
                raise
        for name in cls._required:
            if value.get(name) is None:
                raise Wrong("missing", "." + name)
        if cls._fresh:
            self._fill(value)
        return self

    @classmethod
    def renamed(cls, value: "dict[str, Any]") -> "dict[str, Any]":
        """The members under their own names, where only the case of a letter differs: Go's JSON takes them so."""
        folded = {name.lower(): name for name in cls.fields}
        names = {name: folded.get(name.lower(), name) for name in value if name not in cls.fields}
        names = {name: own for name, own in names.items() if own != name and own not in value}
        return {names.get(name, name): item for name, item in value.items()} if names else value

    def _fill(self, present: "dict[str, Any]") -> None:
        """Give each member that is not present its own list, dict or empty record."""
        for field, name, default in type(self)._fresh:
            if present.get(name) is None:
                made = type(self)._converter_of(name)({}) if default is EMPTY else default.copy()
                setattr(self, field, made)

    @classmethod
    def _converter_of(cls, name: str) -> "Callable[[Any], Any]":
        entry = cls.fields[name]
        if entry[3] is None:
            field, _, kind, _ = entry
            entry[3] = _converter(_resolve(cls, field, kind) if type(kind) is str else kind)
        return entry[3]  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, entry[0]) == getattr(other, entry[0]) for entry in type(self).fields.values())

    def __repr__(self) -> str:
        values = ", ".join(f"{entry[0]}={getattr(self, entry[0])!r}" for entry in type(self).fields.values())
        return f"{type(self).__name__}({values})"
