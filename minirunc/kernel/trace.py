"""The seam of `--debug`: whoever executes a system call reports it here, if anyone listens."""

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
