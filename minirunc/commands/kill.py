"""`kill`: a signal by name or number to the container's process."""

import _signal  # type: ignore[import-not-found] # the C core: `signal` costs 4 ms

from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.container import life
from minirunc.container.store import Store


def kill(settings: Settings, container_id: str, signal: str = "SIGTERM", *, all: bool, regex: bool) -> int:  # noqa: A002
    """See `life.kill`; `all`: a container that has stopped is no error; `regex`: the id is a regular expression."""
    wanted = number(signal or "SIGTERM")
    if regex:
        from minirunc.commands import matching

        return matching.each(settings, container_id, lambda store: life.kill(store, wanted, everyone=all))
    life.kill(Store(settings.root, container_id), wanted, everyone=all)
    return 0


def number(text: str) -> int:
    """The number of a signal: digits, or its name in any case, with or without SIG."""
    if text.isascii() and text.isdigit():
        if len(text) < 20 and int(text) < 1 << 31:  # an int's; which of them are signals the kernel says
            return int(text)
    else:
        found = getattr(_signal, "SIG" + text.upper().removeprefix("SIG"), None)
        if isinstance(found, int) and "_" not in text:
            return int(found)
    raise Error(f'unknown signal "{text}"')
