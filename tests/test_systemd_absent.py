"""--systemd-cgroup where systemd is not the first process."""

import time
from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

# A /run of its own, as this host may have it.
WITHOUT_SYSTEMD = ["unshare", "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none /run; exec "$@"', "sh"]


@pytest.mark.parametrize("option", [["--systemd-cgroup"], ["--cgroup-manager", "systemd"]])
@pytest.mark.parametrize("path", ["", "system.slice:box:x"])
def test_systemd_that_does_not_run_is_named(
    minirunc: Runtime, bundle: Callable[..., Bundle], option: list[str], path: str
) -> None:
    """One line, at once, that says what was looked for and what to do; nothing is left."""
    # A /run of its own, as this host may have systemd.
    minirunc.prefix = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        'mount -t tmpfs none /run; exec "$@"',
        "sh",
    ]
    made = bundle("true")
    made.linux["cgroupsPath"] = path
    began = time.monotonic()
    result = minirunc.run(made, before=option)
    assert time.monotonic() - began < 1
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert "there is no /run/systemd/system" in result.err
    assert "--cgroup-manager cgroupfs" in result.err
