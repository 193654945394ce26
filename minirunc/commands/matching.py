"""--regex of `kill` and `delete` (crun's): what is done with each container that a regular expression matches."""

from minirunc.base import log, seams
from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.commands.list import ids
from minirunc.container.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def each(settings: Settings, pattern: str, act: "Callable[[Store], None]") -> int:
    """The others are not kept from it by one that fails, which is a warning; nor is it wrong that none matches."""
    matches = seams.matcher(pattern)
    for container_id in ids(settings):
        if matches(container_id):
            try:
                act(Store(settings.root, container_id))
            except (Error, OSError) as error:
                log.warning(f"{container_id}: {error}")
    return 0
