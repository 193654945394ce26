"""Attacks on the program that enters the container (CVE-2019-5736)."""

from collections.abc import Callable

from tests.attacks.attackers import give_python
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

OPENS_PROGRAMS = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        os.open(f"/proc/{pid}/exe", os.O_WRONLY)
        print("opened", pid)
    except OSError as error:
        print(error.strerror)
"""


@attack("host's programs opened from inside", "the runtime's program", "no program of the host's runs inside")
def test_programs_inside_cannot_be_opened_for_writing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The one process is its own Python, which runs, on a read-only mount."""
    made = bundle()
    give_python(made, OPENS_PROGRAMS)
    assert minirunc.run(made) == (0, "Text file busy\n", "")
