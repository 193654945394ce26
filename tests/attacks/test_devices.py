"""Attacks by linux.devices: nodes are made in the container alone, and only where nothing else is."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from tests.attacks.attackers import give_user_namespace, links_to, ran, refused, some, untouched, without
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

BENEATH = "made by name in a directory found below the root, looked at again by fd"
NULL = {"type": "c", "major": 1, "minor": 3}


@attack("devices with paths out of /dev", "masks and devices", BENEATH)
def test_device_paths(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`..` and links lead nowhere but below the root, and nothing that is there becomes a device or gets an owner."""
    with untouched(tmp_path) as host:
        made = bundle("stat -c '%n %t:%T %u' /etc/x /x /new/a/b")
        (made.rootfs / "link").symlink_to(host)
        paths = ["/dev/../etc/x", "/dev/pts/../../x", f"/../../..{host}/null", "/dev/./../new/a/b", "/link/null2"]
        made.linux["devices"] = [NULL | {"path": path, "uid": 7} for path in paths]
        assert ran(minirunc.run(made)).splitlines() == ["/etc/x 1:3 7", "/x 1:3 7", "/new/a/b 1:3 7"]
        assert stat.S_ISCHR((made.rootfs / str(host)[1:] / "null").lstat().st_mode)
        bad = (
            *(
                "/",
                "/dev/..",
                "/proc/x",
                "/etc/passwd",
                "/.",
                "/..",
                "/dev",
                "/dev/",
                "/dev/.",
                "/dev/pts/..",
                "/dev/pts",
                "/dev/shm/",
            ),
            *("/proc/self/x", "/proc/version", "/sys/x", "/etc/passwd/x", "/dev/ptmx/x"),
            *(f"/dev/{'n' * 256}", "/dev/a\0b", "/d" * 3000, "/dev/null/x"),
        )
        for path in some(bad, 4):
            made = bundle()
            (made.rootfs / "etc/passwd").write_text("image\n")
            (made.rootfs / "etc/passwd").chmod(0o644)
            made.linux["devices"] = [NULL | {"path": path, "uid": 7, "gid": 7, "fileMode": 0o777}]
            refused(minirunc.run(made), "")
            assert (made.rootfs / "etc/passwd").read_text() == "image\n"
            assert all(path.lstat().st_uid == 0 for path in made.rootfs.glob("**"))


@attack("devices of an image's own /dev", "masks and devices", BENEATH)
def test_nodes_of_the_image(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Where /dev is the image's: a node, a link or a fifo of another kind in a device's place is not taken for it."""
    with untouched(tmp_path) as host:
        for way in some(["zero", "link", "file", "block", "dangling", "fifo", "directory"]):
            made = without(bundle(), "/dev")
            stands = made.rootfs / "dev/sda"
            if way in ("zero", "block"):
                os.mknod(stands, 0o060600 if way == "block" else 0o020600, os.makedev(1, 3 if way == "block" else 5))
            elif way in ("link", "dangling"):
                stands.symlink_to(host / ("zero" if way == "link" else "missing"))
            elif way == "fifo":
                os.mkfifo(stands)
            elif way == "file":
                stands.touch()
            else:
                stands.mkdir()
            before = stands.lstat()
            made.linux["devices"] = [NULL | {"path": "/dev/sda", "uid": 7, "gid": 7}]
            refused(minirunc.run(made), "/dev/sda in the container is not the device c 1:3")
            assert stands.lstat()[:6] == before[:6]


@attack("devices bound from the host", "masks and devices", "what is bound must be the very device that was asked for")
def test_what_is_bound_in_a_user_namespace(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Where nodes are bound from the host: no path brings a file or another device in, none is bound over a link."""
    with untouched(tmp_path) as host:
        script = f'mount --bind {host} /mnt && exec "$@"'  # where anybody may look
        minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
        for path in ("/mnt/file", "/mnt/zero", "/mnt/fifo", "/mnt/directory", "/mnt/missing", "/dev/zero/"):
            for before in some(["/dev/pts/../..", "", "/dev/.."], 1):
                made = give_user_namespace_to(bundle("cat /mnt/file"))
                made.linux["devices"] = [NULL | {"path": f"{before}{path}"}]
                refused(minirunc.run(made), "is not the device c 1:3", "no such file", "not a directory")
        for text in some([*links_to(host / "file").values(), "/proc/self/attr/exec"], 1):
            made = give_user_namespace_to(without(bundle(), "/dev"))
            (made.rootfs / "dev/null").symlink_to(text)
            os.chown(made.rootfs / "dev/null", 100000, 100000, follow_symlinks=False)
            refused(minirunc.run(made), "symbolic link")


def give_user_namespace_to(made: Bundle) -> Bundle:
    """The bundle, in a user namespace."""
    give_user_namespace(made)
    return made
