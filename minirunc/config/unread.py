"""Members of config.json that have no effect, told to who debugs: nobody's, and those in IGNORED.

The specification has a runtime ignore what it does not know (config.md "Extensibility"). Imported with --debug alone.
"""

from minirunc.base import log
from minirunc.base.record import Record, kind_of
from minirunc.config import IGNORED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def tell(value: object, kind: type[Record], name: str, where: str = "") -> None:
    """One debug line each; `value` was parsed as a record of this kind, which stands at the JSON path `where`."""
    for path, why in _members(value, kind, where, where):
        log.debug(f"{name}: {path} is ignored: {why}")


def _members(value: "Any", kind: type[Record], path: str, listed: str) -> "Iterator[tuple[str, str]]":
    """JSON path and reason; `listed` is the path with [] for what has an index or a name, as IGNORED has it."""
    for name, item in kind.renamed(value).items():
        here, there = (f"{before}.{name}" if before else name for before in (path, listed))
        if item is None:
            continue
        if there in IGNORED:
            yield here, IGNORED[there]
        elif name not in kind.fields:
            yield here, "no such member is known"
        else:
            yield from _below(item, kind_of(kind, name), here, there)


def _below(value: "Any", kind: "Any", path: str, listed: str) -> "Iterator[tuple[str, str]]":
    if _is_record(kind):
        yield from _members(value, kind, path, listed)
        return
    inner = getattr(kind, "__args__", ())
    if not inner or not _is_record(inner[-1]):
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        shown = f'["{key}"]' if isinstance(value, dict) else f"[{key}]"
        if item is not None:
            yield from _members(item, inner[-1], path + shown, f"{listed}[]")


def _is_record(kind: "Any") -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)
