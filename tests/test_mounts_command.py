"""commands/mounts.py, container/live_mounts.py: mounts added to and removed from a container that runs (crun's)."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped


def entry(destination: str, source: object, kind: str = "bind", *options: str) -> dict[str, Any]:
    """One of the array."""
    words = list(options) or (["bind"] if kind == "bind" else [])
    return {"destination": destination, "type": kind, "source": str(source), "options": words}


@pytest.fixture
def change(minirunc: Runtime, tmp_path: Path) -> Callable[..., Any]:
    """`change("add", id, entry...)`: what the command gives."""

    def call(verb: str, id: str, *mounts: dict[str, Any]) -> Any:
        file = tmp_path / "mounts.json"
        file.write_text(json.dumps(list(mounts)))
        return minirunc("mounts", verb, id, file)

    return call


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory of the host's with a file in it."""
    made = tmp_path / "volume"
    made.mkdir()
    (made / "file").write_text("hello\n")
    return made


def mountinfo(minirunc: Runtime, id: str, destination: str) -> list[list[str]]:
    """The lines of /proc/1/mountinfo inside that are about it."""
    lines = minirunc.ok("exec", id, "cat", "/proc/1/mountinfo").splitlines()
    return [line.split() for line in lines if line.split()[4] == destination]


def test_bind_and_new_file_system(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], volume: Path
) -> None:
    """A directory, a file, a tmpfs; seen by the process that runs; with their options; gone again when removed."""
    made = bundle("exec sleep 1000")
    id = minirunc.start(made)
    mounts = [
        entry("/data/volume", volume, "bind", "rbind", "ro", "nosuid"),
        entry("/etc/one", volume / "file"),
        entry("/data/fresh", "tmpfs", "tmpfs", "size=64k", "mode=700", "ro"),
    ]
    assert change("add", id, *mounts) == (0, "", "")
    script = (
        "cat /data/volume/file /etc/one; touch /data/volume/x 2>&1; touch /data/fresh/x 2>&1; stat -c %a /data/fresh"
    )
    assert minirunc.ok("exec", id, "sh", "-c", script + "; true").splitlines() == [
        "hello", "hello", "touch: /data/volume/x: Read-only file system",
        "touch: /data/fresh/x: Read-only file system", "700",
    ]  # fmt: skip
    (found,) = mountinfo(minirunc, id, "/data/volume")
    assert {"ro", "nosuid"} <= set(found[5].split(","))
    assert change("remove", id, *mounts) == (0, "", "")
    for mount in mounts:
        assert mountinfo(minirunc, id, mount["destination"]) == []
    assert (volume / "file").read_text() == "hello\n"


@pytest.mark.parametrize("status", ["created", "paused"])
def test_in_every_status_with_a_process(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], volume: Path, status: str
) -> None:
    """One that waits for start has them when it starts; one that is paused when it goes on."""
    made = bundle("sleep 0.2; cp /data/file /copy; exec sleep 1000")
    id = minirunc.create(made)
    if status == "paused":
        minirunc.ok("start", id)
        minirunc.ok("pause", id)
    assert change("add", id, entry("/data", volume)) == (0, "", "")
    assert minirunc.status(id) == status
    minirunc.ok("start" if status == "created" else "resume", id)
    script = "until test -s /copy; do sleep 0.02; done; cat /copy"
    assert minirunc.ok("exec", id, "sh", "-c", script) == "hello\n"


def test_in_a_user_namespace(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], volume: Path
) -> None:
    """A source that the container's root may not walk to; a file system that is its own, so that it may write there."""
    volume.parent.chmod(0o711)
    (volume.parent / "closed").mkdir(mode=0o700)
    volume.rename(volume.parent / "closed/volume")
    made = mapped(bundle("exec sleep 1000"))
    id = minirunc.start(made)
    mounts = [entry("/data", volume.parent / "closed/volume"), entry("/fresh", "tmpfs", "tmpfs")]
    assert change("add", id, *mounts) == (0, "", "")
    assert minirunc.ok("exec", id, "sh", "-c", "cat /data/file; touch /fresh/x; stat -c %u /fresh/x") == "hello\n0\n"
    assert change("remove", id, *mounts) == (0, "", "")


def test_ids_are_mapped(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], volume: Path
) -> None:
    """An id-mapped mount of the host's files, where their file system can be."""
    id = minirunc.start(bundle("exec sleep 1000"))
    source = Path("/dev/shm") / minirunc.token  # a tmpfs: the kernel maps it
    source.mkdir()
    try:
        mount = entry("/data", source) | {
            kind: [{"containerID": 0, "hostID": 5000, "size": 10}] for kind in ("uidMappings", "gidMappings")
        }
        result = change("add", id, mount)
        if "cannot be id-mapped" in result.err:
            pytest.skip("this kernel maps no ids of a tmpfs")
        assert result == (0, "", "")
        assert minirunc.ok("exec", id, "stat", "-c", "%u", "/data") == "5000\n"
        assert change("remove", id, mount).status == 0
    finally:
        source.rmdir()


def test_what_is_mounted_inside_stays_inside(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], tmp_path: Path
) -> None:
    """A copy of a shared mount of the host's is no peer of it: no mount of the container's comes out."""
    id = minirunc.start(bundle("exec sleep 1000"))
    shared = tmp_path / "shared"
    shared.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", shared], check=True)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        (shared / "below").mkdir()
        assert change("add", id, entry("/data", shared, "bind", "rbind")).status == 0
        assert change("add", id, entry("/data/below", "tmpfs", "tmpfs")).status == 0
        assert len(mountinfo(minirunc, id, "/data/below")) == 1
        assert not os.path.ismount(shared / "below")
        assert change("remove", id, entry("/data/below", "")).status == 0
        assert change("remove", id, entry("/data", "")).status == 0
    finally:
        subprocess.run(["umount", shared], check=True)


def test_all_or_none(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], volume: Path
) -> None:
    """The first ones are taken away again when one fails; the error names that one."""
    id = minirunc.start(bundle("exec sleep 1000"))
    result = change("add", id, entry("/a", volume), entry("/a/b", "tmpfs", "tmpfs"), entry("/c", "/nosuch"))
    assert result.status == 1
    assert 'error mounting \\"/nosuch\\" to rootfs at \\"/c\\" (mounts[2])' in result.err
    assert "no such file or directory" in result.err
    for destination in ("/a", "/a/b", "/c"):
        assert mountinfo(minirunc, id, destination) == []


def test_more_than_files_may_be_open(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], volume: Path
) -> None:
    """Each is open until all are there: the caller's soft limit does not count, the hard one is told; none is left."""
    id = minirunc.start(bundle("exec sleep 1000"))
    mounts = [entry(f"/many/{index}", volume) for index in range(150)]
    minirunc.prefix = ["prlimit", "--nofile=100:100"]
    assert "too many open files" in change("add", id, *mounts).err
    minirunc.prefix = ["prlimit", "--nofile=100:1000"]
    assert change("add", id, *mounts) == (0, "", "")
    minirunc.prefix = []
    assert minirunc.ok("exec", id, "sh", "-c", "cat /many/*/file | wc -l") == "150\n"
    assert change("remove", id, *mounts) == (0, "", "")
    assert minirunc.ok("exec", id, "sh", "-c", "grep -c many /proc/mounts; true") == "0\n"


LINKS = {
    "/out": "/",
    "/up": "../../../../..",
    "/host": "/proc/1/root",
    "/self": "/proc/self/root",
}


@pytest.mark.parametrize("name", LINKS)
def test_links_inside_do_not_lead_out(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], volume: Path, name: str
) -> None:
    """A target is found below the container's root, whatever links a process there has made (CVE-2021-30465)."""
    made = bundle("exec sleep 1000")
    (made.rootfs / name[1:]).symlink_to(LINKS[name])
    id = minirunc.start(made)
    result = change("add", id, entry(f"{name}/{minirunc.token}", volume))
    assert minirunc.token not in Path("/proc/self/mountinfo").read_text()
    assert not Path(f"/{minirunc.token}").exists()
    if result.status == 0:
        assert len(mountinfo(minirunc, id, f"/{minirunc.token}")) == 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "root": (entry("/", "/etc"), 'mountpoint \\"/\\" is on the top of rootfs'),
    "proc": (entry("/proc/sys", "/etc"), '\\"/proc/sys\\" cannot be mounted because it is inside /proc'),
    "file": (entry("/etc/passwd", "/etc"), "not a directory"),
    "remount": (entry("/dev", "", "bind", "bind", "remount", "ro"), "not in a container that exists: no remount"),
    "none": (entry("", "/etc"), "mounts.json: [0].destination: must not be empty"),
    "type": ({"destination": 5}, "mounts.json: [0].destination: expected a string"),
    "data": (entry("/a", "/etc", "bind", "bind", "size=5"), "bind mounts cannot have any filesystem-specific options"),
    "nul": (entry("/a\0", "/etc"), "mounts.json: [0].destination: mount field contains null byte"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any], case: str) -> None:
    """One clear error, and the container is as it was."""
    made = bundle("exec sleep 1000")
    id = minirunc.start(made)
    before = minirunc.ok("exec", id, "cat", "/proc/1/mountinfo")
    mount, why = REFUSED[case]
    result = change("add", id, mount)
    assert (result.status, result.out) == (1, "")
    assert why in result.err
    assert result.err.count("\n") == 1
    assert minirunc.ok("exec", id, "cat", "/proc/1/mountinfo") == before


def test_what_cannot_be_removed(minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any]) -> None:
    """What is no mount, what is not there, and the root."""
    id = minirunc.start(bundle("exec sleep 1000"))
    assert "there is no mount of the container's own to be taken away" in change("remove", id, entry("/etc", "")).err
    assert "no such file or directory" in change("remove", id, entry("/nosuch", "")).err
    assert "is on the top of rootfs" in change("remove", id, entry("/.", "")).err


def test_words_of_the_command(minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any]) -> None:
    """Neither add nor remove; no array; a file that is missing; a container that is not there, or has stopped."""
    id = minirunc.start(bundle("exec sleep 1000"))
    assert "unknown command mounts list: expected add or remove" in change("list", id).err
    assert "stdin: mounts must be an array" in minirunc("mounts", "add", id, "-", input="{}").err
    assert "open /nosuch: no such file or directory" in minirunc("mounts", "add", id, "/nosuch").err
    assert "container does not exist: nosuch" in change("add", "nosuch").err
    assert minirunc("mounts", "add", id, "-", input="[]") == (0, "", "")
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    assert "container not running" in change("add", id, entry("/a", "/etc")).err


def test_without_a_mount_namespace(
    minirunc: Runtime, bundle: Callable[..., Bundle], change: Callable[..., Any]
) -> None:
    """Its mounts were the host's."""
    made = bundle("exec sleep 1000")
    made.without_namespace("mount")
    made.config["mounts"] = []
    made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []
    id = minirunc.start(made)
    assert "has no mount namespace of its own" in change("add", id, entry("/a", "/etc")).err
