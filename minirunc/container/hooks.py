"""hooks: programs run at six moments, with the container's state on stdin.

Source: runtime-spec config.md "POSIX-platform Hooks".

Their streams are memfds: nothing blocks on a pipe, and a hook that leaves a daemon behind does not hold us.
"""

import posix
from select import POLLIN, poll
from time import monotonic

from minirunc.base import jsontext, log
from minirunc.base.errors import Error
from minirunc.config.hooks import Hook, Hooks
from minirunc.container.store import State

OCI_VERSION = "1.3.0"
_SHOWN = 4096  # bytes of a failed hook's output quoted in the error


def state_text(state: State, status: str, pid: int) -> str:
    """The runtime-spec's state as JSON; `pid` as the hook's own pid namespace counts it."""
    value: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "id": state.id,
        "status": status,
        "pid": pid,
        "bundle": state.bundle,
    }
    if state.annotations:
        value["annotations"] = state.annotations
    return jsontext.dumps(value)


def kinds(listed: Hooks | None) -> list[str]:
    """Which kinds of hooks there are: later commands need not read config.json for those that are not."""
    return [] if listed is None else [kind for kind, _, _, _ in Hooks.fields.values() if getattr(listed, kind)]


def run_outside(kind: str, hooks: list[Hook], text: str) -> None:
    """Run them in the runtime's namespaces, in order; raises Error for the first that fails."""
    for index, hook in enumerate(hooks):
        given = streams(text)
        try:
            actions = [(posix.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(given)]
            try:
                pid = posix.posix_spawn(
                    hook.path,
                    hook.args or [hook.path],
                    posix.environ if hook.env is None else dict(_pair(item) for item in hook.env),
                    file_actions=actions,
                    setsigmask=(),
                )
            except OSError as error:
                raise Error(
                    f"error running {kind} hook #{index}: {hook.path}: {posix.strerror(error.errno or 0).lower()}"
                ) from None
            wait(kind, index, hook, pid, given)
        finally:
            close(given)


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def streams(text: str) -> tuple[int, int, int]:
    """stdin with the state, and empty files for stdout and stderr."""
    state = posix.memfd_create("state", 1)
    posix.write(state, text.encode("utf-8", "surrogateescape"))
    posix.lseek(state, 0, 0)
    return state, posix.memfd_create("stdout", 1), posix.memfd_create("stderr", 1)


def close(given: tuple[int, int, int]) -> None:
    """Let go of a hook's streams."""
    for fd in given:
        posix.close(fd)


def wait(kind: str, index: int, hook: Hook, pid: int, given: tuple[int, int, int]) -> None:
    """Wait for the hook within its timeout; raises Error unless it exits with 0."""
    pidfd = posix.pidfd_open(pid)
    try:
        watch = poll()
        watch.register(pidfd, POLLIN)
        end = None if hook.timeout is None else monotonic() + hook.timeout
        ended = watch.poll(None if end is None else max(0, (end - monotonic()) * 1000))
        if not ended:
            posix.kill(pid, 9)
        _, status = posix.waitpid(pid, 0)
    finally:
        posix.close(pidfd)
    if not ended:
        raise Error(
            f"error running {kind} hook #{index}: {hook.path}: hook ran past specified timeout of {hook.timeout:.1f}s"
        )
    if status:
        how = f"signal: {status & 127}" if status & 127 else f"exit status {status >> 8}"
        out, err = (posix.pread(fd, _SHOWN, 0).decode(errors="replace") for fd in given[1:])
        raise Error(f"error running {kind} hook #{index}: {hook.path}: {how}, stdout: {out}, stderr: {err}")


def run_poststop(hooks: list[Hook], text: str) -> None:
    """All of them, whatever one says: a failure is only logged (runtime-spec runtime.md "Lifecycle")."""
    for index, hook in enumerate(hooks):
        try:
            run_outside("poststop", [hook], text)
        except Error as error:
            log.warning(str(error).replace("hook #0", f"hook #{index}"))
