"""An ordinary user for tests: his directory, his subordinate ids, a cgroup that was delegated to him or was not."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ground import leftovers
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import Runtime

USER = 54321
SUBIDS = 600000


@contextmanager
def ordinary_user(minirunc: Runtime, *, delegated: bool = True) -> Iterator[Path]:
    """The user's directory: his state root, his /etc/subuid; `minirunc` is run by him, in his cgroup, from now on.

    A cgroup that is not delegated is root's.
    """
    script = f"test -r {minirunc.binary}"
    if subprocess.run(["setpriv", "--reuid", str(USER), "--clear-groups", "sh", "-c", script], check=False).returncode:
        pytest.skip(f"an ordinary user cannot reach {CHECKOUT}")
    directory = Path(tempfile.mkdtemp())
    above = leftovers.cgroup2_mounts()[0] / minirunc.id()
    (above / "own").mkdir(parents=True)
    for cgroup in (above, above / "own") if delegated else ():
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
        echo $$ >{above}/own/cgroup.procs
        exec setpriv --reuid {USER} --regid {USER} --clear-groups -- "$@"
    """
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-ec", become, "sh"]
    os.chown(directory, USER, USER)
    try:
        yield directory
    finally:
        _leave(minirunc, above, directory)


def _leave(minirunc: Runtime, above: Path, directory: Path) -> None:
    for id in leftovers.state_directories(minirunc.root):  # of a test that failed
        minirunc("delete", "--force", id)
    minirunc.prefix = []
    for cgroup in (above / "own", above):  # what a container may have left there is told by the watch
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
