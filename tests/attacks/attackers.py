"""What attackers have: a container with a Python in it, and later others of their tools."""

from tests.ground.bundle import Bundle

_LINKS = ("bin", "lib", "lib64", "sbin")


def give_python(bundle: Bundle, script: str) -> None:
    """Have the bundle's process be a Python of the host's that runs `script`; /usr is bound read-only, no more.

    The image's own busybox stays under /busybox.
    """
    (bundle.rootfs / "bin").rename(bundle.rootfs / "busybox")
    for name in _LINKS:
        path = bundle.rootfs / name
        if path.is_dir() and not path.is_symlink():
            for entry in path.iterdir():
                entry.unlink()
            path.rmdir()
        path.unlink(missing_ok=True)
        path.symlink_to(f"usr/{name}")
    bundle.mount("/usr", "bind", "/usr", "bind", "ro", "nosuid", "nodev")
    (bundle.rootfs / "attack.py").write_text(script)
    bundle.args(["/usr/bin/python3", "-IS", "/attack.py"])
