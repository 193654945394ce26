"""`state`: what the runtime-spec says of a container's state, as JSON."""

import sys

from minirunc.base import jsontext
from minirunc.base.settings import Settings
from minirunc.container.status import STOPPED, status
from minirunc.container.store import State, Store

OCI_VERSION = "1.3.0"


def state(settings: Settings, container_id: str) -> int:
    """Print it as runc does: two spaces, no newline at the end."""
    store = Store(settings.root, container_id)
    sys.stdout.write(jsontext.dumps(described(store, store.load(anybodys=True), owner=""), 2))
    return 0


def described(store: Store, saved: State, owner: str) -> dict[str, object]:
    """The members of `state` and `list`."""
    now = status(store, saved)
    value: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "id": saved.id,
        "pid": 0 if now == STOPPED else saved.pid,
        "status": now,
        "bundle": saved.bundle,
        "rootfs": saved.rootfs,
        "created": saved.created,
    }
    if saved.annotations:
        value["annotations"] = saved.annotations
    value["owner"] = owner
    return value
