"""`resume`."""

from minirunc.base.settings import Settings
from minirunc.container import life
from minirunc.container.store import Store


def resume(settings: Settings, container_id: str) -> int:
    """See `life.resume`."""
    life.resume(Store(settings.root, container_id))
    return 0
