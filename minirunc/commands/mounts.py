"""`mounts`: add mounts to a container that exists, or remove some, from a file in the form of config.json's mounts."""

from minirunc.base import files
from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.container import live_mounts
from minirunc.container.store import Store


def mounts(settings: Settings, verb: str, container_id: str, file: str) -> int:
    """See `live_mounts.change`; `file` is - for stdin."""
    if verb not in ("add", "remove"):
        raise Error(f"unknown command mounts {verb}: expected add or remove")
    store = Store(settings.root, container_id)
    store.load()  # for one that is not there nobody need write to our stdin
    live_mounts.change(store, files.read_document(file), "stdin" if file == "-" else file, add=verb == "add")
    return 0
