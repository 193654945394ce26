"""Attacks on mounts that are made in the host's mount namespace, as the container has none of its own.

What goes wrong here goes wrong on the host: so all of it is done in a mount namespace that stands for the host's.
"""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests import inside
from tests.attacks.attackers import links_to, untouched
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import TIMEOUT_S, Runtime


def without_namespace(made: Bundle) -> Bundle:
    made.without_namespace("mount")
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    return made


def on_a_host(minirunc: Runtime, made: Bundle, between: str, before: str = ":") -> dict[str, inside.Mount]:
    """Start it, do something, delete it, in one mount namespace: its mounts afterwards, and printed before."""
    made.write()
    id = minirunc.id()
    start = shlex.join(minirunc.argv("run", "--detach", "--bundle", made.path, id))
    delete = shlex.join(minirunc.argv("delete", "--force", id))
    script = f"{before}; {start} >/dev/null; {between}; {delete}; cat /proc/self/mountinfo"
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return inside.mounts(done.stdout)


@attack("mounts on the host behind links", "links in the image", "found below the root (RESOLVE_IN_ROOT), used by fd")
def test_mounts_on_the_host_behind_links(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Destinations that an image leads to the host's files by links: while it runs they are below the rootfs."""
    made = without_namespace(bundle("exec sleep 1000"))
    with untouched(tmp_path) as host:
        for way, text in links_to(host / "directory").items():
            (made.rootfs / way).symlink_to(text)
            made.mount(f"/{way}/{way}", "tmpfs", "tmpfs")
            made.mount(f"/{way}-file", "bind", str(made.path), "bind")
        seen = tmp_path / "bundle-seen"
        after = on_a_host(minirunc, made, f"cat /proc/self/mountinfo >{seen}")
        mounts = inside.mounts(seen.read_text())
        assert {f"{made.rootfs}{host}/directory/{way}" for way in links_to(host)} <= set(mounts)
        for found in (mounts, after):
            assert [point for point in found if f"{point}/".startswith(f"{host}/")] == []
        assert [point for point in after if point.startswith(f"{made.rootfs}/")] == []


@attack("delete is led to another's mount", "names and paths", "a mount is known by its id and unmounted by an fd")
def test_delete_is_led_to_another_mount(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The directory above the rootfs is exchanged, so that its path leads to a mount of the host's: that one stays."""
    made = without_namespace(bundle("exec sleep 1000"))
    away = made.path.with_name(f"{made.path.name}-away")
    theirs = tmp_path / "bundle-theirs"
    (theirs / "rootfs").mkdir(parents=True)
    with untouched(tmp_path):
        for lead in (f"ln -s {theirs} {made.path}", f"mkdir {made.path}; mount --rbind {theirs} {made.path}"):
            before = f"mount -t tmpfs theirs {theirs}/rootfs; mount -t tmpfs covers {theirs}/rootfs"
            after = on_a_host(minirunc, made, f"mv {made.path} {away}; {lead}", before)
            assert after[f"{theirs}/rootfs"].source == "covers"
            if made.path.is_symlink():
                made.path.unlink()
            else:
                assert after[f"{made.path}/rootfs"].source == "covers"
                made.path.rmdir()
            away.rename(made.path)
