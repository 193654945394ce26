"""The table as a click group: help, usage errors in runc's words, completion; for what argv.py doubts."""

from contextlib import contextmanager

from minirunc.base import seams
from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.base.version import SPEC, VERSION, commit
from minirunc.cli import argv, table
from minirunc.cli.table import Command, Option, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
    from click.shell_completion import CompletionItem
else:
    click = seams.click()

_ABOUT = """Open Container Initiative runtime in Python

A container is started from a bundle: a directory with a specification, config.json, and a root file system.
To run the bundle in the current directory, under an id of your choice, as root:

    {program} run <container-id>

"{program} spec" writes a config.json to begin with, "{program} <command> --help" explains a command."""
_COMPLETION = """COMPLETION:
   bash   eval "$(_MINIRUNC_COMPLETE=bash_source {program})"
   zsh    eval "$(_MINIRUNC_COMPLETE=zsh_source {program})"
   fish   _MINIRUNC_COMPLETE=fish_source {program} | source
"""


class UsageError(Error):
    """The command line is wrong."""

    def __init__(self, message: str, settings: Settings | None, *, shown: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.settings = settings  # where the global options were right
        self.shown = shown  # on stdout, before the error
        self.status = status


def parse(argv0: str, words: list[str]) -> argv.Call | int:
    """The same as argv.parse, by click: a call, or the exit status where help was asked for.

    Raises UsageError, or Error for a wrong value of a global option.
    """
    root = _Root(argv0)
    try:
        done = root.main(
            list(words),
            prog_name=argv.program(argv0),
            complete_var=argv.COMPLETE.decode(),
            standalone_mode=False,
        )
    except click.UsageError as problem:
        raise _worded(problem) from None
    except SystemExit as done_completing:
        return int(done_completing.code or 0)
    return done if isinstance(done, argv.Call) else int(done or 0)


def _worded(problem: click.UsageError) -> UsageError:
    """click's finding in the words of Go's flag package, which callers know."""
    message = problem.format_message()
    if isinstance(problem, click.NoSuchOption):
        message = f"flag provided but not defined: -{problem.option_name.lstrip('-')}"
    elif isinstance(problem, click.BadOptionUsage):
        message = f"flag needs an argument: -{problem.option_name.lstrip('-')}"
    elif isinstance(problem, click.BadParameter):
        message = problem.message
    assert problem.ctx is not None  # see _located
    return _misused(problem.ctx, message, message)


def _misused(ctx: click.Context, message: str, reason: str = "") -> UsageError:
    """A usage error that shows the help of what was misused; the reason as runc puts it."""
    mark = "." if ctx.parent is None or not reason else ":"
    shown = f"Incorrect Usage{mark}{' ' if reason else ''}{reason}\n\n{ctx.get_help()}\n"
    return UsageError(message, ctx.find_object(Settings), shown=shown)


def _flag(name: str, text: str) -> bool:
    """true or false as Go's ParseBool reads it."""
    if text not in argv.TRUE and text not in argv.FALSE:
        raise click.BadParameter(f'invalid boolean value "{text}" for -{name}: parse error')
    return text in argv.TRUE


def _number(name: str, text: str, *, any_base: bool) -> int:
    """An integer of 64 bits as Go's ParseInt reads it; in any base 0x10, 0o20, 0b10000 and 020 are all 16."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    base = 10
    if any_base and digits[:1] == "0":
        base = 8 if digits.isdigit() else 0
    try:
        if not (digits.isascii() and digits.isalnum() and digits[0].isdigit() and (any_base or digits.isdigit())):
            raise ValueError
        number = int(text, base)
        if not -(2**63) <= number < 2**63:
            raise ValueError
    except ValueError:
        raise click.BadParameter(f'invalid value "{text}" for flag -{name}: parse error') from None
    return number


def _converted(option: Option, value: object) -> Value:
    """What click collected for the option, all of it text, as the value the command gets."""
    if isinstance(value, (tuple, list)):
        return [_converted_one(option, str(item)) for item in value]
    return _converted_one(option, value) if isinstance(value, str) else option.unset()


def _converted_one(option: Option, text: str) -> str | int:
    if option.kind == table.FLAG:
        return _flag(option.name, text)
    if option.kind in (table.NUMBER, table.NUMBERS):
        return _number(option.name, text, any_base=option.kind == table.NUMBER)
    if option.kind == table.DURATION:
        span = argv.duration(text)
        if span is None:
            raise click.BadParameter(f'invalid value "{text}" for flag -{option.name}: parse error')
        return span
    return text


@contextmanager
def _located(ctx: click.Context) -> "Iterator[None]":
    """Give click's errors the command they are about: its parser leaves that out of some."""
    try:
        yield
    except click.UsageError as problem:
        problem.ctx = problem.ctx or ctx
        raise


class _Option(click.Option):
    """An option of the table."""

    def __init__(self, option: Option) -> None:
        multiple = option.kind in (table.TEXTS, table.NUMBERS)
        super().__init__(
            [option.key, *(f"{'--' if len(name) > 1 else '-'}{name}" for name in option.names)],
            type=click.UNPROCESSED,
            multiple=multiple,
            default=() if multiple else None,
            help=option.help,
            hidden=option.hidden,
            callback=lambda _ctx, _param, value: _converted(option, value),
        )
        self.option = option

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """What may follow: after a flag, which takes no word, that is whatever the command expects next."""
        if self.option.kind == table.FLAG:
            return ctx.command.shell_complete(ctx, incomplete)
        if self.option.kind == table.PATH:
            return click.Path().shell_complete(ctx, self, incomplete)
        return super().shell_complete(ctx, incomplete)


class _Command(click.Command):
    """A command of the table; its operands are what click calls extra arguments."""

    allow_extra_args = True

    def __init__(self, command: Command, argv0: str) -> None:
        super().__init__(
            command.name,
            params=[_Option(option) for option in command.options],
            help=command.help,
            short_help=command.help,
            context_settings=_HELP,
        )
        self.row = command
        self.argv0 = argv0
        self.allow_interspersed_args = command.interspersed

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options by their long names, then click."""
        words = _normalised(ctx, args, self.row.options, interspersed=self.row.interspersed)
        with _located(ctx):
            return super().parse_args(ctx, words)

    def invoke(self, ctx: click.Context) -> argv.Call:
        """What was understood, once the operands are counted."""
        wrong = _miscounted(self.row, len(ctx.args))
        if wrong:
            raise _misused(ctx, f'{self.argv0}: "{self.name}" requires {wrong} argument(s)')
        settings = ctx.find_object(Settings) or Settings()
        return argv.Call(settings, self.row, ctx.args, _values(ctx, self.row.options))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Options, and for the first operand the ids of the containers there are."""
        found = super().shell_complete(ctx, incomplete)
        if self.row.least and self.name not in ("create", "run", "mounts") and not ctx.args:
            from click.shell_completion import CompletionItem

            found += [CompletionItem(name) for name in _ids(ctx) if name.startswith(incomplete)]
        return found

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """runc's layout, whose first two lines are asked for by tests."""
        called = f"{argv.program(self.argv0)} {self.name}"
        formatter.write(f"NAME:\n   {called} - {self.row.help}\n\n")
        formatter.write(f"USAGE:\n   {called} [command options] {self.row.usage}".rstrip() + "\n\n")
        if self.row.about:
            formatter.write(f"DESCRIPTION:\n{_indented(self.row.about)}\n\n")
        formatter.write(_options_help("OPTIONS", self.row.options))


class _Help(click.Command):
    """`help [command]`."""

    allow_extra_args = True

    def __init__(self) -> None:
        about = "show this list, or explain one command"
        super().__init__("help", help=about, short_help=about, context_settings=_HELP)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """runc's layout."""
        formatter.write(f"NAME:\n   {ctx.command_path} - {self.help}\n\n")
        formatter.write(f"USAGE:\n   {ctx.command_path} [command]\n\n{_options_help('OPTIONS', ())}")

    def invoke(self, ctx: click.Context) -> None:
        """The help of the group or of the command named."""
        root = ctx.find_root()
        if not ctx.args:
            click.echo(root.get_help())
            return
        _, command, _ = root.command.resolve_command(root, ctx.args)  # type: ignore[attr-defined]
        click.echo(command.get_help(click.Context(command, parent=root, info_name=command.name)))


class _Root(click.Group):
    """The program: global options and the commands."""

    def __init__(self, argv0: str) -> None:
        show_version = click.Option(
            ["version", "--version", "-v", "-V"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            help="print the version",
            callback=_print_version,
        )
        commands: dict[str, click.Command] = {row.name: _Command(row, argv0) for row in table.COMMANDS.values()}
        super().__init__(
            argv.program(argv0),
            commands={**commands, "help": _Help()},
            params=[*(_Option(option) for option in table.GLOBALS), show_version],
            invoke_without_command=True,
            context_settings=_HELP,
        )
        self.argv0 = argv0

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The global options, made into settings for whoever comes next."""
        words = _normalised(ctx, args, table.GLOBALS, interspersed=False)
        with _located(ctx):
            rest = super().parse_args(ctx, words)
        if not ctx.resilient_parsing:
            ctx.obj = argv.settings_of(_values(ctx, table.GLOBALS))
        return rest

    def invoke(self, ctx: click.Context) -> object:
        """The command, or help where there is none."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the table's order."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """A command by its name; h is help."""
        return self.commands.get("help" if cmd_name == "h" else cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first; an unknown one is an error without any help on stdout."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            message = table.NOT_SUPPORTED.get(args[0], f"No help topic for '{args[0]}'")
            raise UsageError(message, ctx.find_object(Settings), status=1 if args[0] in table.NOT_SUPPORTED else 3)
        return args[0] if command else None, command, args[1:]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """runc's layout."""
        program = argv.program(self.argv0)
        formatter.write(f"NAME:\n   {program} - {_ABOUT.format(program=program)}\n\n")
        formatter.write(f"USAGE:\n   {program} [global options] command [command options] [arguments...]\n\n")
        formatter.write(f"VERSION:\n   {VERSION}\n\nCOMMANDS:\n")
        rows = [(name, str(command.short_help)) for name, command in self.commands.items()]
        formatter.write(_columns([("help, h" if name == "help" else name, text) for name, text in rows]))
        version = ("--version, -v", "print the version")
        formatter.write("\n" + _options_help("GLOBAL OPTIONS", table.GLOBALS, version))
        formatter.write("\n" + _COMPLETION.format(program=program))


_HELP = {"help_option_names": ["--help", "-h", "-?"]}  # the last is crun's


def _normalised(ctx: click.Context, words: list[str], options: tuple[Option, ...], *, interspersed: bool) -> list[str]:
    """The words with each option as --long=value: -name is a bundle of short options to click, not to Go."""
    long = {name: option for option in options for name in option.names}
    other = {name.lstrip("-"): param.opts[0] for param in ctx.command.get_params(ctx) for name in param.opts}
    done: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word[:1] != "-" or word == "-":
            if not interspersed:
                return [*done, word, *rest]
            done.append(word)
            continue
        if word == "--":
            return [*done, word, *rest]
        name, equals, value = word[2 if word[1] == "-" else 1 :].partition("=")
        if name[:1] in ("", "-"):
            if ctx.resilient_parsing:
                continue
            raise _misused(ctx, f"bad flag syntax: {word}", f"bad flag syntax: {word}")
        option = long.get(name)
        if option is None:
            done.append(other.get(name, f"--{name}"))
        elif equals or option.kind == table.FLAG:
            done.append(f"--{option.name}={value if equals else 'true'}")
        else:
            done.append("=".join([f"--{option.name}", *rest[:1]]))
            del rest[:1]
    return done


def _values(ctx: click.Context, options: tuple[Option, ...]) -> argv.Values:
    """click's values as the lean parser gives them."""
    return {option.key: ctx.params[option.key] for option in options}


def _miscounted(command: Command, count: int) -> str:
    """How many operands the command wants, where that is not how many there are."""
    if command.least == command.most:
        return "" if count == command.least else f"exactly {command.least}"
    if count < command.least:
        return f"a minimum of {command.least}"
    return "" if command.most is None or count <= command.most else f"a maximum of {command.most}"


def _ids(ctx: click.Context) -> list[str]:
    """The names below --root, for completion: a root that cannot be read has none."""
    import os

    try:
        return sorted(os.listdir(argv.settings_of(_values(ctx.find_root(), table.GLOBALS)).root))
    except (OSError, Error):
        return []


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """The name and version first, as callers split that line; go-runc reads it where we are called runc."""
    import platform

    if not asked or ctx.resilient_parsing:
        return
    known = commit()
    click.echo(f"{ctx.command.name} version {VERSION}")
    if known:
        click.echo(f"commit: {known}")
    click.echo(f"spec: {SPEC}\npython: {platform.python_version()}")
    ctx.exit()


def _options_help(title: str, options: tuple[Option, ...], *more: tuple[str, str]) -> str:
    """The options with their long name first; a value is called so."""
    rows = []
    for option in options:
        if not option.hidden:
            value = "" if option.kind == table.FLAG else " value"
            names = ", ".join(f"{'--' if len(name) > 1 else '-'}{name}{value}" for name in option.names)
            shown = option.kind == table.TEXT and option.default
            rows.append((names, option.help + (f" (default: {option.default})" if shown else "")))
    return f"{title}:\n" + _columns([*rows, ("--help, -h", "show help"), *more])


def _indented(text: str) -> str:
    """A paragraph of help, three columns in."""
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())


def _columns(rows: list[tuple[str, str]]) -> str:
    """Two columns, indented."""
    width = max(len(left) for left, _ in rows)
    return "".join(f"   {left:<{width}}  {right}\n" for left, right in rows)
