"""hooks: programs run at six moments, with the container's state on stdin.

Source: runtime-spec config.md "POSIX-platform Hooks".

Their streams are memfds: nothing blocks on a pipe, and a hook that leaves a daemon behind does not hold us.
"""

import posix
from select import POLLIN, poll

from minirunc.base import jsontext, log
from minirunc.base.errors import ConfigError, Error, SyscallError
from minirunc.config.hooks import Hook, Hooks
from minirunc.container.store import State
from minirunc.kernel import procfs
from minirunc.kernel.hand import Hand
from minirunc.kernel.hand_code import memfd
from minirunc.kernel.syscalls import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OCI_VERSION = "1.3.0"
_SHOWN = 4096  # bytes of a failed hook's output quoted in the error
_LONGEST_S = (2**31 - 1) // 1000


def state_text(state: State, status: str, pid: int) -> str:
    """The runtime-spec's state as JSON; `pid` as the hook's own pid namespace counts it, 0 for none."""
    return jsontext.dumps(state_value(state, status, pid))


def state_value(state: State, status: str, pid: int) -> dict[str, object]:
    """The same, not yet JSON."""
    value: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "id": state.id,
        "status": status,
        **({"pid": pid} if pid else {}),
        "bundle": state.bundle,
    }
    if state.annotations:
        value["annotations"] = state.annotations
    return value


class Told:
    """What hooks are told of the container at one moment, and what they are run with."""

    __slots__ = ("annotations", "bundle", "text")

    def __init__(self, state: State, status: str, pid: int) -> None:
        self.text = state_text(state, status, pid)
        self.bundle = state.bundle
        self.annotations = state.annotations


def check(listed: Hooks | None, *, waits: bool) -> None:
    """The hand that waits for `start` is hidden from its own user, too, and nobody is there to ask it."""
    if waits and listed and listed.start_container and posix.geteuid() != 0:
        why = "an ordinary user cannot enter what waits for `start`: `run` it"
        raise ConfigError("hooks.startContainer", why)


def kinds(listed: Hooks | None) -> list[str]:
    """Which kinds of hooks there are: later commands need not read config.json for those that are not."""
    return [] if listed is None else [kind for kind, _, _, _ in Hooks.fields.values() if getattr(listed, kind)]


def run_outside(kind: str, hooks: list[Hook], told: Told) -> None:
    """Run them in the runtime's namespaces, in the bundle if it is there; raises Error for the first that fails."""

    def go(hand: Hand, hook: Hook) -> None:
        with hand.batch() as do:
            do.tolerate(do.chdir(told.bundle))
        execute(hand, hook, None)

    for index, hook in enumerate(hooks):
        run(kind, index, hook, told, go)


def run(kind: str, index: int, hook: Hook, told: Told, go: "Callable[[Hand, Hook], None]") -> None:
    """Run one and wait for it: `go` has a hand become it, the state on its stdin. Raises Error if it fails."""
    given = _streams(told)
    try:
        hand = Hand()
        try:
            inside = [hand.send_fd(fd) for fd in given]
            with hand.batch() as do:
                for number, fd in enumerate(inside):
                    do.dup3(fd, number)
                do.close_range(hand.control + 1)
            go(hand, hook)
        except BaseException as error:
            hand.kill()
            if not isinstance(error, Error):
                raise
            is_path = isinstance(error, SyscallError) and error.call == "execve"
            why = posix.strerror(error.errno).lower() if is_path and isinstance(error, SyscallError) else str(error)
            raise Error(f"error running {kind} hook #{index}: {hook.path}: {why}") from None
        hand.close()
        _wait(kind, index, hook, hand.pid, given)
    finally:
        for fd in given:
            posix.close(fd)


def execute(hand: Hand, hook: Hook, default_env: list[str] | None) -> None:
    """The hand becomes the hook; raises SyscallError. An env that is absent is the default, or else the runtime's."""
    variables = default_env if hook.env is None else hook.env
    if variables is None:
        variables = [(k + b"=" + v).decode("utf-8", "surrogateescape") for k, v in posix.environ.items()]
    last = hand.batch()
    last.execve(hook.path, vector(hook.args or [hook.path]), vector(variables))
    hand.become(last)


def vector(strings: list[str]) -> Words:
    """Strings as execve(2) takes them."""
    return Words(*(text.encode("utf-8", "surrogateescape") for text in strings), 0)


def _streams(told: Told) -> list[int]:
    """stdin with the state, and for stdout and stderr empty files, or what annotations name."""
    given = [memfd("state", 1)]
    try:
        posix.write(given[0], told.text.encode("utf-8", "surrogateescape"))
        posix.lseek(given[0], 0, 0)
        for name in ("stdout", "stderr"):
            path = told.annotations.get(f"run.oci.hooks.{name}")
            given.append(_appended(path, told.bundle) if path else memfd(name, 1))
    except BaseException:
        for fd in given:
            posix.close(fd)
        raise
    return given


def _appended(path: str, bundle: str) -> int:
    """A file of the host to write to, made where it is missing; a relative path is below the bundle."""
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC | posix.O_NOCTTY
    try:
        return posix.open(path if path.startswith("/") else f"{bundle}/{path}", flags, 0o600)
    except OSError as error:
        raise Error(f"output of hooks: open {path}: {posix.strerror(error.errno or 0).lower()}") from None


def _wait(kind: str, index: int, hook: Hook, pid: int, given: list[int]) -> None:
    """Wait for the hook within its timeout; raises Error unless it exits with 0."""
    pidfd = procfs.pidfd(pid)
    try:
        watch = poll()
        watch.register(pidfd, POLLIN)
        # poll(2) counts milliseconds in an int: a timeout of weeks that does not fit is as good as none
        ended = watch.poll(None if hook.timeout is None or hook.timeout > _LONGEST_S else hook.timeout * 1000)
        if not ended:
            posix.kill(pid, 9)
        _, status = posix.waitpid(pid, 0)
    except BaseException:  # interrupted
        posix.kill(pid, 9)
        posix.waitpid(pid, 0)
        raise
    finally:
        posix.close(pidfd)
    if not ended:
        raise Error(
            f"error running {kind} hook #{index}: {hook.path}: hook ran past specified timeout of {hook.timeout:.1f}s"
        )
    if status:
        how = f"signal: {_signal(status)}" if status & 127 else f"exit status {status >> 8}"
        out, err = (_said(fd) for fd in given[1:])
        raise Error(f"error running {kind} hook #{index}: {hook.path}: {how}, stdout: {out}, stderr: {err}")


def _said(fd: int) -> str:
    try:
        return posix.pread(fd, _SHOWN, 0).decode(errors="replace")
    except OSError:  # a file of an annotation's, opened for writing alone
        return ""


def _signal(status: int) -> str:
    """What ended a process by signal, as Go words it."""
    from _signal import strsignal  # type: ignore[import-not-found] # the C core: `signal` costs 4 ms

    name = (strsignal(status & 127) or f"signal {status & 127}").lower()
    return f"{name} (core dumped)" if status & 128 else name


def run_poststop(hooks: list[Hook], told: Told) -> None:
    """All of them, whatever one says: a failure is only logged (runtime-spec runtime.md "Lifecycle")."""
    for index, hook in enumerate(hooks):
        try:
            run_outside("poststop", [hook], told)
        except Error as error:
            log.warning(str(error).replace("hook #0", f"hook #{index}"))
