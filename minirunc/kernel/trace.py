"""The seam of `--debug`: whoever executes a system call reports it here, if anyone listens."""

from sys import _getframe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirunc.kernel.syscalls import Arg

sink: "Callable[[str], None] | None" = None  # takes one line; set by the face that wants to see


def report(where: str, name: str, args: "tuple[Arg, ...]", result: int) -> None:
    """One executed call: where ("outside", "hand 123"), the call with its arguments, and the result."""
    if sink is None:
        return
    from posix import strerror

    from minirunc.kernel.render import arguments

    outcome = f"{result}" if result >= 0 else f"-1 {strerror(-result)}"
    sink(f"{where}: {name}({arguments(name, args)}) = {outcome}")


def announce(where: str, name: str, args: "tuple[Arg, ...]") -> None:
    """One call that will be executed when nobody is left to hear of its result."""
    if sink is not None:
        from minirunc.kernel.render import arguments

        sink(f"{where}: {name}({arguments(name, args)})")


# What Python itself calls outside.
_OUTSIDE = (
    "chown", "close", "fchmod", "kill", "listdir", "lseek", "memfd_create", "mkdir", "mkfifo", "open", "pidfd_open",
    "posix_spawn", "pread", "read", "readlink", "rename", "rmdir", "sched_setaffinity", "stat", "unlink", "waitpid",
    "write",
)  # fmt: skip
_SHOWN = 200  # characters of an argument or a result


def watch_outside() -> None:
    """From now on this process's own calls are reported as well: the functions of posix say what they did."""
    import posix

    for name in _OUTSIDE:
        setattr(posix, name, _watched(name, getattr(posix, name)))


def _watched(name: str, function: "Callable[..., object]") -> "Callable[..., object]":
    def watched(*args: object, **named: object) -> object:
        if _getframe(1).f_code.co_filename.startswith("<frozen"):  # Python looking for a module
            return function(*args, **named)
        given = ", ".join([_short(arg) for arg in args] + [f"{key}={_short(arg)}" for key, arg in named.items()])
        try:
            result = function(*args, **named)
        except OSError as error:
            if sink is not None:
                from posix import strerror

                sink(f"outside: {name}({given}) = -1 {strerror(error.errno or 0)}")
            raise
        if sink is not None:
            sink(f"outside: {name}({given}) = {_short(result)}")
        return result

    return watched


def _short(value: object) -> str:
    mode = getattr(value, "st_mode", None)
    text = repr(value) if mode is None else f"{{st_mode={mode:#o}}}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
