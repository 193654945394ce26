"""Fuzzing (tests/fuzz): the kept inputs again, about a minute of new ones, and births from changed configs."""

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS, SLOW_S, started, timed
from tests.fuzz.targets import TARGETS
from tests.ground.bundle import CHECKOUT
from tests.ground.runtime import Runtime

SECONDS = 4  # a target, its start included
BIRTHS = 100  # a part
LARGEST = 300 * 1024  # bytes of the kept corpus
SEED = int(os.environ.get("FUZZ_SEED") or random.randrange(1, 2**31))


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_are_clean(name: str) -> None:
    """Each that once was a finding, and those that reach the most of the code."""
    files = sorted((CORPUS / name).iterdir())
    assert files
    for file in files:
        try:
            timed(TARGETS[name])(file.read_bytes())
        except Exception as error:
            error.add_note(f"the input is {file}")
            raise


def test_kept_corpus_is_small() -> None:
    """And has no directory without a target."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.glob("*/*")) < LARGEST


def test_slow_input_is_a_finding() -> None:
    """CPU time is what counts."""

    def slow(data: bytes) -> None:
        end = time.process_time() + SLOW_S
        while time.process_time() < end:
            pass

    with pytest.raises(AssertionError, match=r"took \d\.\d s"):
        timed(slow)(b"")


@pytest.mark.parametrize("name", TARGETS)
def test_seconds_of_fuzzing_find_nothing(name: str, tmp_path: Path) -> None:
    """As `make fuzz` does it for as long as one likes; FUZZ_SEED has the same again."""
    if not importlib.util.find_spec("atheris"):
        pytest.skip("atheris has no wheel for this Python and machine")
    runs, status, said = started(name, SECONDS, SEED, tmp_path)
    found = {path.name: path.read_bytes() for path in (tmp_path / "findings").iterdir()}
    assert (status, found) == (0, {}), f"FUZZ_SEED={SEED}\n{said[-3000:]}"
    assert runs > 100


@pytest.mark.parametrize("part", range(3))
def test_birth_from_a_changed_config_works_or_is_refused_cleanly(
    minirunc: Runtime, busybox: Path, tmp_path: Path, part: int
) -> None:
    """One error in one line, or a container; nothing is left of either. Each number is a config of its own."""
    shutil.copytree(busybox, tmp_path / "rootfs", symlinks=True)
    first = SEED + part * BIRTHS
    command = ["unshare", "-m", "-u", "-i", "-n", "--propagation", "private", sys.executable, "-m", "tests.fuzz.births"]
    command += [minirunc.binary, str(tmp_path), minirunc.token, str(first), str(BIRTHS)]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["findings"] == [], f"FUZZ_SEED={SEED}"
    assert BIRTHS / 10 < result["created"] < BIRTHS
