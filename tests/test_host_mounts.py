"""A container without a mount namespace of its own: its mounts are made in its caller's, and taken away again.

All of it happens in a mount namespace that a sleeping process holds; the machine's own is never touched.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import inside
from tests.attacks.attackers import links_to
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until
from tests.ground.terminal import Terminal
from tests.test_namespaces import mapped

STAYS = "stays a mount point, as the container had no mount namespace: umount it"


class Ground:
    """A mount namespace with a process in it."""

    def __init__(self, pid: int) -> None:
        self.prefix = ["nsenter", "-t", str(pid), "-m"]

    def sh(self, script: str) -> str:
        done = subprocess.run([*self.prefix, "sh", "-ec", script], check=True, capture_output=True, text=True)
        return done.stdout

    def below(self, path: Path) -> dict[str, inside.Mount]:
        """Its mounts at a path and below, by what is left of their path."""
        mounts = inside.mounts(self.sh("cat /proc/self/mountinfo"))
        return {point[len(str(path)) :]: m for point, m in mounts.items() if f"{point}/".startswith(f"{path}/")}


@pytest.fixture(params=["private", "shared"])
def ground(request: pytest.FixtureRequest, minirunc: Runtime) -> Iterator[Ground]:
    """The runtime is called in it; with `shared` its mounts have peers, as systemd makes them on most hosts."""
    script = f"mount --make-r{request.param} / && echo ready && exec sleep 1000"
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        made = Ground(holder.pid)
        minirunc.prefix = made.prefix
        yield made
        for id in os.listdir(minirunc.root) if minirunc.root.exists() else []:
            minirunc("delete", "--force", id)
        holder.kill()


def shared(made: Bundle) -> Bundle:
    """Without a mount namespace, and with what may be had then."""
    made.without_namespace("mount")
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    (made.path / "volume").mkdir(exist_ok=True)
    (made.path / "volume/file").write_text("of the host\n")
    made.mount("/data", "tmpfs", "tmpfs", "size=64k", "mode=700")
    made.mount("/data/volume", "bind", "volume", "bind", "ro")
    return made


@pytest.mark.observes("mounts[].destination", "linux.namespaces[].type")
def test_mounts_are_seen_by_the_caller_while_it_runs(
    ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """linux.namespaces without mount: all that is listed is mounted below the rootfs, and devices in its /dev; `delete`
    takes all away but the rootfs itself, which stays a bare mount point, as runc's callers expect it to."""
    made = shared(bundle("exec sleep 1000"))
    id = minirunc.start(made)
    found = ground.below(made.rootfs)
    assert {"", "/proc", "/dev", "/dev/pts", "/sys", "/data", "/data/volume"} <= set(found)
    assert [point for point, mount in found.items() if point and "shared" in mount.tags] == []
    assert "ro" in found["/data/volume"].options
    said = minirunc.ok(
        "exec", id, "sh", "-c", "cat /data/volume/file; echo x >/dev/null; touch /data/volume/x 2>&1; pwd"
    )
    assert said == "of the host\ntouch: /data/volume/x: Read-only file system\n/\n"
    result = minirunc("delete", "--force", id)
    assert (result.status, STAYS in result.err) == (0, True)
    assert list(ground.below(made.rootfs)) == [""]
    assert (made.path / "volume/file").read_text() == "of the host\n"
    ground.sh(f"umount -R --lazy {made.rootfs}")
    assert ground.below(made.rootfs) == {}


def test_rootfs_is_left_mounted_once(ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """However often it was run: one umount is enough."""
    made = shared(bundle("cat /data/volume/file"))
    for _ in range(3):
        result = minirunc.run(made)
        assert (result.status, result.out) == (0, "of the host\n")
    ground.sh(f"umount {made.rootfs}")
    assert ground.below(made.rootfs) == {}


@pytest.mark.observes("root.readonly")
def test_read_only_root_and_tmpfs(ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """root.readonly and `ro` hold without a mount namespace, too, and not for the host's own view afterwards."""
    made = shared(bundle("touch /x /ro/x"))
    made.config["root"]["readonly"] = True
    made.mount("/ro", "tmpfs", "tmpfs", "ro")
    result = minirunc.run(made)
    assert result.err.splitlines()[:2] == [f"touch: {name}: Read-only file system" for name in ("/x", "/ro/x")]
    assert "rw" in ground.below(made.rootfs)[""].options


@pytest.mark.observes("process.terminal")
def test_terminal_is_its_console(ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.terminal: a terminal of the container's devpts, which is /dev/console, too."""
    made = shared(bundle("tty; stat -c 'it is %t,%T' /dev/console /dev/pts/0; exit 5"))
    made.process["terminal"] = True
    made.write()
    with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
        assert terminal.wait() == 5
        assert terminal.out.splitlines()[:3] == ["/dev/pts/0", "it is 88,0", "it is 88,0"]
    assert list(ground.below(made.rootfs)) == [""]


def test_failed_birth_leaves_no_mount(ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What was mounted before the mount that is refused, or the hook that fails, is gone."""
    made = shared(bundle())
    made.mount("/bad", "tmpfs", "tmpfs", "bogus")
    result = minirunc.run(made)
    assert (result.status, "Unknown parameter 'bogus'" in result.err) == (1, True)
    assert ground.below(made.rootfs) == {}
    del made.config["mounts"][-1]
    made.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    assert minirunc.run(made).status == 1
    assert ground.below(made.rootfs) == {}


def test_killed_birth_is_undone(ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`delete --force` finds what a killed birth mounted: its id was written down before."""
    made = shared(bundle())
    fifo = made.path / "fifo"
    os.mkfifo(fifo)
    made.config["hooks"] = {"createRuntime": [{"path": "/bin/cat", "args": ["cat", str(fifo)]}]}
    made.write()
    id = minirunc.id()
    process = minirunc.popen("create", "--bundle", made.path, id, stdin=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: "/data/volume" in ground.below(made.rootfs), "it is mounted")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    minirunc.ok("delete", "--force", id)
    assert ground.below(made.rootfs) == {}


def test_what_others_mounted_there_stays(ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """delete: the mount is known by its id. One that took its place, or where a link leads now, is left alone."""
    made = shared(bundle("exec sleep 1000"))
    id = minirunc.start(made)
    ground.sh(f"umount -R --lazy {made.rootfs}; mount -t tmpfs theirs {made.rootfs}; mkdir {made.rootfs}/in")
    assert minirunc("delete", "--force", id) == (0, "", "")
    assert ground.below(made.rootfs)[""].source == "theirs"
    ground.sh(f"umount {made.rootfs}")
    id = minirunc.start(made)
    other = made.path / "other"
    ground.sh(f"mkdir {other}; mount -t tmpfs theirs {other}; umount -R --lazy {made.rootfs}")
    made.rootfs.rename(made.path / "away")
    made.rootfs.symlink_to(other)
    assert minirunc("delete", "--force", id) == (0, "", "")
    assert ground.below(other)[""].source == "theirs"
    assert ground.below(made.path / "away") == {}


def test_links_lead_to_no_mount_of_the_host(
    tmp_path: Path, ground: Ground, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """A destination behind links of the image: below the rootfs, here as well, where a mistake would be the host's."""
    outside = tmp_path / "outside"
    outside.mkdir()
    made = shared(bundle("exec sleep 1000"))
    for way, text in links_to(outside).items():
        (made.rootfs / way).symlink_to(text)
        made.mount(f"/{way}/{way}", "tmpfs", "tmpfs")
    minirunc.start(made)
    assert ground.below(outside) == {}
    assert {f"{outside}/{way}" for way in links_to(outside)} <= set(ground.below(made.rootfs))
    assert os.listdir(outside) == []


def test_user_namespace_needs_a_mount_namespace(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The kernel lets nobody mount in the namespace of others: both fields are named."""
    made = mapped(bundle())
    made.without_namespace("mount")
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    result = minirunc.run(made)
    assert result.status == 1
    why = "root.readonly: a user namespace needs a mount namespace for it: list one, or set false"
    made.config["root"]["readonly"] = True
    assert f"config.json: {why}" in minirunc.run(made).err
    why = "mounts: unable to mount in the host's mount namespace from a user namespace: list a mount namespace, too"
    assert f"config.json: {why}" in result.err
