"""Runs crash.py: a command is killed at every step, and what is to put that right must do so."""

import json
import subprocess
import sys
from collections.abc import Sequence

from tests.ground import crash
from tests.ground.bundle import CHECKOUT
from tests.ground.runtime import Runtime


def at_every_step(
    minirunc: Runtime, id: str, every: int, killed: str, *, after: Sequence[str], before: Sequence[str] = ()
) -> int:
    """Kill the command at every so-manieth step; how many steps there are. ID in a command line is the id."""
    line = lambda text: [id if word == "ID" else word for word in text.split()]  # noqa: E731
    plan = {
        "root": str(minirunc.root),
        "every": every,
        "before": [line(text) for text in before],
        "killed": line(killed),
        "after": [line(text) for text in after],
    }
    argv = [*minirunc.prefix, sys.executable, "-I", "-S", crash.__file__, str(CHECKOUT), json.dumps(plan)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps, status = map(int, done.stdout.split())
    assert status == 0, done.stderr
    return steps
