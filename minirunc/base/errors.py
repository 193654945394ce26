"""The errors minirunc raises: one class for each thing that can be wrong, each worded for the person who reads it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EPERM, ENOSYS = 1, 38


class Error(Exception):
    """Something asked for cannot be done: the command line, a file, the host; the root of all the others."""

    def __str__(self) -> str:
        """The message, then the notes added on the way up, outermost first, as one line."""
        notes: list[str] = getattr(self, "__notes__", [])
        return ": ".join([*reversed(notes), self.message])

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigError(Error):
    """config.json asks for something wrong: `where` is the JSON path, `why` what was expected."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"config.json: {where}: {why}" if where else f"config.json: {why}")
        self.where = where
        self.why = why


class StateError(Error):
    """The container is not in a status that allows what was asked."""


class SyscallError(Error):
    """The kernel's no: which call, with which arguments, and the errno it gave."""

    hint: "Callable[[str, int], str] | None" = None  # kernel/ knows more of a call and an errno

    def __init__(self, call: str, arguments: str, errno: int) -> None:
        # posix holds strerror without the start-up cost of anything else.
        from posix import strerror

        hint = SyscallError.hint(call, errno) if SyscallError.hint and errno in (EPERM, ENOSYS) else ""
        super().__init__(f"{call}({arguments}): {strerror(errno).lower()}{hint}")
        self.call = call
        self.arguments = arguments
        self.errno = errno


class SecurityError(Error):
    """Safety cannot be shown: what was found is not what was opened."""
