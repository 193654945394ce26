"""config/unread.py, ociVersion: what is newer than we are, or meant for others, is no error; --debug tells of it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from minirunc.base import log
from minirunc.base.record import kind_of
from minirunc.config import IGNORED, Config, load, load_process
from tests.config_json import GOOD, changed, loaded
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import Runtime


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The debug lines."""
    lines: list[str] = []
    monkeypatch.setattr(log, "_debug", lines.append)
    return lines


@pytest.mark.observes("ociVersion")
@pytest.mark.parametrize(
    "version",
    [
        "1.0.0-rc1", "1.0.0-rc5", "1.0.0-rc2-dev", "1.0.0-rc5-dev", "1.0.0", "1.0.1-dev",  # Docker 17 to 19
        "1.0.2", "1.0.2-dev", "1.0.3-dev",  # Docker 20.10, containerd 1.4 to 1.6, Podman 3
        "1.1.0", "1.1.0-rc.1", "1.1.0+dev", "1.1.0-rc.3+dev",  # containerd 1.7, Podman 4, CRI-O 1.28
        "1.2.0", "1.2.0+dev", "1.2.1", "1.3.0", "1.3.0+dev",  # Docker 27 to 29, containerd 2, Podman 5
        "1.4.0-rc.1", "1.10.3",  # to come: "backwards-compatible additions"
    ],
)  # fmt: skip
def test_any_version_1_is_taken(minirunc: Runtime, bundle: Callable[..., Bundle], version: str) -> None:
    """config.md "Specification version": SemVer; 1.x only adds to 1.0. As engines write it; `state` tells its own."""
    made = bundle("exec sleep 1000")
    made.config["ociVersion"] = version
    made.config["somethingNewer"] = {"of": ["1.9"]}
    id = minirunc.start(made)
    assert minirunc.state(id)["ociVersion"] == "1.3.0"


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("x", 1, "x"),
        ("process.x", {"deep": {"er": 1}}, "process.x"),
        ("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1, "x": [1]}], "process.rlimits[0].x"),
        ("linux.resources", {"memory": {"x": 1}}, "linux.resources.memory.x"),
        ("linux.timeOffsets", {"monotonic": {"secs": 0, "x": 1}}, 'linux.timeOffsets["monotonic"].x'),
        ("hooks", {"poststop": [{"path": "/a"}, {"path": "/b", "x": 1}]}, "hooks.poststop[1].x"),
        ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ", "x": 0}]}]}, "linux.seccomp.syscalls[0].args[0].x"),
    ],
)  # fmt: skip
def test_a_member_that_nobody_knows_is_one_line(told: list[str], path: str, value: Any, shown: str) -> None:
    """config.md "Extensibility": unknown properties MUST be ignored; its path is told, not what is below it."""
    config = changed({path: value})
    config["linux"]["namespaces"].append({"type": "time"})
    load(json.dumps(config))
    assert told == [f"config.json: {shown} is ignored: no such member is known"]


@pytest.mark.parametrize("line", IGNORED)
def test_a_member_without_effect_is_one_line_with_the_reason(told: list[str], line: str) -> None:
    """Each line of IGNORED."""
    *way, last = line.split(".")
    value: Any = {last: sample(line)}
    for step in reversed(way):
        value = {step.removesuffix("[]"): [value | {"major": 1, "minor": 1}] if step.endswith("[]") else value}
    if "personality" in value.get("linux", {}):
        value["linux"]["personality"]["domain"] = "LINUX"
    config = changed({})
    graft(config, value)
    load(json.dumps(config))
    assert told == [f"config.json: {line.replace('[]', '[0]')} is ignored: {IGNORED[line]}"]


def sample(line: str) -> Any:
    """A value that is read where the path of IGNORED is a field of ours, and anything where it is not."""
    kind: Any = Config
    for step in line.split("."):
        fields = getattr(kind, "fields", {})
        if step.removesuffix("[]") not in fields:
            return 1
        kind = kind_of(kind, step.removesuffix("[]"))
        kind = kind.__args__[0] if step.endswith("[]") else kind
    if hasattr(kind, "fields"):
        return {}
    return {bool: True, str: "x", list: []}.get(getattr(kind, "__origin__", kind), 1)


def graft(config: dict[str, Any], value: dict[str, Any]) -> None:
    """Put the members of one object into another, objects into objects."""
    for name, item in value.items():
        if isinstance(item, dict) and isinstance(config.get(name), dict):
            graft(config[name], item)
        else:
            config[name] = item


def test_other_spellings_are_known_and_null_is_absent(told: list[str]) -> None:
    """Go's JSON takes a member whose name differs in the case of a letter; null is as if it were not there."""
    loaded({"Hostname": "", "x": None, "windows": None, "process.rlimits": [], "mounts": None})
    assert told == []


def test_a_process_file_is_told_of_too(told: list[str]) -> None:
    """`exec --process FILE`: paths as in config.json, by which they are known."""
    load_process('{"args": ["a"], "cwd": "/", "user": {"username": "x", "y": 1}}', "p.json")
    assert told == [
        "p.json: process.user.username is ignored: Windows only",
        "p.json: process.user.y is ignored: no such member is known",
    ]


def test_nobody_pays_who_does_not_debug() -> None:
    """The module is not imported; thousands of unknown members cost a look each."""
    program = (
        f"import sys; sys.path.append({str(CHECKOUT)!r}); from minirunc.config import load\n"
        "load(sys.stdin.read()); print('minirunc.config.unread' in sys.modules)"
    )
    text = json.dumps(GOOD | {f"x{number}": 1 for number in range(20000)})
    before = time.monotonic()
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert time.monotonic() - before < 1.5


def test_lines_of_a_run(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Once a command, with --debug; without it nothing is said."""
    made = bundle()
    made.config["vm"] = {"kernel": {"path": "/x"}}
    made.process["newer"] = True
    assert minirunc.run(made) == (0, "", "")
    err = minirunc.run(made, before=["--debug"]).err
    lines = [line.partition("msg=")[2].strip('"') for line in err.splitlines() if " is ignored: " in line]
    assert sorted(lines) == [
        "config.json: process.newer is ignored: no such member is known",
        "config.json: vm is ignored: another platform",
    ]
