"""What attackers have: a container with a Python in it, and later others of their tools."""

import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.ground import hands
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Result, Runtime

IN_OPEN = 0x20
_T = TypeVar("_T")
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
import sys, traceback
from minirunc import Container
sys.excepthook = lambda *raised: traceback.print_exception(*raised, file=sys.stdout)
box = Container.load(*sys.argv[1:3])
for _ in range(int(sys.argv[3])):
    box.exec(sys.argv[4:]).wait()
"""


def execs(minirunc: Runtime, id: str, count: int, program: str, script: str = EXECS) -> None:
    """Execute the program in the container so many times; each of them begins. Its stderr is no socket of ours."""
    words = (minirunc.root, id, count, program)
    with hands.python(script, *words, prefix=tuple(minirunc.prefix), stderr=subprocess.DEVNULL) as process:
        told = process.stdout.read()
        assert (process.wait(), told) == (0, "")


def give_user_namespace(bundle: Bundle, owner: int = 100000) -> None:
    """Give the container a user namespace whose root is `owner` outside, and the rootfs to him."""
    bundle.namespace("user")
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": owner, "size": 65536}]
    for directory, names, files in os.walk(bundle.rootfs):
        for name in (".", *names, *files):
            os.chown(f"{directory}/{name}", owner, owner, follow_symlinks=False)


@contextmanager
def untouched(directory: Path, *, again: bool = False) -> Iterator[Path]:
    """What an attack is after: a directory of the host's beside the bundle, full of canaries. All of it must stay as it
    is, and so must what else lies beside the bundles, the names in /, /dev and /etc, core_pattern and the mounts."""
    host = directory / "host"
    if not again:
        _plant(host)
    before = _host(directory)
    yield host
    assert _host(directory) == before


def _plant(host: Path) -> None:
    (host / "directory").mkdir(parents=True)
    (host / "directory/inside").write_text("canary\n")
    (host / "empty").mkdir(mode=0o711)
    (host / "file").write_text("canary\n")
    (host / "file").chmod(0o640)
    os.mkfifo(host / "fifo")
    os.mknod(host / "zero", 0o020600, os.makedev(1, 5))


def _host(directory: Path) -> dict[str, object]:
    """What of the host may not change."""
    seen: dict[str, object] = {name: sorted(os.listdir(name)) for name in ("/", "/dev", "/etc")}
    beside = {path.name for path in directory.iterdir()}
    seen["beside the bundles"] = {name for name in beside if not name.startswith(("bundle", "state"))}
    seen["core_pattern"] = Path("/proc/sys/kernel/core_pattern").read_text()
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    seen["mounts"] = [line for line in lines if "/pytest-" not in line or str(directory) in line]
    for path in sorted((directory / "host").rglob("*")):
        stat = path.lstat()
        content = path.read_text() if path.is_file() else sorted(os.listdir(path)) if path.is_dir() else ""
        seen[str(path)] = (content, *stat[:6], stat.st_rdev, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return seen


def without(made: Bundle, *destinations: str) -> Bundle:
    """The bundle without the mounts there and below."""
    made.config["mounts"] = [
        mount
        for mount in made.config["mounts"]
        if not any(f"{mount['destination']}/".startswith(f"{path}/") for path in destinations)
    ]
    return made


def some(choices: Sequence[_T], most: int = 3) -> Sequence[_T]:
    """All of them; where runs are slow, the first of them."""
    return choices[:most] if IN_UML else choices


def links_to(target: Path) -> dict[str, str]:
    """Texts of links in an image that lead to a file of the host, if they are followed outside of the image."""
    climbing = "../" * 40 + str(target).lstrip("/")
    return {"absolute": str(target), "climbing": climbing, "both": f"/{climbing}", "dots": f"/.//{target}/."}


def ran(result: Result) -> str:
    """It went well and in silence: what it printed."""
    assert (result.status, result.err) == (0, "")
    return result.out


def refused(result: Result, *reasons: str) -> None:
    """It ended before anything ran, with an error of one line that gives one of the reasons."""
    assert (result.status, result.out) == (1, ""), result
    assert result.err.count("\n") == 1, result.err
    assert any(reason in result.err for reason in reasons), result.err


@contextmanager
def opened(*paths: Path) -> Iterator[list[str]]:
    """The names of those that somebody opened meanwhile, other than as a mere path (inotify(7), IN_OPEN)."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watch >= 0, os.strerror(ctypes.get_errno())
    names = {}
    for path in paths:
        number = libc.inotify_add_watch(watch, os.fsencode(path), IN_OPEN)
        assert number >= 0, os.strerror(ctypes.get_errno())
        names[number] = path.name
    found: list[str] = []
    try:
        yield found
        try:
            events = os.read(watch, 65536)
        except BlockingIOError:
            events = b""
        while events:
            number, what, _, length = struct.unpack_from("<iIII", events)
            if what & IN_OPEN:
                found.append(names[number])
            events = events[16 + length :]
    finally:
        os.close(watch)
