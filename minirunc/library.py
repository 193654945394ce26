"""The library: containers from within a Python process, the same functions and state as the command line's.

The core prints nothing, exits nothing, installs no signal handler and leaves cwd and umask alone.
"""

import posix

from minirunc.base.errors import StateError
from minirunc.config import process as process_checks
from minirunc.container import enter, launch, life, update
from minirunc.container.status import PAUSED, STOPPED, status
from minirunc.container.store import Store


class Process:
    """A process started in a container; a child of this one, to be waited for."""

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid  # as this process's pid namespace counts it

    def wait(self) -> int:
        """Its exit status, 128 + N where signal N ended it."""
        _, ended = posix.waitpid(self.pid, 0)
        return 128 + (ended & 127) if ended & 127 else ended >> 8


class Container:
    """A container that exists below a state directory."""

    __slots__ = ("_config", "_state", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self._state = store.load()
        self._config = life.config_of(store)

    @classmethod
    def load(cls, root: str, container_id: str) -> "Container":
        """The container `container_id` below `root`; raises StateError if there is none."""
        return cls(Store(root, container_id))

    @property
    def status(self) -> str:
        """created, running, paused or stopped, as the kernel has it now."""
        return status(self.store, self._state)

    def update(self, resources: dict[str, object]) -> None:
        """Change the limits that `resources` has, in the form of config.json's linux.resources, or none of them."""
        update.update(self.store, resources, "resources")

    def exec(self, args: list[str]) -> Process:
        """Start `args` with the environment, user and rights of the container's own process; our standard streams.

        Raises StateError unless the container runs, Error if there is no such program.
        """
        now = self.status
        if now in (STOPPED, PAUSED):
            raise StateError(f"cannot exec in a {now} container")
        wanted = self._config.process
        wanted.args = list(args)
        wanted.terminal = False
        process_checks.check(wanted)
        options = enter.Options()
        options.seccomp = launch.filter_of(self._config, self.store)
        entry = enter.Entry(self._state, self._config.linux, wanted, options)
        entry.commit()
        return Process(entry.hand.pid)
