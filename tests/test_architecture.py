"""The layout's rules, asserted: import direction, what a hot command loads, one command line for two parsers, sizes."""

import ast
import inspect
import shlex
import subprocess
import sys
from importlib import import_module

import pytest

from minirunc.base.errors import Error
from minirunc.cli import argv, table
from minirunc.cli import help as full
from tests import argv_corpus
from tests.command_line import TOP

# Imports point down only; faces and entry points are above all.
LAYERS = {"base": 0, "kernel": 1, "config": 2, "cgroup": 2, "container": 3, "commands": 4, "cli": 5, "": 6}

# What a hot command never loads: a start costs milliseconds.
BANNED = set(
    """argparse asyncio click collections contextlib dataclasses enum functools jeepney json logging pathlib prctl
    pyroute2 re shutil signal socket subprocess tempfile traceback typing""".split()  # noqa: SIM905
)
LONG = {"minirunc.kernel.syscalls": 600}  # one def a system call
SPREAD = ("minirunc.config.mounts",)  # one field in several files
COLD = ("spec", "features")

SOURCES = {
    ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((TOP / "minirunc").rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in SOURCES.items()}


def imports(name):
    """The modules of ours that a module imports, at the top or later, for the checker or to run."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "minirunc")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            if node.module and node.module.split(".")[0] == "minirunc":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in TREES else node.module


def layer(name):
    """The package below minirunc; "" for the package itself and __main__."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else ""


@pytest.mark.parametrize("name", TREES)
def test_imports_point_down(name):
    """cli > commands > container > config, cgroup > kernel > base; levels may be skipped."""
    wrong = {
        found for found in imports(name) if layer(found) != layer(name) and LAYERS[layer(found)] >= LAYERS[layer(name)]
    }
    assert not wrong


@pytest.mark.parametrize("name", [name for name in TREES if layer(name) == "config"])
def test_fields_know_only_what_they_consist_of(name):
    """Siblings in config/ never import each other: a field imports its own parts, or the field it is part of."""

    def known(found):
        whole, part = sorted((name, found), key=len)
        same_field = any(name.startswith(f"{field}.") and found.startswith(f"{field}.") for field in SPREAD)
        return layer(found) != "config" or f"{part}.".startswith(f"{whole}.") or same_field

    assert not {found for found in imports(name) if not known(found)}


def loaded_by(module):
    """The modules in sys.modules after the entry and this module are imported, as the launcher starts Python."""
    program = (
        f"import sys; sys.path.append({str(TOP)!r})\n"
        f"import minirunc.__main__, {module}\n"
        "sys.stdout.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("command", [name for name in table.COMMANDS if name not in COLD])
def test_a_hot_command_loads_the_ground_list_only(command):
    """`python -I -S` is 7 ms; each of the banned modules adds to it."""
    loaded = {name.split(".")[0] for name in loaded_by(table.COMMANDS[command].target.partition(":")[0])}
    assert not loaded & BANNED


def test_an_error_of_the_runtime_loads_no_more():
    """Callers ask for the state of containers that are gone; that is no reason to load click."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c",
         f"import sys; sys.path.append({str(TOP)!r}); from minirunc.__main__ import main; main()",
         "--root", "/nonexistent", "state", "x"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time:" in line}
    assert "minirunc.commands.state" in loaded
    assert not {name.split(".")[0] for name in loaded} & BANNED


def understood(call):
    """A call as plain values."""
    settings = {name: getattr(call.settings, name) for name in call.settings.__slots__}
    return call.command.name, call.operands, call.options, settings


def lines(text):
    return text.strip("\n").split("\n")


def test_the_corpus_is_large():
    """Enough command lines to mean something."""
    assert len(lines(argv_corpus.FAST)) + len(lines(argv_corpus.HELP)) + len(argv_corpus.SLOW) > 150
    assert len(argv_corpus.WRONG) > 60


@pytest.mark.parametrize("line", lines(argv_corpus.FAST))
def test_both_parsers_agree(line):
    """What the lean parser understands, click understands the same."""
    words = shlex.split(line)
    lean, explained = argv.parse(words), full.parse("minirunc", words)
    assert lean is not None
    assert isinstance(explained, argv.Call)
    assert understood(lean) == understood(explained)
    assert {type(value) for value in lean.operands} <= {str}


@pytest.mark.parametrize("line", argv_corpus.SLOW)
def test_rare_spellings_are_left_to_click(line):
    """Numbers as Go's ParseInt reads them."""
    words = shlex.split(line)
    assert argv.parse(words) is None
    options = full.parse("minirunc", words).options
    numbers = [options.get(name) for name in ("preserve_fds", "pids_limit", "blkio_weight")]
    assert argv_corpus.SLOW[line] in numbers + (options.get("additional_gids") or [])


@pytest.mark.parametrize("line", lines(argv_corpus.HELP))
def test_help_is_left_to_click(line, capfd):
    """Help and version are printed and nothing is called."""
    words = shlex.split(line)
    assert argv.parse(words) is None
    assert full.parse("minirunc", words) == 0
    out, err = capfd.readouterr()
    assert (out.startswith(("NAME:\n   minirunc", "minirunc version ")), err) == (True, "")


@pytest.mark.parametrize("line", argv_corpus.WRONG)
def test_the_lean_parser_takes_nothing_wrong(line):
    """A fast path succeeds or hands the same input to the full library, which explains."""
    words = shlex.split(line)
    assert argv.parse(words) is None
    with pytest.raises(Error) as wrong:
        full.parse("minirunc", words)
    assert str(wrong.value) == argv_corpus.WRONG[line]


@pytest.mark.parametrize("command", table.COMMANDS)
def test_targets_take_what_the_table_gives(command):
    """Each option is a keyword argument of its target, each operand a positional one; no other is without a default."""
    row = table.COMMANDS[command]
    module, _, name = row.target.partition(":")
    parameters = list(inspect.signature(getattr(import_module(module), name)).parameters.values())
    keywords = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert keywords == {option.key for option in row.options}
    assert not [parameter for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert positional[0].name == "settings"
    rest = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    assert rest is (row.most is None)
    assert sum(parameter.default is parameter.empty for parameter in positional) - 1 == row.least
    assert rest or len(positional) - 1 == row.most


def test_option_names_are_unambiguous():
    """One name, one option, in each command and among the global ones; -h and --help are taken."""
    for options in (table.GLOBALS, *(row.options for row in table.COMMANDS.values())):
        names = ["help", "h", *(name for option in options for name in option.names)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", TREES)
def test_a_module_opens_with_a_docstring(name):
    """One sentence that says what it is."""
    assert ast.get_docstring(TREES[name])


@pytest.mark.parametrize("name", TREES)
def test_files_and_functions_are_short(name):
    """Files of at most 400 lines, functions of at most 60 below their signature."""
    assert len(SOURCES[name].read_text().splitlines()) <= LONG.get(name, 400)
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lengths = {node.name: node.end_lineno - node.body[0].lineno + 1 for node in functions}
    assert not {function: length for function, length in lengths.items() if length > 60}
