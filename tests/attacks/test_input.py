"""Attacks by what a caller hands over: too long, with NULs, with line breaks; in config.json, options and names."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attacks.table import attack
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

LONG = 1 << 16  # a netlink attribute's length wraps here (CVE-2021-43784)


def mapping(number: int) -> dict[str, int]:
    return {"containerID": number, "hostID": 100000 + number, "size": 1}


def user_namespace(config: dict[str, Any], count: int, *more: dict[str, int]) -> None:
    """Ask for a user namespace with as many mappings."""
    config["linux"]["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind] = [*(mapping(number) for number in range(count)), *more]


def put(*where: str | int) -> Callable[[dict[str, Any], Any], None]:
    """A function that puts a value at this place of a config."""

    def place(config: Any, value: object) -> None:
        for name in where[:-1]:
            config = config[name]
        if isinstance(config, list) and isinstance(where[-1], int) and where[-1] == len(config):
            config.append(value)
        else:
            config[where[-1]] = value

    return place


# Where a text goes that the kernel or the hand takes.
PLACES: dict[str, Callable[[dict[str, Any], str], None]] = {
    "program": put("process", "args", 0),
    "program's path": lambda config, text: put("process", "args", 0)(config, f"/{text}"),
    "cwd": lambda config, text: put("process", "cwd")(config, f"/{text}"),
    "root": lambda config, text: put("root", "path")(config, f"/{text}"),
    "hostname": put("hostname"),
    "domainname": put("domainname"),
    "mount's destination": lambda config, text: put("mounts", 0, "destination")(config, f"/{text}"),
    "mount's type": put("mounts", 1, "type"),
    "mount's option": lambda config, text: put("mounts", 1, "options")(config, [f"mode={text}"]),
    "bind's source": lambda config, text: config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": f"/{text}", "options": ["bind"]}
    ),
    "device": lambda config, text: put("linux", "devices")(
        config, [{"path": f"/dev/{text}", "type": "c", "major": 1, "minor": 3}]
    ),
    "namespace's path": lambda config, text: put("linux", "namespaces", 1, "path")(config, f"/{text}"),
    "cgroup": lambda config, text: put("linux", "cgroupsPath")(config, f"/{text}"),
    "sysctl": lambda config, text: put("linux", "sysctl")(config, {f"kernel.{text}": "1"}),
    "hook": lambda config, text: put("hooks")(config, {"createContainer": [{"path": f"/{text}"}]}),
    "rlimit": put("process", "rlimits", 0, "type"),
}


def refused(minirunc: Runtime, made: Bundle, id: str = "") -> str:
    """The one line that refuses a bundle; nothing has run and nothing is left."""
    result = minirunc.run(made, id=id)
    assert result.status == 1, result
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert "internal error" not in result.err
    assert leftovers.state_directories(minirunc.root) == set()
    return result.err


@attack("CVE-2021-43784, lengths", "hostile input", "batches are length-checked, answers too")
def test_texts_beyond_all_limits_are_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Texts of 64 KiB, of 64 KiB and one, of a megabyte, wherever the kernel takes one: an error, no wrap, no cut."""
    made = bundle("echo it ran")
    original = json.dumps(made.config)
    for where, place in PLACES.items():
        for length in (LONG - 1, 2 * LONG + 5) if where != "cwd" else (LONG, 1 << 20):
            made.config = json.loads(original)
            place(made.config, "a" * length)
            told = refused(minirunc, made)
            assert len(told) < 4 * length, where


@attack("CVE-2021-43784, NULs", "hostile input", "refused in any text of config.json")
def test_texts_with_a_nul_are_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What C would take for the end: nowhere."""
    made = bundle("echo it ran")
    original = json.dumps(made.config)
    places = {
        **PLACES,
        "argument": put("process", "args", 1),
        "variable": lambda config, text: put("process", "env", 0)(config, f"A={text}"),
        "masked path": lambda config, text: put("linux", "maskedPaths", 0)(config, f"/{text}"),
        "hook's argument": lambda config, text: put("hooks")(
            config, {"createContainer": [{"path": "/bin/true", "args": [text]}]}
        ),
    }
    for where, place in places.items():
        made.config = json.loads(original)
        place(made.config, "sh\0sh")
        assert re.search("null? byte", refused(minirunc, made).lower()), where


@attack("CVE-2021-43784, id mappings", "hostile input", "written to uid_map, whose limits are the kernel's")
def test_many_mappings_map_what_they_say_or_nothing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """As many as the kernel takes are all there; more, or one that maps the host's root late, is an error."""
    made = bundle("cat /proc/self/uid_map /proc/self/gid_map")
    original = json.dumps(made.config)
    user_namespace(made.config, 250)
    for entry in made.config["mounts"]:
        if entry["type"] == "devpts":
            entry["options"].remove("gid=5")
    result = minirunc.run(made)
    assert result.status == 0, result.err
    expected = [[str(number), str(100000 + number), "1"] for number in range(250)] * 2
    assert [line.split() for line in result.out.splitlines()] == expected
    for count in (341, 5000):
        made.config = json.loads(original)
        user_namespace(made.config, count)
        refused(minirunc, made)
    for wrong in ({"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 2**32, "hostID": 0, "size": 1}):
        made.config = json.loads(original)
        user_namespace(made.config, 20, wrong)
        refused(minirunc, made)


@attack("megabytes of environment", "hostile input", "loaded in checked parts, passed whole or refused")
def test_environment_of_megabytes_arrives_whole_or_not_at_all(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A megabyte in many variables is all there; one variable beyond the kernel's 128 KiB is the kernel's error."""
    made = bundle("env | grep -c ^V; env | md5sum | wc -l; env | grep -x LAST=yes")
    variables = [f"V{number}={'x' * 1000}" for number in range(1000)]
    made.process["env"] += [*variables, "LAST=yes"]
    assert minirunc.run(made).out.split() == ["1000", "1", "LAST=yes"]
    made.process["env"].append(f"HUGE={'x' * (1 << 20)}")
    result = minirunc.run(made)
    assert result.status != 0
    assert "argument list too long" in result.err


FORGED = 'x"\ntime="2026-01-01T00:00:00Z" level=error msg="forged\\r\x1b[2J\u2028'


@attack("lines forged in the log", "hostile input", "one write a line, everything escaped")
def test_messages_are_one_line(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """Ids, programs, paths with quotes, line breaks, escapes: one line of text, one JSON document."""
    made = bundle()
    made.write()
    words = [["state", FORGED], ["run", "--bundle", made.path, FORGED], ["exec", minirunc.id(), FORGED]]
    words += [["delete", FORGED], ["create", "--bundle", FORGED, minirunc.id()], ["--log-format", FORGED, "list"]]
    for args in (["no", FORGED], [FORGED], [f"/{FORGED}"]):
        made.args(args)
        file = made.path / f"{len(words)}.json"
        made.write()
        made.file.rename(file)
        words.append(["run", "--bundle", made.path, minirunc.id()])
    for number, command in enumerate(words):
        if (made.path / f"{number}.json").exists():
            (made.path / f"{number}.json").rename(made.file)
        result = minirunc(*command)
        assert result.status != 0
        told = result.err
        assert len(re.findall(r"^time=", told, re.MULTILINE)) <= 1, told
        assert "\x1b" not in told
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        result = minirunc(*command, before=["--log", log, "--log-format", "json"])
        if log.exists():
            (line,) = log.read_text().splitlines()
            assert set(json.loads(line)) == {"level", "msg", "time"}
