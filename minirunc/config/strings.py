"""Strings that no system call takes, in any field: with a NUL byte, or half of a surrogate pair."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record


def check(value: object, where: str = "") -> None:
    """Refuse the first one below a record. Annotations may hold anything: they only go back into JSON."""
    if isinstance(value, Record):
        for name, entry in type(value).fields.items():
            if name != "annotations":
                check(getattr(value, entry[0]), f"{where}.{name}" if where else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            check(name, where)
            check(item, f'{where}["{name}"]')
    elif isinstance(value, str):
        _check_string(value, where)


def _check_string(text: str, where: str) -> None:
    if "\0" in text:
        if where.startswith("process.env["):
            shown = text.replace("\0", "\\x00")
            raise ConfigError(where, f'invalid environment variable "{shown}": contains nul byte (\\x00)')
        raise ConfigError(
            where, "mount field contains null byte" if where.startswith("mounts[") else "contains a NUL byte"
        )
    for character in text:
        if "\ud800" <= character <= "\udfff":
            raise ConfigError(where, f"contains half of a surrogate pair (\\u{ord(character):04x})")
