"""`list`: the containers below --root."""

import posix
import sys

from minirunc.base import jsontext, log
from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.commands.state import described
from minirunc.container.store import Store, containers

_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def list_(settings: Settings, *, format: str, quiet: bool) -> int:  # noqa: A002
    """A table, JSON, or the ids alone; an entry that cannot be read is said on stderr and left out."""
    if format not in ("table", "json"):
        raise Error(f"invalid format option: {format}")
    rows: list[dict[str, object]] = []
    for container_id in ids(settings):
        try:
            store = Store(settings.root, container_id)
            rows.append(described(store, store.load(anybodys=True), _owner(store.directory)))
        except (Error, OSError) as error:
            sys.stderr.write(log.shown(f"load container {container_id}: {error}") + "\n")
    if quiet:
        sys.stdout.write("".join(f"{row['id']}\n" for row in rows))
    elif format == "json":
        sys.stdout.write((jsontext.dumps(rows) if rows else "null") + "\n")
    else:
        sys.stdout.write(_table([_COLUMNS, *([log.shown(str(row[name])) for name in _COLUMNS] for row in rows)]))
    return 0


def ids(settings: Settings) -> list[str]:
    """The containers below --root; one that was named must be there."""
    try:
        return containers(settings.root)
    except FileNotFoundError:
        from minirunc.base.roots import default_root

        if settings.root == default_root():
            return []
        raise Error(f"open {settings.root}: no such file or directory") from None


def _owner(directory: str) -> str:
    """The user whose container it is, by name where the host knows it."""
    from minirunc.base.seams import user_name

    return user_name(posix.stat(directory).st_uid)


def _table(rows: "list[list[str] | tuple[str, ...]]") -> str:
    """Columns of at least 12, three spaces between, the header in capitals."""
    rows[0] = [name.upper() for name in rows[0]]
    widths = [max(12, *(len(row[i]) + 3 for row in rows)) for i in range(len(rows[0]) - 1)]
    lines = ("".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)) + row[-1] for row in rows)
    return "".join(line + "\n" for line in lines)
