"""hooks: programs run at six moments of a container's life, its state on stdin, by container/hooks."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Int64, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


class Hook(Record):
    path: str
    args: list[str] = []  # argv[0] included; empty: the path alone
    env: list[str] | None  # absent: the runtime's own environment (startContainer: the process's)
    timeout: Int64 | None  # seconds


class Hooks(Record):
    prestart: list[Hook] = []
    create_runtime: list[Hook] = []
    create_container: list[Hook] = []
    start_container: list[Hook] = []
    poststart: list[Hook] = []
    poststop: list[Hook] = []


def check(config: "Config") -> None:
    """Absolute paths and real timeouts (spec: posix-platform-hooks)."""
    for name, entry in Hooks.fields.items():
        for index, hook in enumerate(getattr(config.hooks, entry[0])):
            where = f"hooks.{name}[{index}]"
            if not hook.path.startswith("/"):
                raise ConfigError(f"{where}.path", f'must be an absolute path, got "{hook.path}"')
            if hook.timeout is not None and hook.timeout <= 0:
                raise ConfigError(f"{where}.timeout", f"must be greater than 0, got {hook.timeout}")
