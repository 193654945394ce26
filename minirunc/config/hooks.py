"""hooks: programs run at six moments of a container's life, its state on stdin, by container/hooks."""

from minirunc.base.record import Int64, Record


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
