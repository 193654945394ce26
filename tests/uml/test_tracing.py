"""The tracers of tests/attacks/test_tracing.py where a change of ids makes dumpable (fs.suid_dumpable, proc(5))."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.attackers import give_user_namespace
from tests.attacks.test_tracing import COUNT, attacked, held, tracer
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime


@pytest.fixture(autouse=True)
def suid_dumpable() -> Iterator[None]:
    """1: a process that changes its ids becomes dumpable; a setting of this kernel, not of the host's."""
    file = Path("/proc/sys/fs/suid_dumpable")
    before = file.read_text()
    file.write_text("1")
    yield
    file.write_text(before)


def test_changed_ids_do_not_open_the_hand(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The hand takes it back after each change: in a user namespace, for a process that is not root."""
    made = tracer(bundle(), "CAP_SYS_PTRACE")
    give_user_namespace(made)
    held(attacked(minirunc, made, COUNT))
