"""Hands for tests: with a process of the test's in the hand's place, or under qemu; and what is asked of a process."""

import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from minirunc.kernel.hand import Hand
from minirunc.kernel.hand_code import SIZE, elf
from tests.ground.bundle import CHECKOUT
from tests.ground.runtime import wait_until

PATIENCE_S = 30


def around(control: socket.socket, pid: int, number: int = 3) -> Hand:
    """A Hand whose other end is somebody else: `number` is the control socket's fd there."""
    hand = Hand.__new__(Hand)
    hand.socket, hand.pid, hand.control = control, pid, number
    return hand


def under_qemu(machine: str, directory: Path) -> Hand:
    """The hand of another machine, run by qemu-user."""
    program = directory / f"hand-{machine}"
    program.write_bytes(elf(machine))
    program.chmod(0o755)
    ours, theirs = pair()
    number = theirs.fileno()
    argv = [f"qemu-{machine}", str(program), *["x"] * (number - 1)]
    with theirs:
        os.set_inheritable(number, True)
        pid = os.posix_spawnp(argv[0], argv, os.environ)
    return around(ours, pid, number)


def pair() -> tuple[socket.socket, socket.socket]:
    """A pair as the hand has it."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * SIZE)
    return ends


def bystander() -> int:
    """The pid of a child that does nothing."""
    return os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)


def wait_until_ended(pid: int) -> None:
    """Wait until the process, ours or not, has ended; it is not reaped."""
    pidfd = os.pidfd_open(pid)
    try:
        assert select.select([pidfd], [], [], PATIENCE_S)[0], f"process {pid} is still there"
    finally:
        os.close(pidfd)


def status(pid: int, field: str) -> str:
    """A field of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    raise AssertionError(f"/proc/{pid}/status has no {field}")


def fds(pid: int | str = "self") -> dict[int, str]:
    """What a process has open: fd and what /proc says it is."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            pass
    return found


class Python(subprocess.Popen[str]):
    """A Python program, with pipes."""

    stdin: IO[str]
    stdout: IO[str]


def python(script: str, *args: object, prefix: tuple[str, ...] = (), **popen: Any) -> Python:
    """Start a Python program that can import minirunc; stdin and stdout are pipes."""
    return Python(
        [*prefix, sys.executable, "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        **popen,
    )


def blocked_in(pid: int, number: int) -> list[int]:
    """Wait until a process sleeps in this system call: its six arguments (proc_pid_syscall(5))."""
    found: list[int] = []

    def look() -> bool:
        words = Path(f"/proc/{pid}/syscall").read_text().split()
        if words[0] == str(number):
            found[:] = [int(value, 16) for value in words[1:7]]
        return bool(found) and found[0] != 3  # in the control socket it waits for the batch itself

    wait_until(look, f"process {pid} sleeps in system call {number}")
    return found
