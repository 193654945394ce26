"""What attackers have: a container with a Python in it, and later others of their tools."""

import os

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


# Runs a program in a container many times, from one process: root, id, how often, program, its arguments.
EXECS = """
import sys
from minirunc import Container
box = Container.load(*sys.argv[1:3])
for _ in range(int(sys.argv[3])):
    box.exec(sys.argv[4:]).wait()
"""


def give_user_namespace(bundle: Bundle, owner: int = 100000) -> None:
    """Give the container a user namespace whose root is `owner` outside, and the rootfs to him."""
    bundle.namespace("user")
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": owner, "size": 65536}]
    for directory, names, files in os.walk(bundle.rootfs):
        for name in (".", *names, *files):
            os.chown(f"{directory}/{name}", owner, owner, follow_symlinks=False)
