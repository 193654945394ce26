"""root: the container's root file system; container/birth opens it first and makes it `/` last."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


class Root(Record):
    path: str  # relative to the bundle, or absolute
    readonly: bool = False


def check(config: "Config") -> None:
    """Whether it is there is seen when it is opened."""
    if not config.root.path:
        raise ConfigError("root.path", "must not be empty")
