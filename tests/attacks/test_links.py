"""Attacks by links in the image and in volumes: what is mounted, made or read through them stays in the container."""

import os
from collections.abc import Callable
from pathlib import Path

from tests import inside
from tests.attacks.attackers import links_to, opened, untouched
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Result, Runtime
from tests.test_namespaces import mapped

MOUNTINFO = "cat /proc/self/mountinfo"
IN_ROOT = "targets are opened below the root (openat2 RESOLVE_IN_ROOT), mounted on by fd"


def ran(result: Result) -> str:
    """It went well and in silence: what it printed."""
    assert (result.status, result.err) == (0, "")
    return result.out


def refused(result: Result, *words: str) -> None:
    """It ended with an error of one line that holds one of the words, not in the middle of something."""
    assert result.status == 1, result
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert any(word in result.err for word in words), result.err


@attack("CVE-2019-18837, CVE-2021-30465 (static)", "links in the image", IN_ROOT)
def test_mount_targets_that_are_links(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Each mount lands at the same path below the root."""
    made = bundle(MOUNTINFO)
    with untouched(tmp_path) as host:
        for name in ("directory", "directory/missing/too", "missing"):
            for way, text in links_to(host / name).items():
                link = f"{way}-{name.replace('/', '-')}"
                (made.rootfs / link).symlink_to(text)
                made.mount(f"/{link}", "tmpfs", "tmpfs")
                made.mount(f"/{link}/further", "bind", "/usr", "bind", "ro")
        for name in ("file", "no-file"):
            for way, text in links_to(host / name).items():
                (made.rootfs / f"{way}-{name}").symlink_to(text.removesuffix("/."))
                made.mount(f"/{way}-{name}", "bind", "/etc/hostname", "bind", "ro")
        mounts = inside.mounts(ran(minirunc.run(made)))
        for name in ("directory", "directory/missing/too/further", "missing", "missing/further", "file", "no-file"):
            assert mounts[f"{host}/{name}"].fs_type
            assert not str(made.rootfs) in name
    assert (made.rootfs / str(host)[1:] / "no-file").is_file()
