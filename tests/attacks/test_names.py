"""Attacks by names: ids, and every string of config.json, as parts of paths and of system calls."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minirunc.base.errors import Error
from minirunc.config import load
from tests.attacks.table import attack
from tests.fuzz.whole import EVERYTHING, SECCOMP
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

IDS = ("../decoy", "..", ".", "", "a/b", "/decoy", "a\nb", "a b", "é", "x\x1b[2J", "%s", "*", "a:b", "~", "x" * 300)


@attack("ids that are paths", "names and paths", "a plain name of letters, digits and _ + - . or no container")
def test_ids_stay_in_the_root(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Beside the root lies a directory like a container's: no command reads or removes it, none makes another."""
    id = minirunc.start(bundle("exec sleep 1000"))
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    for file in (minirunc.root / id).iterdir():
        if file.is_file():
            (decoy / file.name).write_bytes(file.read_bytes())
    before = {path.name: path.read_bytes() for path in decoy.iterdir()}
    assert "state.json" in before
    made = bundle()
    made.write()
    there = sorted(path.name for path in tmp_path.iterdir())
    for name in IDS:
        for words in (["state"], ["kill"], ["delete", "--force"], ["create", "--bundle", made.path], ["pause"]):
            result = minirunc(*words, name)
            if name == "x" * 300 and words[0] == "delete":
                continue  # there is no such container, and that is all
            assert (result.status, result.out, result.err.count("\n")) == (1, "", 1), (words, name, result)
    assert {path.name: path.read_bytes() for path in decoy.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == there
    assert leftovers.state_directories(minirunc.root) == {id}
    assert minirunc.status(id) == "running"


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is a string, or the name of a member that is data."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from strings(value[key], (*path, key))


def with_text(config: dict[str, Any], path: tuple[Any, ...], text: str) -> str:
    """The JSON of the config with a string replaced."""
    changed = copy.deepcopy(config)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = text
    return json.dumps(changed)


@attack("NUL bytes in config.json", "names and paths", "refused in every string but annotations")
def test_every_string_with_a_nul_is_refused() -> None:
    """To the kernel the text would end there; half of a surrogate pair is no text at all."""
    config = copy.deepcopy(EVERYTHING)
    config["linux"]["seccomp"] = SECCOMP
    load(json.dumps(config))
    tried = 0
    for path in strings(config):
        if path[0] == "annotations":
            continue
        tried += 1
        for odd in ("\0", "/good\0/../evil", "\ud800"):
            with pytest.raises(Error):
                load(with_text(config, path, odd))
    assert tried > 100


NAMES = {
    "sysctl": ("net/../../kernel/core_pattern", "net.ipv4/../../x", "net//x", "net.", "kernel/../x", "../x", "/x"),
    "unified": ("../x", "a/b", "", ".", "..", "/x"),
}


@attack("names of files with `..`", "names and paths", "a name of one part, or of parts that are names")
def test_names_that_become_files() -> None:
    """linux.sysctl, linux.resources.unified, hugepageLimits[].pageSize."""
    small = copy.deepcopy(EVERYTHING)
    for name in NAMES["sysctl"]:
        small["linux"]["sysctl"] = {name: "1"}
        with pytest.raises(Error):
            load(json.dumps(small))
    small["linux"]["sysctl"] = {}
    for name in NAMES["unified"]:
        small["linux"]["resources"]["unified"] = {name: "1"}
        with pytest.raises(Error):
            load(json.dumps(small))
    small["linux"]["resources"]["unified"] = {}
    for size in ("../2MB", "2MB/..", "", "2MB\n", "-2MB", "/"):
        small["linux"]["resources"]["hugepageLimits"] = [{"pageSize": size, "limit": 1}]
        with pytest.raises(Error):
            load(json.dumps(small))
