"""What is wrong with a bundle, an id, an option or the place for a result: one line that names it, and nothing left.

The words of one field are in tests/test_config*.py, those of an exec in tests/test_exec.py; here is what a caller sees.
"""

import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirunc.cli.table import COMMANDS, FLAG
from minirunc.kernel import lsm
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Result, Runtime

LINE = re.compile(r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=error msg=(?P<message>"(?:[^"\\]|\\.)*"|\S+)\n')
NAMED = [command for command in COMMANDS.values() if command.least]  # those that take an id


def said(result: Result, status: int = 1) -> str:
    """The message of a failure: the one line on stderr, nothing on stdout."""
    assert (result.status, result.out) == (status, ""), result
    return message(result.err)


def message(err: str) -> str:
    """The message of the one line that stderr is."""
    found = LINE.fullmatch(err)
    assert found, err
    text = found["message"]
    text = json.loads(text) if text.startswith('"') else text
    assert not re.search("internal error|Traceback", text), text
    return text


def born(minirunc: Runtime, bundle: Bundle, *options: object, command: str = "run") -> str:
    """What run or create says of a bundle as it is, without the words before; no state directory is made."""
    result = minirunc(command, *options, "--bundle", bundle.path, minirunc.id())
    text = said(result)
    assert text.startswith(f"minirunc {command} failed: ")
    assert leftovers.state_directories(minirunc.root) == set()
    assert sorted(entry.name for entry in bundle.path.iterdir()) in (
        ["config.json"],
        ["rootfs"],
        ["config.json", "rootfs"],
    )
    return text.removeprefix(f"minirunc {command} failed: ").replace(str(bundle.path), "BUNDLE")


BROKEN = {
    "empty": (b"", ":1:1: expecting value"),
    "blank": (b" \n\t\n", ":3:1: expecting value"),
    "null": (b"null", ": config cannot be null"),
    "list": (b"[]", ": expected an object, got a list"),
    "string": (b'"x"', ': expected an object, got a string ("x")'),
    "number": (b"1", ": expected an object, got an integer (1)"),
    "empty object": (b"{}", ": process: process property must not be empty"),
    "trailing comma": (b'{\n  "root": {},\n}', ":3:1: expecting property name enclosed in double quotes"),
    "cut off": (b'{\n  "root": {"path": "x"', ":2:23: expecting ',' delimiter"),
    "string cut off": (b'{\n  "root', ":2:3: unterminated string starting"),
    "more after the end": (b"{}\n x", ":2:2: extra data"),
    "comment": (b'{\n  // no\n  "root": 1}', ":2:3: expecting property name enclosed in double quotes"),
    "newline in a string": (b'{"a": "x\ny"}', ":1:9: invalid control character"),
    "bad escape": (b'{"a": "\\x41"}', ":1:8: invalid \\escape"),
    "NaN": (b'{"a":\n NaN}', ":2:2: NaN is not JSON"),
    "endless number": (b'{"a": ' + b"1" * 5000 + b"}", ":1:7: a number of too many digits"),
    "not UTF-8": (b'{\n "hostname": "a\xffb"}', ":2:16: not UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), ":1:1: not UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf{}", ":1:1: begins with a byte order mark"),
    "NUL bytes": (bytes(512), ":1:1: expecting value"),
    "deep lists": (b"[" * 100_000, ": nested too deeply"),
    "deep lists, complete": (b"[" * 100_000 + b"]" * 100_000, ": nested too deeply"),
    "deep lists, short": (b"[" * 2000 + b"]" * 2000, ": nested too deeply"),
    "deep objects": (b'{"annotations":' * 5000 + b"1" + b"}" * 5000, ": nested too deeply"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_config_is_told_with_line_and_column(
    minirunc: Runtime, bundle: Callable[..., Bundle], case: str
) -> None:
    """Where JSON is at fault; else what stands there in place of an object."""
    made = bundle()
    text, why = BROKEN[case]
    made.file.write_bytes(text)
    assert born(minirunc, made) == f"config.json{why}"


class TestMissing:
    """What a bundle consists of is not there, or something else is in its place."""

    @pytest.mark.parametrize("command", ["run", "create"])
    def test_config(self, minirunc: Runtime, bundle: Callable[..., Bundle], command: str) -> None:
        """The bundle is named: it may be the wrong one."""
        made = bundle()
        made.file.unlink()
        why = "JSON specification file config.json not found in BUNDLE"
        assert born(minirunc, made, command=command) == why

    def test_config_is_a_directory(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """As a bind mount of a file that was not there makes it."""
        made = bundle()
        made.file.unlink()
        made.file.mkdir()
        assert born(minirunc, made) == "BUNDLE/config.json: is a directory"

    @pytest.mark.parametrize(
        ("target", "what"),
        [("/dev/zero", "a device"), ("/dev/null", "a device"), ("fifo", "a fifo"), ("socket", "a socket")],
    )
    def test_config_is_no_plain_file(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, target: str, what: str
    ) -> None:
        """It is not opened: that may wait for ever, or do something; some never end."""
        made = bundle()
        os.mkfifo(tmp_path / "fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "socket"))
            made.file.unlink()
            made.file.symlink_to(tmp_path / target)
            assert born(minirunc, made) == f"BUNDLE/config.json: expected a plain file, got {what}"

    @pytest.mark.parametrize("size", [(16 << 20) + 1, 1 << 40])
    def test_config_is_too_large(self, minirunc: Runtime, bundle: Callable[..., Bundle], size: int) -> None:
        """Said without reading it."""
        made = bundle()
        os.truncate(made.file, size)
        assert born(minirunc, made) == "BUNDLE/config.json: is larger than 16 MiB"

    def test_process_file_that_never_ends(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """exec --process: it may be a pipe, so it is read, but not for ever."""
        id = minirunc.start(bundle("sleep 1000"))
        told = said(minirunc("exec", "--process", "/dev/zero", id), 255)
        assert told == "exec failed: /dev/zero: is larger than 16 MiB"

    def test_config_is_a_link_to_itself(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """The kernel's words."""
        made = bundle()
        made.file.unlink()
        made.file.symlink_to("config.json")
        assert born(minirunc, made) == "BUNDLE/config.json: too many levels of symbolic links"

    def test_bundle(self, minirunc: Runtime, tmp_path: Path) -> None:
        """--bundle of nothing, and of a file."""
        (tmp_path / "file").touch()
        for name, why in (
            ("none", f"JSON specification file config.json not found in {tmp_path}/none"),
            ("file", f"{tmp_path}/file/config.json: not a directory"),
        ):
            result = minirunc("run", "--bundle", tmp_path / name, minirunc.id())
            assert said(result) == f"minirunc run failed: {why}"

    def test_config_in_the_current_directory(self, minirunc: Runtime, tmp_path: Path) -> None:
        """Without --bundle."""
        result = minirunc("create", minirunc.id(), cwd=tmp_path)
        assert said(result) == f"minirunc create failed: JSON specification file config.json not found in {tmp_path}"

    def test_rootfs(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """The path is the host's."""
        made = bundle()
        shutil.rmtree(made.rootfs)
        assert born(minirunc, made) == "invalid rootfs: stat BUNDLE/rootfs: no such file or directory"

    def test_rootfs_is_a_file(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """Such as the archive that was not unpacked."""
        made = bundle()
        shutil.rmtree(made.rootfs)
        made.rootfs.touch()
        assert born(minirunc, made) == "invalid rootfs: BUNDLE/rootfs is not a directory"


# JSON path, what stands there, what is said of it
WRONG = {
    "process of another type": ("process", [], "process: expected an object, got a list"),
    "args of another type": ("process.args", "true", 'process.args: expected a list, got a string ("true")'),
    "args with a number": ("process.args", ["a", 1], "process.args[1]: expected a string, got an integer (1)"),
    "args without any": ("process.args", [], "process.args: args must not be empty"),
    "cwd missing": ("process.cwd", None, "process.cwd: Cwd property must not be empty"),
    "cwd relative": ("process.cwd", "etc", "process.cwd: Cwd must be an absolute path"),
    "flag as a string": (
        "process.terminal",
        "true",
        'process.terminal: expected true or false, got a string ("true")',
    ),
    "negative id": ("process.user.uid", -1, "process.user.uid: expected an integer from 0 to 4294967295, got -1"),
    "env without =": ("process.env", ["A=1", "B"], "process.env[1]: invalid environment variable: missing '='"),
    "unknown namespace": (
        "linux.namespaces",
        [{"type": "mount"}, {"type": "uts"}, {"type": "disk"}],
        (
            'linux.namespaces[2].type: namespace "disk" does not exist: expected one of cgroup, ipc, mount, network,'
            " pid, time, user, uts"
        ),
    ),
    "mount without a place": ("mounts", [{"type": "proc"}], "mounts[0].destination: missing"),
    "hook without a path": ("hooks", {"poststop": [{}]}, "hooks.poststop[0].path: missing"),
    "hostname too long": ("hostname", "x" * 65, "hostname: has 65 bytes, the kernel takes 64"),
    "fraction": ("process.oomScoreAdj", 0.5, "process.oomScoreAdj: expected an integer, got a number (0.5)"),
    "annotation of another type": ("annotations", {"a.b": {}}, 'annotations["a.b"]: expected a string, got an object'),
    "version missing": ("ociVersion", None, "ociVersion: missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_value_is_told_with_its_json_path(minirunc: Runtime, bundle: Callable[..., Bundle], case: str) -> None:
    """And what was expected there."""
    made = bundle()
    path, value, why = WRONG[case]
    put(made, path, value)
    assert born(minirunc, made) == f"config.json: {why}"


NO_SELINUX = "selinux label is specified in config, but selinux is disabled or not supported"
LABELS: dict[str, tuple[str, Any, str]] = {
    "linux.mountLabel": ("selinux", "system_u:object_r:x_t:s0", NO_SELINUX),
    "process.apparmorProfile": (
        "apparmor",
        "docker-default",
        "apparmor failed to apply profile: AppArmor is not enabled on this host",
    ),
    "process.selinuxLabel": ("selinux", "a:b:c:d", NO_SELINUX),
}


@pytest.mark.parametrize("path", LABELS)
def test_label_of_a_security_module_that_is_not_on(minirunc: Runtime, bundle: Callable[..., Bundle], path: str) -> None:
    """Never silently ignored (tests/uml/apparmor, tests/uml/selinux have kernels with one)."""
    module, value, why = LABELS[path]
    if getattr(lsm, module)():
        pytest.skip(f"this host has {module} on")
    made = bundle()
    put(made, path, value)
    assert born(minirunc, made) == f"config.json: {path}: {why}"


def test_unconfined_needs_no_apparmor(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """It is what every process is there."""
    made = bundle()
    made.process["apparmorProfile"] = "unconfined"
    assert minirunc.run(made) == (0, "", "")


@pytest.mark.parametrize("command", ["run", "create"])
@pytest.mark.parametrize("option", ["--systemd-cgroup", "--cgroup-manager=systemd"])
def test_systemd_driver_needs_systemd(
    minirunc: Runtime, bundle: Callable[..., Bundle], command: str, option: str
) -> None:
    """--systemd-cgroup on a host that was not booted with it: said at once, with what to do."""
    if Path("/run/systemd/system").exists():
        pytest.skip("this host was booted with systemd")
    result = minirunc(command, "--bundle", bundle().path, minirunc.id(), before=[option])
    assert said(result) == (
        f"minirunc {command} failed: systemd cgroup flag passed, but systemd support for managing cgroups is not"
        " available: there is no /run/systemd/system; boot with systemd, or use --cgroup-manager cgroupfs"
    )


LIMITS = {
    "memory": {"memory": {"limit": 1 << 26}},
    "pids": {"pids": {"limit": 5}},
    "cpu": {"cpu": {"quota": 5000, "period": 10000}},
    "cpuset": {"cpu": {"cpus": "0"}},
    "io": {"blockIO": {"weight": 100}},
}


class TestLimitWithoutItsController:
    """linux.resources: the controller is named, why it is not there, and what to do."""

    @pytest.mark.parametrize("controller", LIMITS)
    def test_on_a_hybrid_host(self, minirunc: Runtime, bundle: Callable[..., Bundle], controller: str) -> None:
        """cgroup v1 holds it."""
        if Path("/sys/fs/cgroup") in leftovers.cgroup2_mounts():
            pytest.skip("this host has cgroup v2 alone")
        why = (
            f"the {controller} controller is not available: this host is hybrid, cgroup v1 holds it;"
            " remove the limit, or boot with systemd.unified_cgroup_hierarchy=1"
        )
        self.refused(minirunc, bundle(), controller, why)

    def test_that_no_kernel_here_has(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """Then no other mode of the host would help."""
        if "rdma" in Path("/proc/cgroups").read_text():
            pytest.skip("this kernel has the rdma controller")
        made = bundle()
        made.linux["resources"]["rdma"] = {"mlx5_0": {"hcaHandles": 1}}
        result = minirunc.run(made)
        assert result.status == 1
        assert "config.json: linux.resources.rdma: this kernel has no rdma controller; remove the limit" in result.err

    @pytest.mark.parametrize("controller", LIMITS)
    def test_where_it_is_not_delegated(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], pure_v2: list[str], controller: str
    ) -> None:
        """It may be the caller's own cgroup that does not have it."""
        why = f"the {controller} controller is not available in this cgroup; remove the limit, or have it delegated"
        why += f" (with systemd: Delegate={controller} in user@.service)"
        self.refused(minirunc, bundle(), controller, why)

    def refused(self, minirunc: Runtime, made: Bundle, controller: str, why: str) -> None:
        """Run with a limit of the controller's."""
        if controller in (leftovers.cgroup2_mounts()[0] / "cgroup.controllers").read_text().split():
            pytest.skip(f"cgroup v2 has the {controller} controller here")
        made.linux["resources"] |= LIMITS[controller]
        made.write()
        (field,) = LIMITS[controller]
        assert born(minirunc, made) == f"config.json: linux.resources.{field}: {why}"


# args, PATH, what is said
PROGRAMS = {
    "not in PATH": ("nosuch", "/bin:/usr/bin", "executable file not found in $PATH"),
    "PATH is empty": ("true", "", "executable file not found in $PATH"),
    "in PATH, but no program": ("passwd", "/etc", "executable file not found in $PATH"),
    "in PATH, but a directory": ("etc", "/", "executable file not found in $PATH"),
    "no name": ("", "/bin", "executable file not found in $PATH"),
    "name with a newline": ("no\nsuch", "/bin", "executable file not found in $PATH"),
    "absolute": ("/nosuch", "/bin", "stat /nosuch: no such file or directory"),
    "relative": ("./nosuch", "/bin", "stat ./nosuch: no such file or directory"),
    "below a file": ("/etc/passwd/x", "/bin", "stat /etc/passwd/x: not a directory"),
    "directory": ("/etc", "/bin", "is a directory"),
    "no x bit": ("/etc/passwd", "/bin", "permission denied"),
}


@pytest.mark.parametrize("command", ["run", "create"])
@pytest.mark.parametrize("case", PROGRAMS)
def test_program_that_is_not_there(minirunc: Runtime, bundle: Callable[..., Bundle], case: str, command: str) -> None:
    """Found out before create returns, in the words callers look for."""
    program, path, why = PROGRAMS[case]
    made = bundle([program])
    made.process["env"] = [f"PATH={path}"]
    made.write()
    told = born(minirunc, made, command=command)
    assert told == f'unable to start container process: exec: "{program}": {why}'


def test_program_without_a_path_variable(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.env: nothing is assumed, and not the caller's PATH."""
    made = bundle()
    made.process["env"] = []
    made.write()
    why = 'exec: "true": executable file not found in $PATH'
    assert born(minirunc, made) == f"unable to start container process: {why}"


@pytest.mark.parametrize("cwd", ["/etc/passwd", "/etc/passwd/x"])
def test_cwd_that_is_a_file(minirunc: Runtime, bundle: Callable[..., Bundle], cwd: str) -> None:
    """A directory that is missing would be made."""
    made = bundle()
    made.process["cwd"] = cwd
    made.write()
    why = f'chdir to cwd ("{cwd}") set in config.json failed: not a directory'
    assert born(minirunc, made) == f"unable to start container process: {why}"


@pytest.mark.parametrize("command", ["run", "create"])
def test_id_in_use(minirunc: Runtime, bundle: Callable[..., Bundle], command: str) -> None:
    """Whoever has it keeps it, and goes on."""
    made = bundle("sleep 1000")
    id = minirunc.start(made)
    before = minirunc.state(id)
    result = minirunc(command, "--bundle", made.path, id)
    assert said(result) == f"minirunc {command} failed: container with given ID already exists: {id}"
    assert minirunc.state(id) == before


@pytest.mark.parametrize("id", ["..", ".", "a/b", "/", "../x", "a\nb", "a b", "é", "a\udcff", "$(id)", "*"])
def test_id_that_is_no_plain_name(minirunc: Runtime, bundle: Callable[..., Bundle], id: str) -> None:
    """It becomes the name of a directory and of a cgroup: every command refuses it, and shows it on one line."""
    made = bundle()
    for command in NAMED:
        result = minirunc(*called(command.name, id), cwd=made.path)
        told = said(result, command.failure)
        assert "invalid container ID format: '" in told
        assert told.endswith("': letters, digits and _ + - . are allowed")
        assert "\n" not in told
    assert not minirunc.root.exists()


def test_id_that_is_empty(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Such as an unset variable of a script's."""
    made = bundle()
    for command in NAMED:
        result = minirunc(*called(command.name, ""), cwd=made.path)
        assert said(result, command.failure).endswith("container id cannot be empty")
    assert not minirunc.root.exists()


def test_id_that_is_too_long_for_a_file(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """NAME_MAX, which no directory and no cgroup exceeds."""
    made = bundle()
    for command in NAMED:
        result = minirunc(*called(command.name, "x" * 256), cwd=made.path)
        told = said(result, command.failure)
        assert f"{minirunc.root}/{'x' * 256}" in told
        assert told.endswith(": file name too long")


def test_unknown_container(minirunc: Runtime) -> None:
    """All commands but those that make one name it; `delete --force` has nothing to do."""
    for command in NAMED:
        if command.name not in ("create", "run"):
            told = said(minirunc(*called(command.name, "nosuch")), command.failure)
            assert told.removeprefix("exec failed: ") == "container does not exist: nosuch"
    assert minirunc("delete", "--force", "nosuch") == Result(0, "", "")


@pytest.mark.parametrize("words", [("frob",), ("frob", "x"), ("Run", "x"), ("updates", "x")])
def test_unknown_command(minirunc: Runtime, words: tuple[str, ...]) -> None:
    """Exit status 3."""
    assert said(minirunc(*words), 3) == f"No help topic for '{words[0]}'"


class TestUsage:
    """The help of the command is on stdout, what is wrong on stderr; the exit status is 1, of exec too."""

    def told(self, minirunc: Runtime, *words: str) -> str:
        """What stderr says of a command line that is none."""
        result = minirunc(*words)
        assert result.status == 1
        assert re.match(r"Incorrect Usage[.:]", result.out)
        assert "\n\nNAME:\n   minirunc " in result.out
        return message(result.err)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_unknown_option(self, minirunc: Runtime, command: str) -> None:
        """Before and after an operand."""
        assert self.told(minirunc, command, "--nosuch", "x") == "flag provided but not defined: -nosuch"
        if COMMANDS[command].interspersed:
            assert self.told(minirunc, command, "x", "-nosuch=1") == "flag provided but not defined: -nosuch"

    def test_unknown_global_option(self, minirunc: Runtime) -> None:
        """The command's own options are none of the global ones."""
        assert self.told(minirunc, "--detach", "run", "x") == "flag provided but not defined: -detach"

    @pytest.mark.parametrize("command", [name for name in COMMANDS if COMMANDS[name].options])
    def test_option_without_its_value(self, minirunc: Runtime, command: str) -> None:
        """Each that takes one."""
        for option in COMMANDS[command].options:
            if option.kind != FLAG:
                told = self.told(minirunc, command, f"--{option.name}")
                assert told == f"flag needs an argument: -{option.name}"

    @pytest.mark.parametrize("command", [name for name in COMMANDS if COMMANDS[name].least])
    def test_too_few_operands(self, minirunc: Runtime, command: str) -> None:
        """The container's id is missing."""
        least, most = COMMANDS[command].least, COMMANDS[command].most
        wanted = f"exactly {least}" if least == most else f"a minimum of {least}"
        assert self.told(minirunc, command) == f'{minirunc.binary}: "{command}" requires {wanted} argument(s)'

    @pytest.mark.parametrize("command", [name for name in COMMANDS if COMMANDS[name].most is not None])
    def test_too_many_operands(self, minirunc: Runtime, command: str) -> None:
        """One more than it takes; nothing is done to the first."""
        least, most = COMMANDS[command].least, COMMANDS[command].most
        assert most is not None
        wanted = f"exactly {most}" if least == most else f"a maximum of {most}"
        told = self.told(minirunc, command, *"abcd"[: most + 1])
        assert told == f'{minirunc.binary}: "{command}" requires {wanted} argument(s)'

    @pytest.mark.parametrize("number", ["x", "", "1.5", "1 "])
    def test_number_that_is_none(self, minirunc: Runtime, number: str) -> None:
        """--preserve-fds."""
        told = self.told(minirunc, "run", "--preserve-fds", number, "x")
        assert told == f'invalid value "{number}" for flag -preserve-fds: parse error'

    @pytest.mark.parametrize("digits", ["9" * 25, "1" * 5000])
    def test_number_of_many_digits(self, minirunc: Runtime, bundle: Callable[..., Bundle], digits: str) -> None:
        """Which Python itself refuses to read."""
        id = minirunc.start(bundle("sleep 1000"))
        assert said(minirunc("kill", id, digits)) == f'unknown signal "{digits}"'
        told = said(minirunc("exec", "--user", digits, id, "true"), 255)
        assert told == f"exec failed: bad uid: parsing '{digits[:40]}': expected a number from 0 to 4294967294"


# global options and what is said of them
GLOBALS = {
    "log format": (("--log-format", "xml"), "invalid log-format: xml"),
    "rootless": (("--rootless", "maybe"), "invalid value for --rootless: maybe (true, false or auto)"),
    "root is the root": (("--root", "/"), "Option --root argument should not be set to /"),
    "log in a missing directory": (("--log", "/nosuch/log"), "open /nosuch/log: no such file or directory"),
    "log is a directory": (("--log", "/proc"), "open /proc: is a directory"),
    "log below a file": (("--log", "/proc/version/log"), "open /proc/version/log: not a directory"),
}


@pytest.mark.parametrize("case", GLOBALS)
def test_wrong_global_option(minirunc: Runtime, bundle: Callable[..., Bundle], case: str) -> None:
    """Said before anything is done, whatever the command."""
    words, why = GLOBALS[case]
    made = bundle("touch /done")
    for command in (("run", "--bundle", made.path, minirunc.id()), ("list",), ("exec", "x", "true")):
        assert said(minirunc(*command, before=words)) == why
    assert not (made.rootfs / "done").exists()


class TestRootThatIsAFile:
    """--root: nothing can be made there, and nothing is there."""

    @pytest.fixture
    def root(self, minirunc: Runtime, tmp_path: Path) -> str:
        """A file."""
        file = tmp_path / "file"
        file.write_text("x")
        return str(file)

    @pytest.mark.parametrize("command", ["run", "create"])
    def test_birth(self, minirunc: Runtime, bundle: Callable[..., Bundle], root: str, command: str) -> None:
        """The directory that cannot be made is named."""
        result = minirunc(command, "--bundle", bundle().path, "x", before=["--root", root])
        why = f"cannot make the state directory {root}/x: not a directory"
        assert said(result) == f"minirunc {command} failed: {why}"
        assert Path(root).read_text() == "x"

    def test_list(self, minirunc: Runtime, root: str) -> None:
        """The root is named."""
        assert said(minirunc("list", before=["--root", root])) == f"{root}: not a directory"

    def test_others(self, minirunc: Runtime, root: str) -> None:
        """There is no such container."""
        for command in ("state", "start", "kill", "delete", "pause", "resume", "ps"):
            assert said(minirunc(command, "x", before=["--root", root])) == "container does not exist: x"


class TestPlaceForAResult:
    """What a caller waits for cannot be given: the container or process is undone."""

    @pytest.mark.parametrize("command", [("run",), ("run", "--detach"), ("create",)])
    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ("nosuch/pid", "no such file or directory"),
            ("file/pid", "not a directory"),
            ("directory", "is a directory"),
        ],
    )
    def test_pid_file(
        self,
        minirunc: Runtime,
        bundle: Callable[..., Bundle],
        tmp_path: Path,
        command: tuple[str, ...],
        place: str,
        why: str,
    ) -> None:
        """--pid-file."""
        (tmp_path / "file").touch()
        (tmp_path / "directory").mkdir()
        name, *options = command
        told = born(minirunc, bundle("sleep 1000"), *options, "--pid-file", tmp_path / place, command=name)
        assert told == f"pid file {tmp_path / place}: {why}"
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ("nosuch", "no such file or directory"),
            ("nosuch/" + "x" * 120, "no such file or directory"),
            ("file", "connection refused"),
            ("file/socket", "not a directory"),
        ],
    )
    @pytest.mark.parametrize("kind", ["console", "pidfd"])
    def test_socket(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, kind: str, place: str, why: str
    ) -> None:
        """--console-socket, --pidfd-socket: nobody listens there."""
        (tmp_path / "file").touch()
        made = bundle("sleep 1000")
        made.process["terminal"] = kind == "console"
        made.write()
        socket = tmp_path / place
        for command in (("create",), ("run", "--detach")):
            name, *options = command
            told = born(minirunc, made, *options, f"--{kind}-socket", socket, command=name)
            assert told == f"socket {socket}: {why}"

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (("--pid-file", "/nosuch/pid"), "pid file /nosuch/pid: no such file or directory"),
            (("--tty", "--console-socket", "/nosuch"), "socket /nosuch: no such file or directory"),
            (("--pidfd-socket", "/nosuch"), "socket /nosuch: no such file or directory"),
        ],
    )
    def test_of_exec(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], options: tuple[str, ...], why: str
    ) -> None:
        """The container goes on, without the process."""
        id = minirunc.start(bundle("sleep 1000"))
        result = minirunc("exec", "--detach", *options, id, "sleep", "1000")
        assert said(result, 255) == f"exec failed: {why}"
        assert json.loads(minirunc.ok("ps", "--format", "json", id)) == [minirunc.pid(id)]


class TestTerminal:
    """process.terminal and the options that go with it."""

    @pytest.mark.parametrize("command", [("create",), ("run", "--detach")])
    def test_nobody_takes_it(self, minirunc: Runtime, bundle: Callable[..., Bundle], command: tuple[str, ...]) -> None:
        """--console-socket is missing."""
        made = bundle()
        made.process["terminal"] = True
        made.write()
        name, *options = command
        why = "cannot allocate tty if minirunc will detach without setting console socket"
        assert born(minirunc, made, *options, command=name) == f"config.json: process.terminal: {why}"

    def test_there_is_none_to_give(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """A console socket for a process without a terminal."""
        told = born(minirunc, bundle(), "--console-socket", "/nosuch", command="create")
        assert told == "cannot use console socket if minirunc will not detach or allocate tty"


def test_fd_to_be_kept_that_is_closed(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """--preserve-fds."""
    told = born(minirunc, bundle(), "--preserve-fds", "2")
    assert told == "unable to stat preserved-fd 0 (of 2): bad file descriptor"


def test_spec_leaves_a_config_alone(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """And says of a missing directory which."""
    made = bundle()
    before = made.file.read_bytes()
    assert said(minirunc("spec", "--bundle", made.path)) == "File config.json exists. Remove it first"
    assert made.file.read_bytes() == before
    missing = made.path / "nosuch"
    assert said(minirunc("spec", "--bundle", missing)) == f"{missing}/config.json: no such file or directory"


def put(made: Bundle, path: str, value: object) -> None:
    """Set a member of the config by its JSON path, and write it."""
    *above, last = path.split(".")
    place = made.config
    for name in above:
        place = place[name]
    place[last] = value
    made.write()


def called(command: str, id: str) -> list[str | bytes]:
    """A command line with this id."""
    if command == "mounts":
        return [command, "add", id, "/dev/null"]
    return [command, id, *(["true"] if command == "exec" else [])]
