"""The lean parser: a command line by the table, or None where in doubt, and then click explains (help.py)."""

from posix import environ, getcwd

from minirunc.base.errors import Error
from minirunc.base.settings import CGROUPFS, MANAGERS, SYSTEMD, Settings
from minirunc.cli.table import COMMANDS, DURATION, FLAG, GLOBALS, NUMBER, NUMBERS, Command, Option, Value

TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))  # the words Go's ParseBool knows
FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
NAME = "minirunc"
COMPLETE = b"_MINIRUNC_COMPLETE"  # in the environment: a shell asks for completions

Values = dict[str, Value]


class Call:
    """A command line understood: run `command` with these settings, operands and options."""

    __slots__ = ("command", "operands", "options", "settings")

    def __init__(self, settings: Settings, command: Command, operands: list[str], options: Values) -> None:
        self.settings = settings
        self.command = command
        self.operands = operands
        self.options = options


def parse(words: list[str]) -> Call | None:
    """What the words after the program's name ask for; None unless every one of them is certainly right."""
    if COMPLETE in environ:
        return None
    start = _scan(words, GLOBALS, interspersed=False)
    command = COMMANDS.get(start[1][0]) if start and start[1] else None
    if start is None or command is None:
        return None
    end = _scan(start[1][1:], command.options, interspersed=command.interspersed)
    if end is None or not command.accepts(len(end[1])):
        return None
    try:
        return Call(settings_of(start[0]), command, end[1], end[0])
    except Error:
        return None


def _scan(words: list[str], options: tuple[Option, ...], *, interspersed: bool) -> tuple[Values, list[str]] | None:
    """The options' values and the operands; `--` ends the options, and an operand unless interspersed."""
    values = {option.key: option.unset() for option in options}
    named = {name: option for option in options for name in option.names}
    operands: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word[:1] != "-" or word == "-":
            if not interspersed:
                return values, words[at - 1 :]
            operands.append(word)
            continue
        if word == "--":
            return values, operands + words[at:]
        # -name is --name, and -n is no bundle of short options (Go's flag package)
        name, equals, text = word[2 if word[1] == "-" else 1 :].partition("=")
        option = named.get(name)
        if option is None:
            return None
        if not equals and option.kind != FLAG:
            if at == len(words):
                return None
            text = words[at]
            at += 1
        if not _store(values, option, text if equals or option.kind != FLAG else "true"):
            return None
    return values, operands


def _store(values: Values, option: Option, text: str) -> bool:
    """Put the option's value among the others; False where the text is none we are sure of."""
    value: str | int = text
    if option.kind == FLAG:
        values[option.key] = text in TRUE
        return text in TRUE or text in FALSE
    if option.kind in (NUMBER, NUMBERS):
        # other spellings (signs, 0x10, 010) are click's to judge
        if not (text.isascii() and text.isdigit() and (text[0] != "0" or text == "0") and len(text) < 19):
            return False
        value = int(text)
    if option.kind == DURATION:
        if (span := duration(text)) is None:
            return False
        value = span
    collected = values[option.key]
    if isinstance(collected, list):
        collected.append(value)
    else:
        values[option.key] = value
    return True


def settings_of(values: Values) -> Settings:
    """The global options as Settings: defaults filled in, --root absolute.

    Raises Error for a value that is wrong whatever the command.
    """
    log_format = str(values["log_format"]) or "text"
    if log_format not in ("text", "json"):
        raise Error(f"invalid log-format: {log_format}")
    said = str(values["rootless"])
    rootless = "true" if said in TRUE else "false" if said in FALSE else said.lower() or "auto"
    if rootless not in ("true", "false", "auto"):
        raise Error(f"invalid value for --rootless: {said} (true, false or auto)")
    level = str(values["log_level"])
    if level not in ("", "error", "warning", "debug"):
        raise Error(f"invalid value for --log-level: {level} (error, warning or debug)")
    root = values["root"]
    return Settings(
        default_root() if root is None else absolute_root(str(root)),
        debug=values["debug"] is True or level == "debug",
        warnings=level != "error",
        cgroup_manager=_manager(values),
        rootless=rootless,
        log=str(values["log"]),
        log_format=log_format,
    )


def _manager(values: Values) -> str:
    """runc's flag and crun's option for the same; the state of a container tells it to all but create and run."""
    said, flag = str(values["cgroup_manager"]), values["systemd_cgroup"] is True
    if said not in ("", *MANAGERS):
        raise Error(f"invalid value for --cgroup-manager: {said} ({', '.join(MANAGERS)})")
    if flag and said not in ("", SYSTEMD):
        raise Error(f"--systemd-cgroup and --cgroup-manager {said} cannot go together")
    return SYSTEMD if flag else said or CGROUPFS


def absolute_root(root: str) -> str:
    """--root as an absolute path without `.` and `..`, as every later step and error names it."""
    parts: list[str] = []
    for part in (root if root[:1] == "/" else f"{getcwd()}/{root}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not root or not parts:
        raise Error("Option --root argument should not be set to /")  # runc's words, capital and all
    return "/" + "/".join(parts)


def default_root() -> str:
    """Where state is kept without --root; engines name one, and spare us the import."""
    from minirunc.base.roots import default_root

    return default_root()


def duration(text: str) -> int | None:
    """A span of time in nanoseconds; few command lines have one."""
    from minirunc.base.duration import nanoseconds

    return nanoseconds(text)


def program(argv0: str) -> str:
    """The name we were called by, and call ourselves: `runc` too, where we are installed in its place."""
    name = argv0.rpartition("/")[2]
    return NAME if name in ("", "-c", "-m", "__main__.py") else name
