"""`delete`."""

from minirunc.base.settings import Settings
from minirunc.container import life
from minirunc.container.store import Store


def delete(settings: Settings, container_id: str, *, force: bool) -> int:
    """See `life.delete`."""
    life.delete(Store(settings.root, container_id), force=force)
    return 0
