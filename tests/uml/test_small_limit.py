"""A memory limit of 256 KiB, on from the start: the birth, the exec and a small static program get along with it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground import smallest
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

LIMIT = 256 << 10  # bytes; `make bench T=memory` finds the least

Small = Callable[..., tuple[str, Bundle]]


@pytest.fixture
def driver() -> tuple[str, ...]:
    """Global options: the file system driver needs none."""
    return ()


@pytest.fixture
def small(minirunc: Runtime, limited: Callable[..., Bundle], driver: tuple[str, ...]) -> Small:
    """An id, and a bundle that runs such a program with the limit, swap included."""

    def make(*args: str, limit: int = LIMIT) -> tuple[str, Bundle]:
        made = limited(args, memory={"limit": limit, "swap": limit})
        smallest.write(made.rootfs / "true", smallest.TRUE)
        smallest.write(made.rootfs / "pause", smallest.PAUSE)
        id = minirunc.id()
        if driver:
            made.linux["cgroupsPath"] = f"system.slice:test:{id}"
        return id, made

    return make


def seen(cgroup: Path) -> tuple[str, int]:
    """The limit that is on, and how many were killed for want of memory."""
    events = dict(line.split() for line in (cgroup / "memory.events").read_text().splitlines())
    return (cgroup / "memory.max").read_text(), int(events["oom_kill"])


@pytest.mark.observes("linux.resources.memory.limit")
@pytest.mark.parametrize("args", [("/true",), ("/bin/busybox", "true")])
def test_run(minirunc: Runtime, small: Small, driver: tuple[str, ...], args: tuple[str, ...]) -> None:
    """limit: `run` gets its process through all its steps within 256 KiB, and the process ends well."""
    id, bundle = small(*args)
    assert minirunc.run(bundle, id=id, before=driver) == (0, "", "")


@pytest.mark.observes("linux.resources.memory.limit")
def test_create_and_start(minirunc: Runtime, small: Small, driver: tuple[str, ...]) -> None:
    """limit: what waits for `start` is in the cgroup, the limit is on, nobody was killed; then the program runs."""
    id, bundle = small("/pause")
    minirunc.create(bundle, id=id, before=driver)
    cgroup = minirunc.cgroup(id)
    assert cgroup.name == (f"test-{id}.scope" if driver else id)
    assert (cgroup / "cgroup.procs").read_text() == f"{minirunc.pid(id)}\n"
    assert seen(cgroup) == (f"{LIMIT}\n", 0)
    minirunc.ok("start", id)
    assert minirunc.status(id) == "running"
    assert seen(cgroup) == (f"{LIMIT}\n", 0)


@pytest.mark.observes("linux.resources.memory.limit")
def test_exec(minirunc: Runtime, small: Small, driver: tuple[str, ...]) -> None:
    """limit: an exec beside a running program: neither it nor the program is killed, time after time."""
    id, bundle = small("/pause")
    minirunc.start(bundle, id=id, before=driver)
    for _ in range(3):
        assert minirunc("exec", id, "/true") == (0, "", "")
    assert seen(minirunc.cgroup(id)) == (f"{LIMIT}\n", 0)
    assert minirunc.status(id) == "running"


@pytest.mark.observes("linux.resources.memory.limit")
def test_limit_is_on_while_the_container_is_made(minirunc: Runtime, small: Small, driver: tuple[str, ...]) -> None:
    """limit: with too little already the birth is killed, and that is said; nothing is left of it."""
    id, bundle = small("/true", limit=16 << 10)
    status, out, err = minirunc.run(bundle, id=id, before=driver)
    assert (status, out) == (1, "")
    assert "OOM-killed (memory limit too low?): during create: " in err
    # systemd may have removed the cgroup by then, and the kernel's count with it.
    gone = f"container init was possibly OOM-killed (memory limit too low?): during create: test-{id}.scope is gone"
    assert f"memory.max is {16 << 10}" in err or (driver and gone in err)
