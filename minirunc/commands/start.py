"""`start`."""

from posix import environ

from minirunc.base.settings import Settings
from minirunc.container import life
from minirunc.container.store import Store


def start(settings: Settings, container_id: str) -> int:
    """See `life.start`."""
    manager = ""
    if b"NOTIFY_SOCKET" in environ:
        from minirunc.container import handover  # a module that the others do without

        manager = handover.notify_socket()
    life.start(Store(settings.root, container_id), manager)
    return 0
