"""Attacks on masked and read-only paths: the cover is the kernel's, whatever the image holds."""

import os
from collections.abc import Callable
from pathlib import Path

from tests import inside
from tests.attacks.attackers import give_user_namespace, links_to, ran, refused, some, untouched, without
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

IN_ROOT = "found below the root (openat2 RESOLVE_IN_ROOT), covered by fd"
NULL = "covered by the host's /dev/null, checked to be c 1:3, by fd"
HIDDEN = """
    test -s /secret && echo not hidden
    echo x >/secret && stat -c %F,%t:%T /secret
    ls /directory
"""


def masking(made: Bundle) -> Bundle:
    """The bundle with a file and a directory of the image's to be hidden."""
    (made.rootfs / "secret").write_text("image\n")
    (made.rootfs / "directory").mkdir()
    (made.rootfs / "directory/in-image").touch()
    made.linux["maskedPaths"] = ["/secret", "/directory", "/proc/keys", "/proc/version"]
    return made


@attack("CVE-2025-31133", "masks and devices", NULL)
def test_null_device_of_the_image_is_not_what_masks(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """/dev/null in the image is a link, another device, a file, a directory or a fifo; /dev is the image's or bound."""
    with untouched(tmp_path) as host:
        for way in some(["absolute", "bound", "zero", *links_to(host), "file", "directory", "fifo", "bound directory"]):
            made = masking(without(bundle(HIDDEN), "/dev"))
            volume = made.path / "volume"
            null = (volume if way.startswith("bound") else made.rootfs / "dev") / "null"
            volume.mkdir()
            if way in links_to(host):
                null.symlink_to(links_to(host / "file")[way].removesuffix("/."))
            elif way == "zero":
                os.mknod(null, 0o020666, os.makedev(1, 5))
            elif way in ("directory", "bound directory"):
                null.mkdir()
            elif way == "fifo":
                os.mkfifo(null)
            else:
                null.write_text("")
            if way.startswith("bound"):
                made.mount("/dev", "bind", "volume", "bind")
                assert ran(minirunc.run(made)) == "character special file,1:3\n"
                assert not way.endswith("directory") or os.listdir(null) == []
            else:
                refused(minirunc.run(made), "/dev/null in the container is not the device c 1:3")


@attack("CVE-2025-31133, a host without its null device", "masks and devices", NULL)
def test_host_without_a_null_device(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Where even the host's /dev/null is something else nothing is masked with it: the birth fails."""
    made = masking(bundle())
    with untouched(tmp_path) as host:
        for other in ("file", "zero", "fifo"):
            script = f'mount --bind {host}/{other} /dev/null && exec "$@"'
            minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
            refused(minirunc.run(made), "not the null device")


@attack("masked paths behind links of the image", "masks and devices", IN_ROOT)
def test_masked_paths_behind_links(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A masked path that an image made a link is covered where it leads inside; on the host nothing is."""
    with untouched(tmp_path) as host:
        for way, text in some([*links_to(host).items()], 1):
            made = bundle("cat /proc/self/mountinfo")
            shadow = made.rootfs / str(host)[1:]
            (shadow / "directory").mkdir(parents=True)
            (shadow / "file").touch()
            (made.rootfs / "link").symlink_to(text)
            (made.rootfs / "link-file").symlink_to(f"{text.removesuffix('/.')}/file")
            made.linux["maskedPaths"] = ["/link/directory", "/link-file", "/link/missing", "/link/file/x"]
            made.linux["readonlyPaths"] = ["/link", "/link/fifo"]
            mounts = inside.mounts(ran(minirunc.run(made)))
            assert mounts[f"{host}/file"].root == "/null", way
            assert mounts[f"{host}/directory"].fs_type == "tmpfs"
            assert "ro" in mounts[str(host)].options
            assert f"{host}/missing" not in mounts


@attack("masked paths with dots", "names and paths", IN_ROOT)
def test_masked_paths_with_dots(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`..` at the top stays at the top; links that go through /proc's own are not followed."""
    with untouched(tmp_path) as host:
        made = masking(bundle(HIDDEN))
        made.linux["maskedPaths"] = ["/../../secret", "/usr/../../../directory", f"/../..{host}/file", "//proc/./keys"]
        made.linux["readonlyPaths"] = ["/proc/../../../usr", f"/../../{host}"]
        assert ran(minirunc.run(made)) == "character special file,1:3\n"
        (made.rootfs / "magic").symlink_to(f"/proc/1/root{host}")
        for field in ("maskedPaths", "readonlyPaths"):
            made = bundle()
            (made.rootfs / "magic").symlink_to(f"/proc/self/root{host}")
            made.linux[field] = ["/magic/directory"]
            refused(minirunc.run(made), "too many levels of symbolic links")
            for path in some(["/..", "//", "/", "/./", "/..."], 1):
                made.linux[field] = [path]
                refused(minirunc.run(made), "is the root itself")


@attack("the root masked by a link", "masks and devices", IN_ROOT)
def test_masked_path_that_is_the_root(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A masked or read-only path that the image leads to the root itself: what runs is in the root of its own still."""
    with untouched(tmp_path) as host:
        for field in ("maskedPaths", "readonlyPaths"):
            for text in some(["../../..", "/", "..", "/usr/.."], 1):
                made = bundle("ls -d /bin /proc/self; ls -d /*/*/host")
                (made.rootfs / "link").symlink_to(text)
                made.linux[field] = ["/link"]
                result = minirunc.run(made)
                assert str(host) not in result.out
                assert result.status == 1, result


@attack("masks in a user namespace", "masks and devices", NULL)
def test_masks_in_a_user_namespace(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Who is root there cannot take a cover away, nor write through one."""
    made = masking(bundle("umount /secret; umount /directory; umount /proc/keys; ls -A /directory; test -s /secret"))
    made.process["capabilities"] = {name: ["CAP_DAC_OVERRIDE"] for name in ("bounding", "effective", "permitted")}
    give_user_namespace(made)
    with untouched(tmp_path):
        result = minirunc.run(made)
    assert (result.status, result.out) == (1, "")
    assert result.err.count("Operation not permitted") == 3, result.err
