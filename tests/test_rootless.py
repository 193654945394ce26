"""An ordinary user runs containers: in a user namespace, in a cgroup that was delegated to him."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground.bundle import Bundle
from tests.ground.rootless import SUBIDS, USER, given, ordinary_user
from tests.ground.runtime import Runtime


@pytest.fixture
def home(minirunc: Runtime) -> Iterator[Path]:
    """The user's directory; `minirunc` is run by him from now on."""
    with ordinary_user(minirunc) as directory:
        yield directory


def test_user_is_root_inside(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.uidMappings of the user alone: written without help; setgroups(2) is given up, devices are the host's."""
    made = bundle(
        "id -u; id -g; cat /proc/self/uid_map /proc/self/setgroups; echo x >/dev/null; touch /x && stat -c %u /x"
    )
    made = given(made, home)
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert result.out.split() == ["0", "0", "0", str(USER), "1", "deny", "0"]
    assert (made.rootfs / "x").stat().st_uid == USER


def test_user_maps_his_subordinate_ids(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """More ids than his own: by newuidmap and newgidmap, from /etc/subuid and /etc/subgid; all of the life cycle."""
    made = given(bundle("touch /tmp/x; exec sleep 1000"), home, {"containerID": 1, "hostID": SUBIDS, "size": 65536})
    made.process["user"] = {"uid": 1000, "gid": 100, "additionalGids": [5]}
    id = minirunc.create(made)
    minirunc.ok("start", id)
    assert minirunc.status(id) == "running"
    script = "id -u; id -G; cat /proc/self/gid_map; stat -c %u:%g /tmp/x"
    expected = f"1000 100 5 0 {USER} 1 1 {SUBIDS} 65536 1000:100"
    assert minirunc.ok("exec", id, "sh", "-c", script).split() == expected.split()
    assert (made.rootfs / "tmp/x").stat().st_uid == SUBIDS + 999
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)


def test_ids_that_are_not_his_are_refused(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.uidMappings of ids he was not given: newuidmap's own words, nothing is left."""
    made = given(bundle(), home, {"containerID": 1, "hostID": 1, "size": 10})
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, "")
    assert "newuidmap: " in result.err
