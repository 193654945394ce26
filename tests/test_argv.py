"""cli/argv.py, cli/help.py and __main__.py: what a command line means, and what is said to a wrong one."""

import os
import posix
import re
import subprocess
from functools import partial

import pytest

from minirunc.base import roots
from minirunc.base.errors import Error
from minirunc.base.version import SPEC, VERSION
from minirunc.cli import argv
from minirunc.cli.table import COMMANDS
from tests.command_line import TOP, run


@pytest.fixture
def minirunc(tmp_path):
    """Run the command line in an empty directory."""
    return partial(run, tmp_path)


def options(line):
    """The options that are not at their default, and the operands."""
    call = argv.parse(line.split())
    unset = {option.key: option.unset() for option in call.command.options}
    return {key: value for key, value in call.options.items() if value != unset[key]}, call.operands


def settings(line):
    return argv.parse(line.split()).settings


def test_every_option_reaches_the_command_under_its_long_name():
    """All options of the table are passed, dashes as underscores, defaults filled in."""
    call = argv.parse(["create", "id"])
    assert call.command is COMMANDS["create"]
    assert call.options == {
        "bundle": "", "config": "", "console_socket": "", "pidfd_socket": "", "pid_file": "", "no_pivot": False,
        "no_new_keyring": False, "preserve_fds": 0, "no_subreaper": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run -b /b id", ({"bundle": "/b"}, ["id"])),
        ("run -bundle=/b id", ({"bundle": "/b"}, ["id"])),
        ("run --b /b id", ({"bundle": "/b"}, ["id"])),
        ("run id -d --pid-file p", ({"detach": True, "pid_file": "p"}, ["id"])),
        ("run -no-subreaper id", ({"no_subreaper": True}, ["id"])),
        ("create --no-subreaper id", ({"no_subreaper": True}, ["id"])),
        ("run --detach --detach=false id", ({}, ["id"])),
        ("run --bundle --keep id", ({"bundle": "--keep"}, ["id"])),
        ("run --bundle /a --bundle /b id", ({"bundle": "/b"}, ["id"])),
        ("run --preserve-fds=12 id", ({"preserve_fds": 12}, ["id"])),
        ("state -- -x", ({}, ["-x"])),
        ("kill id -a 9", ({"all": True}, ["id", "9"])),
        ("exec -e A=1 --env B=2 -g 5 -g 6 id env", (
            {"env": ["A=1", "B=2"], "additional_gids": [5, 6]}, ["id", "env"]
        )),
        ("exec -t id sh -t -- x", ({"tty": True}, ["id", "sh", "-t", "--", "x"])),
        ("exec --no-new-privs=false id x", ({"no_new_privs": False}, ["id", "x"])),
        ("ps id --format json", ({}, ["id", "--format", "json"])),
        ("ps --format json id", ({"format": "json"}, ["id"])),
    ],
)  # fmt: skip
def test_options_are_read_as_go_does(line, expected):
    """Single dashes, =, no bundles; options after operands but for exec and ps; last wins, slices collect."""
    assert options(line) == expected


def test_no_new_privs_has_three_values():
    """Unset leaves the container's own value; false overrides it."""
    values = [argv.parse(["exec", *words, "id"]).options["no_new_privs"] for words in (
        [], ["--no-new-privs"], ["--no-new-privs=false"]
    )]  # fmt: skip
    assert values == [None, True, False]


def test_collected_lists_are_new_each_time():
    """One command line's values do not reach the next, where the parser is used as a library."""
    assert options("exec -e A=1 id x")[0] == {"env": ["A=1"]}
    assert options("exec -e B=2 id x")[0] == {"env": ["B=2"]}


def test_globals_become_settings(monkeypatch):
    """Defaults of the global options, and each of them given."""
    monkeypatch.setitem(posix.environ, b"XDG_RUNTIME_DIR", b"")
    plain = settings("list")
    assert (plain.root, plain.debug, plain.cgroup_manager) == ("/run/minirunc", False, "cgroupfs")
    assert (plain.rootless, plain.log, plain.log_format) == ("auto", "", "text")
    given = settings("--root /r --debug --systemd-cgroup --rootless=1 --log l --log-format json list")
    assert (given.root, given.debug, given.cgroup_manager) == ("/r", True, "systemd")
    assert (given.rootless, given.log, given.log_format) == ("true", "l", "json")
    assert settings("--rootless=F list").rootless == "false"
    levels = {level: settings(f"--log-level {level} list") for level in ("error", "warning", "debug")}
    assert [level.warnings for level in levels.values()] == [False, True, True]
    assert [level.debug for level in levels.values()] == [False, False, True]
    assert settings("--cgroup-manager disabled list").cgroup_manager == "disabled"
    assert settings("--cgroup-manager systemd --systemd-cgroup list").cgroup_manager == "systemd"


@pytest.mark.parametrize("root", ["a", "./a", "a/", "../x", "/a/./b//c/../d", "//x/y", "/x/..//y"])
def test_root_is_made_absolute(root):
    """An error names the same path wherever it comes from."""
    assert argv.absolute_root(root) == os.path.normpath("/" + os.path.abspath(root).lstrip("/"))


@pytest.mark.parametrize("root", ["", "/", "//", "/..", "/a/..", "../" * 50])
def test_root_is_not_the_root_directory(root):
    """--root /: delete would be a disaster."""
    with pytest.raises(Error, match=r"^Option --root argument should not be set to /$"):
        argv.absolute_root(root)


ROOTS = [
    (1000, None, "/run/user/1000", "0 0 4294967295", "/run/user/1000/minirunc"),
    (1000, None, "", "0 0 4294967295", "/run/minirunc"),
    (0, None, "/run/user/0", "0 0 4294967295", "/run/minirunc"),
    (0, "me", "/run/user/0", "0 0 4294967295", "/run/minirunc"),
    (0, "me", "/run/user/1000", "0 1000 1", "/run/user/1000/minirunc"),
    (0, None, "/run/user/1000", "0 1000 1", "/run/user/1000/minirunc"),
    (0, "root", "/run/user/1000", "0 1000 1", "/run/minirunc"),
]


@pytest.mark.parametrize(("euid", "user", "runtime_dir", "uid_map", "expected"), ROOTS)
def test_default_root_is_the_users_own(monkeypatch, tmp_path, euid, user, runtime_dir, uid_map, expected):
    """$XDG_RUNTIME_DIR counts for who is not root, and in a user namespace unless $USER is root there."""
    (tmp_path / "uid_map").write_text(f"         {uid_map}\n")
    monkeypatch.setattr(roots, "geteuid", lambda: euid)
    monkeypatch.setattr(roots, "open", lambda _: (tmp_path / "uid_map").open(), raising=False)
    environment = {b"XDG_RUNTIME_DIR": runtime_dir.encode()} | ({b"USER": user.encode()} if user else {})
    monkeypatch.setattr(roots, "environ", environment)
    assert roots.default_root() == argv.default_root() == expected


def test_own_root_is_made_private_and_sticky(tmp_path):
    """Below $XDG_RUNTIME_DIR a sticky bit keeps the state from being cleaned away."""
    nobody = ("unshare", "--user")  # without a mapping the effective uid is not 0, the files stay our own
    if subprocess.run([*nobody, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespace can be made here")
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = run(tmp_path, "spec", "-b", "none", prefix=nobody, env=env)
    assert done.stderr.endswith('msg="none/config.json: no such file or directory"\n')
    assert (tmp_path / "minirunc").stat().st_mode & 0o7777 == 0o1700
    assert run(tmp_path, "spec", prefix=nobody, env=env).returncode == 0
    env = {"XDG_RUNTIME_DIR": str(tmp_path / "no")}
    done = run(tmp_path, "list", prefix=nobody, env=env)
    assert f"cannot use the state directory in $XDG_RUNTIME_DIR: {tmp_path}/no/minirunc: no such" in done.stderr


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"], ["h"]])
def test_help_of_the_program_begins_as_runcs(minirunc, words):
    """help.bats; without arguments: help, exit 0."""
    done = minirunc(*words)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "NAME:"
    assert lines[1].startswith("   minirunc - Open Container Initiative runtime")
    assert all(
        re.search(rf"^   {name} +{re.escape(row.help)}$", done.stdout, re.MULTILINE) for name, row in COMMANDS.items()
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_begins_as_runcs(minirunc, command):
    """help.bats; every option is there but the hidden ones."""
    done = minirunc(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == minirunc(command, "-h").stdout == minirunc("help", command).stdout
    lines = done.stdout.splitlines()
    assert lines[:2] == ["NAME:", f"   minirunc {command} - {COMMANDS[command].help}"]
    for option in COMMANDS[command].options:
        assert (f"   --{option.name}" in done.stdout) is not option.hidden


def test_help_is_at_most_110_columns_wide(minirunc):
    """It is read in a terminal."""
    for words in ([], *(["help", name] for name in COMMANDS)):
        assert max(map(len, minirunc(*words).stdout.splitlines())) <= 110


def test_an_unknown_command_is_an_error_alone(minirunc):
    """Exit 3, stdout empty."""
    for words in (["foo"], ["foo", "-h"], ["help", "foo"]):
        done = minirunc(*words)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.endswith("level=error msg=\"No help topic for 'foo'\"\n")


def test_an_unknown_global_option_shows_the_help(minirunc):
    """Exit 1; on stdout why and the help, on stderr the error."""
    done = minirunc("-x", "list")
    assert done.returncode == 1
    assert done.stdout.startswith("Incorrect Usage. flag provided but not defined: -x\n\nNAME:\n   minirunc - ")
    assert done.stderr.endswith('level=error msg="flag provided but not defined: -x"\n')


def test_an_unknown_option_shows_the_commands_help(minirunc):
    """As runc: a colon where a command's option is meant."""
    done = minirunc("run", "-x", "id")
    assert done.returncode == 1
    assert done.stdout.startswith("Incorrect Usage: flag provided but not defined: -x\n\nNAME:\n   minirunc run - ")


def test_a_wrong_number_of_operands_is_said_with_the_name_typed(minirunc, tmp_path):
    """<argv0>: "<cmd>" requires ...; exec too exits with 1 here, not with 255."""
    done = minirunc("exec")
    assert done.returncode == 1
    assert done.stdout.startswith("Incorrect Usage.\n\nNAME:\n   minirunc exec - ")
    assert f'msg="{tmp_path}/.bin/minirunc: \\"exec\\" requires a minimum of 1 argument(s)"' in done.stderr


def test_version_is_what_callers_split(minirunc):
    """Moby splits the first line at `version`; go-runc reads spec: and commit:."""
    for option in ("-v", "--version", "-version"):
        done = minirunc(option)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == f"minirunc version {VERSION}"
        assert [line.split(": ")[0] for line in lines[1:] if not line.startswith("commit: ")] == [
            "spec",
            "python",
        ]
        assert f"spec: {SPEC}" in lines
        assert done.stdout.count("version") == 1


@pytest.mark.skipif(not (TOP / ".git").is_dir(), reason="not a git checkout")
def test_version_names_the_commit_of_a_checkout(minirunc):
    """version.bats wants it on the second line."""
    assert re.fullmatch(r"commit: [0-9a-f]{40}", minirunc("-v").stdout.splitlines()[1])


def test_called_runc_it_says_runc(minirunc):
    """go-runc looks for a line that begins with `runc version`, upstream tests for `runc create failed`."""
    assert minirunc("-v", name="runc").stdout.startswith(f"runc version {VERSION}\n")
    assert minirunc("start", "-h", name="runc").stdout.startswith("NAME:\n   runc start - ")


COMPLETIONS = [
    ("minirunc s", 1, ["start", "state", "spec"]),
    ("minirunc --lo", 1, ["--log", "--log-format", "--log-level"]),
    ("minirunc run --de", 2, ["--detach"]),
    ("minirunc kill --a", 2, []),
    ("minirunc --root roots state ", 4, ["abc", "abd", "x"]),
    ("minirunc --root=roots state ab", 3, ["abc", "abd"]),
    ("minirunc --root roots delete --force ab", 5, ["abc", "abd"]),
    ("minirunc --root roots exec -e A=1 -t ab", 7, ["abc", "abd"]),
    ("minirunc --root roots state abc ", 5, []),
    ("minirunc --root roots run ", 4, []),
    ("minirunc --root missing state ", 4, []),
    ("minirunc --root / state ", 4, []),
]


@pytest.mark.parametrize(("line", "word", "expected"), COMPLETIONS)
def test_completion_knows_commands_options_and_ids(minirunc, tmp_path, line, word, expected):
    """Shell completion comes from click, by the table; ids from the root."""
    for name in ("abc", "abd", "x"):
        (tmp_path / "roots" / name).mkdir(parents=True)
    env = {"_MINIRUNC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(word)}
    done = minirunc(env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert [found.split(",")[1] for found in done.stdout.split()] == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed_as_help_says(minirunc, shell):
    """The help's COMPLETION paragraph."""
    assert f"_MINIRUNC_COMPLETE={shell}_source minirunc" in minirunc("-h").stdout
    done = minirunc(env={"_MINIRUNC_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0
    assert f"_MINIRUNC_COMPLETE={shell}_complete" in done.stdout


def test_a_reader_that_left_is_no_error(tmp_path):
    """`minirunc help | head -1`: the status of SIGPIPE, no message."""
    read, write = os.pipe()
    os.close(read)
    done = run(tmp_path, "features", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_odd_bytes_in_arguments_survive(minirunc):
    """File names need not be UTF-8, and nor must what is typed by mistake."""
    done = minirunc("--no" + os.fsdecode(b"\xff"))
    assert done.returncode == 1
    assert done.stdout.startswith("Incorrect Usage. flag provided but not defined: -no\udcff\n")
    assert done.stderr.endswith('msg="flag provided but not defined: -no\\xff"\n')
    done = minirunc("spec", "-b", os.fsdecode(b"no\xff"))
    assert done.stderr.endswith('msg="no\\xff/config.json: no such file or directory"\n')
