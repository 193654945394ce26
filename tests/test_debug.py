"""--debug: every call made outside and inside, with arguments and result."""

from collections.abc import Callable

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime


def test_debug_shows_both_sides(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Calls outside and inside, their results; of the last batch what is sent, as nobody hears what comes of it."""
    result = minirunc.run(bundle("exit 3"), before=["--debug"])
    assert result.status == 3
    for part in (
        "outside: mkdir(",
        "outside: posix_spawn(",
        "outside: rename(",
        ": prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) = 0",
        "clone3({CLONE_INTO_CGROUP|",
        "pivot_root(",
        ", last batch: execve(",
        "outside: waitpid(",
        "outside: rmdir(",
    ):
        assert part in result.err.replace('\\"', '"'), part
    assert "last batch: execve" in result.err
    assert all("= 0" not in line for line in result.err.splitlines() if "last batch" in line)
    assert "zipimport" not in result.err


def test_without_debug_nothing_is_said(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The log of a command that went well is empty (callers take any line for an error)."""
    assert minirunc.run(bundle("true")) == (0, "", "")
