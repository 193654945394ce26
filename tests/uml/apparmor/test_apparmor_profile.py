"""config.json process.apparmorProfile: the profile is on from the process's first instruction."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped

CURRENT = "cat /proc/self/attr/apparmor/current"
BOX = "minirunc-box (enforce)\n"
OTHER = "minirunc-other (enforce)\n"
NOT_LOADED = 'unable to apply apparmor profile: apparmor failed to apply profile: "nosuch" is not loaded'


@pytest.fixture
def boxed(bundle: Callable[..., Bundle]) -> Callable[..., Bundle]:
    """A bundle with the profile minirunc-box, which denies /denied."""

    def make(args: Any = "exec sleep 1000") -> Bundle:
        made = bundle(args)
        (made.rootfs / "denied").write_text("read\n")
        made.process["apparmorProfile"] = "minirunc-box"
        return made

    return make


@pytest.mark.observes("process.apparmorProfile")
def test_process_has_the_profile(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """And what the profile denies is denied to root."""
    status, out, err = minirunc.run(boxed(f"{CURRENT}; cat /denied"))
    assert (status, out) == (1, BOX)
    assert err == "cat: can't open '/denied': Permission denied\n"


def test_process_of_a_user_without_capabilities_has_it(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """It is asked for before rights are dropped, and survives that."""
    made = boxed(CURRENT)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    del made.process["capabilities"]
    assert minirunc.run(made) == (0, BOX, "")


def test_created_container_gets_it_with_start(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """What waits is the hand, which has asked for it; the process that start brings has it."""
    id = minirunc.create(boxed())
    assert Path(f"/proc/{minirunc.pid(id)}/attr/apparmor/current").read_text() == "unconfined\n"
    minirunc.ok("start", id)
    assert minirunc.ok("exec", id, "cat", "/proc/1/attr/apparmor/current") == BOX


def test_exec_has_the_containers_or_its_own(minirunc: Runtime, boxed: Callable[..., Bundle], tmp_path: Path) -> None:
    """The container's if nothing is said, --apparmor, or the process file's."""
    id = minirunc.start(boxed())
    assert minirunc.ok("exec", id, *CURRENT.split()) == BOX
    assert minirunc.ok("exec", "--apparmor", "minirunc-other", id, *CURRENT.split()) == OTHER
    assert minirunc("exec", id, "cat", "/denied").err == "cat: can't open '/denied': Permission denied\n"
    assert minirunc.ok("exec", "--apparmor", "minirunc-other", id, "cat", "/denied") == "read\n"
    file = tmp_path / "process.json"
    for profile, current in ((None, BOX), ("minirunc-other", OTHER)):
        file.write_text(
            json.dumps({"args": CURRENT.split(), "cwd": "/", "apparmorProfile": profile, "env": ["PATH=/bin"]})
        )
        assert minirunc.ok("exec", "--process", file, id) == current


def test_start_container_hook_has_it(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """It is a program of the container's."""
    made = boxed("cat /log")
    made.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"{CURRENT} > /log"]}],
    }
    assert minirunc.run(made) == (0, BOX, "")


def test_in_a_user_namespace(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """A new procfs is denied there where /proc is masked: the container's own is used."""
    made = mapped(boxed())
    id = minirunc.start(made)
    assert minirunc.ok("exec", id, "cat", "/proc/1/attr/apparmor/current") == BOX
    assert minirunc.ok("exec", id, *CURRENT.split()) == BOX


def test_unconfined_is_none(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """As without a profile."""
    made = boxed(CURRENT)
    made.process["apparmorProfile"] = "unconfined"
    assert minirunc.run(made) == (0, "unconfined\n", "")


def test_profile_that_is_not_loaded(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """It is named, and nothing runs, is left, or is without it."""
    made = boxed("echo ran")
    id = minirunc.start(boxed())
    made.process["apparmorProfile"] = "nosuch"
    status, out, err = minirunc.run(made)
    assert (status, out) == (1, "")
    assert NOT_LOADED in err.replace('\\"', '"')
    status, out, err = minirunc("exec", "--apparmor", "nosuch", id, "echo", "ran")
    assert (status, out) == (255, "")
    assert NOT_LOADED in err.replace('\\"', '"')
