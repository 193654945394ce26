"""Attacks on the terminal: it comes from the container's own devpts, whatever stands at its names (CVE-2025-52565)."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.attackers import links_to, opened, refused, some, untouched, without
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Result, Runtime
from tests.ground.terminal import Terminal

PEER = "slave by TIOCGPTPEER, both ends checked to be a devpts' own, /dev/console behind no link"


def shown(minirunc: Runtime, made: Bundle) -> tuple[int, str]:
    """What `run` on a terminal ends with and shows."""
    made.process["terminal"] = True
    made.write()
    with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
        return terminal.wait(), terminal.out


@contextmanager
def console_socket(directory: Path) -> Iterator[str]:
    """A socket nobody will be sent anything to."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = directory / "state-console"
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        yield str(path)
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        with connection:
            assert connection.recv(100) == b"", "a terminal was handed over"


@attack("CVE-2025-52565, /dev/console", "masks and devices", PEER)
def test_console_that_is_a_link(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The terminal is bound over no other file: not of the host, not of /proc, not of the image."""
    with untouched(tmp_path) as host:
        targets = [*links_to(host / "file").values(), "/proc/self/attr/exec", *links_to(host / "missing").values()]
        for target in some([*targets, "/proc/sys/kernel/core_pattern", "/proc/1/mem", "null", "pts/0", "console"], 5):
            made = without(bundle("tty"), "/dev")
            made.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")
            (made.rootfs / "dev/console").symlink_to(target)
            status, out = shown(minirunc, made)
            assert status == 1
            assert "/dev/console in the container is a symbolic link" in out, out
            assert not (made.rootfs / str(host)[1:]).exists()


@attack("CVE-2025-52565, /dev/ptmx and /dev/pts", "masks and devices", PEER)
def test_ptmx_that_is_something_else(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A link, a plain file, a fifo or another device in their place is not opened, and is no terminal."""
    with untouched(tmp_path) as host, console_socket(tmp_path) as listener:
        for name in ("ptmx", "pts/ptmx"):
            for way in some(["fifo", "link", "file", "device"], 2):
                made = without(bundle("tty"), "/dev")
                stands = made.rootfs / "dev" / name
                stands.parent.mkdir(exist_ok=True)
                if way == "link":
                    stands.symlink_to(host / "fifo")
                elif way == "fifo":
                    os.mkfifo(stands)
                elif way == "device":
                    os.mknod(stands, 0o020666, os.makedev(1, 5))
                else:
                    stands.write_text("")
                if name == "pts/ptmx":
                    (made.rootfs / "dev/ptmx").symlink_to("pts/ptmx")
                with opened(host / "fifo", *([] if way == "link" else [stands])) as found:
                    status, out = shown(minirunc, made)
                    refused_to(minirunc, made, listener)
                assert (status, found) == (1, []), out


def refused_to(minirunc: Runtime, made: Bundle, listener: str) -> Result:
    """`create` with a console socket ends with an error, too."""
    made.write()
    result = minirunc("create", "--console-socket", listener, "--bundle", made.path, minirunc.id())
    refused(result, "")
    return result


@attack("CVE-2025-52565, terminal numbers", "masks and devices", PEER)
def test_slaves_that_are_links(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Links as /dev/pts/0 and its like, in an image or a volume: a devpts covers them, they are never looked at."""
    with untouched(tmp_path) as host:
        for source in ("image", "volume"):
            made = without(bundle("tty; readlink /dev/pts/0; exec stat -c %F:%t /dev/console"), "/dev")
            below = made.path / "volume" if source == "volume" else made.rootfs / "dev"
            (below / "pts").mkdir(parents=True)
            for number in range(10):
                (below / f"pts/{number}").symlink_to(host / "file")
            (below / "pts/ptmx").symlink_to(host / "file")
            if source == "volume":
                made.mount("/dev", "bind", "volume", "bind")
            made.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")
            if source == "volume":
                (below / "ptmx").symlink_to("pts/ptmx")
            assert shown(minirunc, made) == (0, "/dev/pts/0\r\ncharacter special file:88\r\n")


# What a container that may mount does to its own /dev before somebody execs into it.
TRAPS = {
    "fifo": "mknod /tmp/trap p",
    "device": "mknod /tmp/trap c 1 5",
    "file": "touch /tmp/trap",
    "slave": ": >/tmp/trap; mount --bind /dev/pts/1 /tmp/trap",
}


@attack("CVE-2025-52565, exec into a container with a changed /dev", "masks and devices", PEER)
def test_exec_where_ptmx_was_replaced(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A container with CAP_SYS_ADMIN covers its ptmx, or all of /dev/pts: exec -t gets a true terminal, or an error."""
    with untouched(tmp_path):
        for what in ("/dev/pts/ptmx", "/dev/pts"):
            for way, script in some([*TRAPS.items()], 1):
                if what == "/dev/pts":
                    change = "mount -t tmpfs t /dev/pts; mknod /dev/pts/ptmx p; ln -s /proc/1/root /dev/pts/0"
                else:
                    change = f"{script}; mount --bind /tmp/trap {what}"
                made = bundle(f"exec 3<>/dev/ptmx; {change}; touch /ready; exec sleep 1000")
                names = ["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]
                made.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
                id = minirunc.start(made)
                minirunc.ok("exec", id, "sh", "-c", "until test -e /ready; do sleep 0.01; done")
                with Terminal(minirunc, "exec", "--tty", id, "stat", "-Lc", "%F:%t", "/proc/self/fd/0") as terminal:
                    status = terminal.wait()
                    assert (status, terminal.out) == (0, "character special file:88\r\n") or (
                        status == 255 and re.search("ptmx|terminal", terminal.out)
                    ), (way, terminal.out)
                minirunc.ok("delete", "--force", id)
