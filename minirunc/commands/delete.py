"""`delete`."""

from minirunc.base.settings import Settings
from minirunc.container import life
from minirunc.container.store import Store


def delete(settings: Settings, container_id: str, *, force: bool, regex: bool) -> int:
    """See `life.delete`; `regex`: the id is a regular expression."""
    if regex:
        from minirunc.commands import matching

        return matching.each(settings, container_id, lambda store: life.delete(store, force=force))
    life.delete(Store(settings.root, container_id), force=force)
    return 0
