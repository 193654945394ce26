"""Properties of any config.json near a good one (hypothesis): it is loaded or refused by one clean error; it runs, or
is refused, and nothing is left of it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from minirunc.base import log
from minirunc.base.errors import ConfigError, Error
from minirunc.config import load
from tests.fuzz.births import base
from tests.fuzz.changes import changed
from tests.ground import every_field
from tests.ground.bundle import CHECKOUT
from tests.ground.runtime import Runtime

# The same in each run, and nothing of it kept: `make fuzz` looks for what is new.
SAME = settings(
    derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip
EVERY_FIELD: dict[str, Any] = every_field.without(every_field.config(), every_field.NOWHERE)


def runnable() -> dict[str, Any]:
    """The same as far as this ground has it, short, on no terminal, and away from the host's network and programs."""
    config: dict[str, Any] = every_field.without(every_field.config(), every_field.lacking())
    config["process"] |= {"terminal": False, "args": ["true"]}
    for hooks in config["hooks"].values():
        hooks[:] = [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 10}]
    linux = config["linux"]
    linux["namespaces"] = [{"type": entry["type"]} for entry in linux["namespaces"]]
    linux.pop("netDevices", None)
    rules = linux["seccomp"]["syscalls"]
    rules[:] = [rule for rule in rules if rule["action"] != "SCMP_ACT_NOTIFY"]  # no agent listens
    linux["devices"] = [device for device in linux["devices"] if device["type"] == "p"]  # others are the host's
    return config


@settings(SAME, max_examples=1000)
@given(changed(EVERY_FIELD))
def test_changed_config_is_loaded_or_refused_by_its_path(config: dict[str, Any]) -> None:
    """Any other exception than Error is a fault of ours; the message is one line that names file and member."""
    error = refused(json.dumps(config))
    if error:
        shown = log.shown(str(error))
        assert shown.startswith("config.json: ")
        assert "\n" not in shown
    if isinstance(error, ConfigError):
        assert error.where or error.why == "config cannot be null" or error.why.startswith("expected an object")
        assert error.why.strip()


def refused(text: str) -> Error | None:
    """The error, if it is refused."""
    try:
        load(text)
    except Error as error:
        return error
    return None


class Runs:
    """A program in namespaces of its own that runs configs."""

    def __init__(self, minirunc: Runtime, directory: Path) -> None:
        command = ["unshare", "-m", "-u", "-i", "-n", "--propagation", "private", sys.executable, "-m"]
        command += ["tests.fuzz.births", minirunc.binary, str(directory), minirunc.token]
        self.process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tried = self.ran = 0
        self.said: list[str] = []

    def wrong(self, config: dict[str, Any]) -> str:
        """What is wrong with a run of it; empty if nothing is."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(config) + "\n")
        self.process.stdin.flush()
        wrong, ran, said = json.loads(self.process.stdout.readline())
        self.tried += 1
        self.ran += ran
        self.said.append(said[-300:])
        return str(wrong)


@pytest.fixture
def runs(minirunc: Runtime, busybox: Path, tmp_path: Path) -> Iterator[Runs]:
    """In a directory with what the bundles need."""
    shutil.copytree(busybox, tmp_path / "rootfs", symlinks=True)
    shutil.copytree(every_field.BUNDLE / "program", tmp_path / "program")
    runs = Runs(minirunc, tmp_path)
    assert runs.process.stdin
    yield runs
    runs.process.communicate()
    assert runs.process.returncode == 0


def test_unchanged_configs_run(runs: Runs) -> None:
    """What the changes are made to."""
    for config in (runnable(), *(base(number) for number in range(4))):
        assert runs.wrong(config) == ""
    assert runs.ran == runs.tried, runs.said


@pytest.mark.parametrize("number", range(3))
def test_changed_config_runs_or_is_refused_and_nothing_is_left(runs: Runs, number: int) -> None:
    """One clean error at most; no state directory, cgroup, process or mount is there afterwards."""
    whole = (runnable(), base(2), base(3))[number]

    @settings(SAME, max_examples=50)
    @example(whole | {"linux": whole["linux"] | {"resources": {"unified": {"cgroup.freeze": "1"}}}})
    @given(changed(whole, most=1))
    def clean(config: dict[str, Any]) -> None:
        assert runs.wrong(config) == ""

    clean()
    assert 2 < runs.ran < runs.tried, runs.said  # else nothing is shown
