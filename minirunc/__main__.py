"""The entry of the command line: parse, call, report; the only place that prints an error or exits."""

import sys
from _signal import SIG_DFL, SIGCHLD, signal  # type: ignore[import-not-found] # the C core: `signal` costs 4 ms
from posix import O_RDWR, _exit, close, environ, set_inheritable, strerror, write
from posix import open as open_fd

from minirunc.base import log
from minirunc.base.errors import Error
from minirunc.cli import argv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from minirunc.base.settings import Settings

_INTERRUPTED = 130  # what a shell says of SIGINT
_PIPE_CLOSED = 141  # and of SIGPIPE


def main() -> "NoReturn":
    """Do what sys.argv asks for and leave with its exit status, at once: there is nothing to tidy up."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _fill_standard_fds()
    signal(SIGCHLD, SIG_DFL)  # who called us may ignore it, and then no process could be waited for
    face = _Face(sys.argv[0])
    try:
        status = face.run(sys.argv[1:])
    except BaseException as problem:
        status = face.report(problem)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _PIPE_CLOSED  # the reader has what it wanted
    except OSError as problem:
        status = face.report(problem)
    _exit(status)


class _Face:
    """One command line: how to report what fails, as far as it is understood."""

    __slots__ = ("argv0", "debug", "log", "prefix", "status")

    def __init__(self, argv0: str) -> None:
        self.argv0 = argv0
        self.debug = False
        self.log = log.Log()
        self.prefix = ""  # of an error's text
        self.status = 1  # of a failure

    def run(self, words: list[str]) -> int:
        """Parse and call; the exit status."""
        call = argv.parse(words) or self._explained(words)
        if isinstance(call, int):
            return call
        self._listen(call.settings)
        if b"XDG_RUNTIME_DIR" in environ:
            from minirunc.base.roots import make_own

            make_own(call.settings.root)
        command = call.command
        module, _, name = command.target.partition(":")
        target: Callable[..., int] = getattr(__import__(module, fromlist=(name,)), name)
        self.status = command.failure
        if command.name in ("create", "run"):
            self.prefix = f"{argv.program(self.argv0)} {command.name} failed: "
        elif command.name == "exec":
            self.prefix = "exec failed: "
        return target(call.settings, *call.operands, **call.options)

    def _explained(self, words: list[str]) -> "argv.Call | int":
        """The slow way, for help and what may be wrong: click's answer, or its error after the help."""
        from minirunc.cli.help import UsageError, parse

        try:
            return parse(self.argv0, words)
        except UsageError as misuse:
            if misuse.settings is not None:
                self._listen(misuse.settings)
            sys.stdout.buffer.write(misuse.shown.encode("utf-8", "surrogateescape"))  # it quotes the words
            self.status = misuse.status
            raise

    def _listen(self, settings: "Settings") -> None:
        """Log where and what the settings say, from now on."""
        self.log = log.Log(2, settings.log_format)
        if settings.log:
            # now, before the command may change the directory or do half of its work
            self.log = log.open_file(settings.log, settings.log_format)
        log.listen(self.log.debug if settings.debug else None, self.log.warning if settings.warnings else None)
        if settings.debug:
            from minirunc.kernel import trace

            self.debug = True
            trace.sink = self.log.debug
            trace.watch_outside()

    def report(self, problem: BaseException) -> int:
        """One line that says what is wrong, and the exit status for it."""
        message = self.prefix + _worded(problem)
        try:
            if self.debug:
                self._trace(problem)
            self.log.line("error", message)
        except OSError:
            pass  # a log on a full disk: stderr still says it
        if self.log.fd != 2:
            try:
                write(2, log.shown(message).encode("utf-8", "backslashreplace") + b"\n")
            except OSError:
                pass  # nobody is left to tell
        return _INTERRUPTED if isinstance(problem, KeyboardInterrupt) else self.status

    def _trace(self, problem: BaseException) -> None:
        """Where in our code it was raised."""
        from minirunc.base import seams

        for line in seams.traceback_lines(problem):
            self.log.debug(line)


def _worded(problem: BaseException) -> str:
    """One line for any exception; those that are not ours are worded here."""
    if isinstance(problem, Error):
        return str(problem)
    if isinstance(problem, OSError) and problem.errno is not None:
        reason = strerror(problem.errno).lower()
        named = reason if problem.filename is None else f"{problem.filename}: {reason}"
        return ": ".join([*reversed(getattr(problem, "__notes__", [])), named])
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted"
    if isinstance(problem, MemoryError):
        return "out of memory"
    if isinstance(problem, RecursionError):
        return "something is nested too deeply to be read"
    return f"internal error: {type(problem).__name__}: {problem} (--debug shows where)"


def _fill_standard_fds() -> None:
    """/dev/null for each of the fds 0 to 2 that is closed: else a file of ours becomes somebody's stderr."""
    while (fd := open_fd("/dev/null", O_RDWR)) <= 2:
        set_inheritable(fd, True)
    close(fd)
    if sys.stdout is None:
        sys.stdout = open(1, "w")


if __name__ == "__main__":
    main()
