"""config/: the whole of config.json: load, what belongs to no part, refusals by name, warnings, strings."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minirunc.base.errors import ConfigError, Error
from minirunc.config import IGNORED, load, load_process, read, warnings
from tests.config_json import ABSENT, GOOD, loaded, namespaces, refusal

REFUSED = [
    ({"process": ABSENT}, "config.json: process: process property must not be empty"),
    ({"process": None}, "config.json: process: process property must not be empty"),
    ({"root": ABSENT}, "config.json: root: root must be specified"),
    ({"root": []}, "config.json: root: expected an object, got a list"),
    ({"root.path": ABSENT}, "config.json: root.path: missing"),
    ({"root.path": ""}, "config.json: root.path: must not be empty"),
    ({"root.readonly": "yes"}, 'config.json: root.readonly: expected true or false, got a string ("yes")'),
    ({"ociVersion": ABSENT}, "config.json: ociVersion: missing"),
    ({"ociVersion": 1}, "config.json: ociVersion: expected a string, got an integer (1)"),
    ({"annotations": {"a.b": 1}}, 'config.json: annotations["a.b"]: expected a string, got an integer (1)'),
    (
        {"hostname": "x", "linux.namespaces": namespaces("mount")},
        'config.json: hostname: unable to set hostname without a private UTS namespace: linux.namespaces has no "uts"',
    ),
    (
        {"domainname": "x", "linux": ABSENT},
        (
            "config.json: domainname: unable to set domainname without a private UTS namespace: "
            'linux.namespaces has no "uts"'
        ),
    ),
    ({"hostname": "x" * 65}, "config.json: hostname: has 65 bytes, the kernel takes 64"),
    ({"domainname": "é" * 33}, "config.json: domainname: has 66 bytes, the kernel takes 64"),
    (
        {"hooks": {"createRuntime": [{"path": "/bin/true"}, {"path": "true"}]}},
        'config.json: hooks.createRuntime[1].path: must be an absolute path, got "true"',
    ),
    ({"hooks": {"poststop": [{}]}}, "config.json: hooks.poststop[0].path: missing"),
    (
        {"hooks": {"prestart": [{"path": "/x", "timeout": 0}]}},
        "config.json: hooks.prestart[0].timeout: must be greater than 0, got 0",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_is_wrong_is_named(changes: dict[str, object], message: str) -> None:
    assert refusal(changes) == message


def test_what_asks_for_nothing_is_no_reason_to_refuse() -> None:
    loaded({
        "linux.mountLabel": "",
        "linux.netDevices": {},
        "linux.intelRdt": None,
        "process.apparmorProfile": "",
        "process.selinuxLabel": "",
        "mounts": [{"destination": "/a", "type": "tmpfs", "uidMappings": [], "gidMappings": None}],
    })  # fmt: skip


@pytest.mark.parametrize("line", [line for line in IGNORED if "." not in line])
def test_other_platforms_are_ignored(line: str) -> None:
    loaded({line: {"anything": ["at all"]}, "process.commandLine": "x", "process.user.username": "root"})


def test_a_config_of_runc_spec_is_read() -> None:
    config = loaded({
        "hostname": "runc",
        "annotations": {"k": "v"},
        "hooks": {"poststart": [{"path": "/h", "args": ["h", "1"], "timeout": 3}]},
        "process.env": ["PATH=/bin", "A=B=C", "EMPTY="],
    })  # fmt: skip
    assert (config.oci_version, config.hostname, config.domainname) == ("1.3.0", "runc", "")
    assert (config.root.path, config.root.readonly) == ("rootfs", False)
    assert (config.process.user.uid, config.process.capabilities, config.process.terminal) == (0, None, False)
    assert config.annotations == {"k": "v"}
    assert config.hooks is not None
    hook = config.hooks.poststart[0]
    assert (hook.path, hook.args, hook.env, hook.timeout) == ("/h", ["h", "1"], None, 3)
    assert config.hooks.create_container == []
    assert config.linux.resources.devices == []
    found = config.linux.namespace("uts")
    assert found is not None
    assert found.path == ""
    assert config.linux.namespace("user") is None


def test_null_is_no_config() -> None:
    with pytest.raises(ConfigError) as caught:
        load("null")
    assert str(caught.value) == "config.json: config cannot be null"


def test_broken_json_is_refused_with_line_and_column() -> None:
    with pytest.raises(Error) as caught:
        load('{\n  "ociVersion": "1.0.2"\n  "root": {}\n}')
    assert str(caught.value) == "config.json:3:3: expecting ',' delimiter"


def test_read_parses_without_checks() -> None:
    assert read(json.dumps(GOOD | {"hostname": "x", "linux": {}})).hostname == "x"


PROCESS_REFUSED = [
    ('{"args": ["a"]', "p.json:1:15: expecting ',' delimiter"),
    ("[]", "p.json: expected an object, got a list"),
    ('{"args": ["a"], "cwd": "a"}', "p.json: cwd: Cwd must be an absolute path"),
    ('{"cwd": "/"}', "p.json: args: args must not be empty"),
    ('{"args": ["a"], "cwd": "/", "rlimits": [{"type": "X"}]}', "p.json: rlimits[0].soft: missing"),
    ('{"args": ["a\\u0000"], "cwd": "/"}', "p.json: args[0]: contains a NUL byte"),
]


@pytest.mark.parametrize(("text", "message"), PROCESS_REFUSED)
def test_a_process_file_is_refused_under_its_own_name_and_paths(text: str, message: str) -> None:
    with pytest.raises(Error) as caught:
        load_process(text, "p.json")
    assert str(caught.value) == message


def test_a_process_file_is_read_like_the_process_of_a_config() -> None:
    process = load_process('{"args": ["a"], "cwd": "/", "terminal": true, "user": {"uid": 5}}')
    assert (process.args, process.terminal, process.user.uid) == (["a"], True, 5)


ODD_STRINGS = [
    ({"process.args": ["a", "b\0"]}, "process.args[1]: contains a NUL byte"),
    (
        {"process.env": ["A=B", "C=\0"]},
        'process.env[1]: invalid environment variable "C=\\x00": contains nul byte (\\x00)',
    ),
    (
        {"mounts": [{"destination": "/a\0b", "type": "tmpfs"}]},
        "mounts[0].destination: mount field contains null byte",
    ),
    ({"mounts": [{"destination": "/a", "source": "\0"}]}, "mounts[0].source: mount field contains null byte"),
    ({"root.path": "a\0"}, "root.path: contains a NUL byte"),
    ({"hostname": "\0"}, "hostname: contains a NUL byte"),
    ({"linux.maskedPaths": ["/a", "\0"]}, "linux.maskedPaths[1]: contains a NUL byte"),
    ({"linux.sysctl": {"net.a": "\0"}}, 'linux.sysctl["net.a"]: contains a NUL byte'),
    ({"linux.sysctl": {"net.\0": "1"}}, "linux.sysctl: contains a NUL byte"),
    ({"process.cwd": "/\ud800"}, "process.cwd: contains half of a surrogate pair (\\ud800)"),
]


@pytest.mark.parametrize(("changes", "message"), ODD_STRINGS)
def test_a_string_that_no_system_call_takes_is_refused(changes: dict[str, object], message: str) -> None:
    assert refusal(changes) == f"config.json: {message}"


def test_odd_strings_where_nobody_reads_them_are_let_be() -> None:
    config = loaded({
        "annotations": {"a": "\0"},
        "x-own": "\0",
        "process.args": ["\\u0000", "\\ud800", "😀"],
    })  # fmt: skip
    assert config.process.args == ["\\u0000", "\\ud800", "😀"]


def test_what_is_accepted_though_not_as_asked_gives_warnings() -> None:
    config = loaded({
        "mounts": [{"destination": "/a", "type": "tmpfs"}, {"destination": "b", "type": "tmpfs"}],
        "linux.personality": {"domain": "LINUX32", "flags": ["A", "B"]},
        "linux.resources.memory": {"kernel": 1},
    })  # fmt: skip
    assert warnings(config) == [
        (
            "mount destination b is not absolute."
            " Support for non-absolute mount destinations will be removed in a future release."
        ),
        "ignoring personality flags: A B",
        "Kernel memory settings are ignored and will be removed",
    ]
    assert warnings(loaded({})) == []


def test_only_the_modules_of_present_fields_are_imported() -> None:
    """A container without seccomp, hooks or devices pays for none of them."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from minirunc.config import load\n"
        "load(sys.stdin.read())\n"
        "print(*sorted(sys.modules))"
    )
    root = str(Path(__file__).parent.parent)
    command = [sys.executable, "-I", "-S", "-c", script, root]
    done = subprocess.run(command, input=json.dumps(GOOD).encode(), capture_output=True, check=True)
    modules = set(done.stdout.decode().split())
    assert not modules & {"json", "re", "typing", "enum", "collections", "dataclasses", "functools"}
    assert "minirunc.config.linux.namespaces" in modules
    absent = ("hooks", "linux.seccomp", "linux.devices", "linux.resources.cpu", "process.scheduler", "strings")
    assert not modules & {f"minirunc.config.{name}" for name in absent}
