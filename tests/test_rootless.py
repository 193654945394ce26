"""An ordinary user runs containers: in a user namespace, in a cgroup that was delegated to him."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import leftovers
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import Runtime

USER = 54321
SUBIDS = 600000


@pytest.fixture
def home(minirunc: Runtime) -> Iterator[Path]:
    """The user's directory: his state root, his /etc/subuid; `minirunc` is run by him, in his cgroup, from now on."""
    script = f"test -r {minirunc.binary}"
    if subprocess.run(["setpriv", "--reuid", str(USER), "--clear-groups", "sh", "-c", script], check=False).returncode:
        pytest.skip(f"an ordinary user cannot reach {CHECKOUT}")
    directory = Path(tempfile.mkdtemp())
    delegated = leftovers.cgroup2_mounts()[0] / minirunc.id()
    (delegated / "own").mkdir(parents=True)
    for cgroup in (delegated, delegated / "own"):
        for name in (".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            os.chown(cgroup / name, USER, USER)
    (directory / "passwd").write_text(f"root:x:0:0::/:/bin/sh\nuser:x:{USER}:{USER}::/:/bin/sh\n")
    for name in ("subuid", "subgid"):
        (directory / name).write_text(f"user:{SUBIDS}:65536\n")
    minirunc.root = directory / "state"
    become = f"""
        mount -t tmpfs etc /etc
        cd {directory}
        cp passwd subuid subgid /etc
        cd {CHECKOUT}
        echo $$ >{delegated}/own/cgroup.procs
        exec setpriv --reuid {USER} --regid {USER} --clear-groups -- "$@"
    """
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-ec", become, "sh"]
    os.chown(directory, USER, USER)
    yield directory
    minirunc.prefix = []
    for cgroup in (delegated / "own", delegated):  # what a container may have left there is told by the watch
        subprocess.run(["rmdir", cgroup], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(directory)


def given(made: Bundle, home: Path, *more: dict[str, int]) -> Bundle:
    """The bundle moved to the user's directory, his, and mapping him to root."""
    moved = home / made.path.name
    shutil.copytree(made.path, moved, symlinks=True)
    subprocess.run(["chown", "-hR", f"{USER}:{USER}", moved], check=True)
    made = Bundle(moved, moved / "rootfs", made.config)
    made.namespace("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}, *more]
    if not more:  # gid 5 is not mapped
        for mount in made.config["mounts"]:
            if mount["type"] == "devpts":
                mount["options"].remove("gid=5")
    return made


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
