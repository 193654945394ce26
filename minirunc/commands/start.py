"""`start`."""

from minirunc.base.settings import Settings
from minirunc.container import life
from minirunc.container.store import Store


def start(settings: Settings, container_id: str) -> int:
    """See `life.start`."""
    life.start(Store(settings.root, container_id))
    return 0
