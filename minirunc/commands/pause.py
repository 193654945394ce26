"""`pause`."""

from minirunc.base.settings import Settings
from minirunc.container import life
from minirunc.container.store import Store


def pause(settings: Settings, container_id: str) -> int:
    """See `life.pause`."""
    life.pause(Store(settings.root, container_id))
    return 0
