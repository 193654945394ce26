"""kernel/syscalls.py: the numbers, and calls executed in this process."""

import inspect
import os
import re
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from minirunc.base.errors import SyscallError
from minirunc.kernel import syscalls, trace
from minirunc.kernel.constants import (
    AT_FDCWD,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    O_RDONLY,
    PR_SET_NAME,
    RESOLVE_BENEATH,
)
from minirunc.kernel.syscalls import Calls, Out, Result, Words, local
from tests.ground import hands

do = local()


# --- numbers ---


def defined(header: str) -> dict[str, int]:
    """The numbers a header of linux-libc-dev defines; some of the generic one bear a mark of 32 or 64 bits."""
    text = Path("/usr/include", header).read_text()
    return {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}


def headers() -> tuple[dict[str, int], dict[str, int]]:
    """Those of x86_64 and of the generic table."""
    own = next(path for path in ("x86_64-linux-gnu/asm", "asm") if Path("/usr/include", path, "unistd_64.h").exists())
    return defined(f"{own}/unistd_64.h"), defined("asm-generic/unistd.h")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the headers of x86_64 are only on such a machine")
@pytest.mark.parametrize("name", syscalls._NUMBERS)
def test_numbers_are_those_of_the_headers(name: str) -> None:
    """Of x86_64, and of the table that aarch64 and riscv64 share."""
    x86_64, generic = headers()
    assert syscalls._NUMBERS[name] == (x86_64[name], generic[name])


def test_every_definition_has_a_number_and_every_number_a_definition() -> None:
    """A call without its number would be found by nobody until it is executed."""
    source = inspect.getsource(Calls).partition("raise NotImplementedError")[2]
    called = re.findall(r'def (\w+)\(self.*?self\.call\("(\w+)"', source, re.DOTALL)
    assert [name for name, call in called if name != call] == []
    assert {call for _, call in called} == set(syscalls._NUMBERS)


# --- calls ---


def test_result_is_returned() -> None:
    """The number the kernel gave."""
    assert do.getpid() == os.getpid()


def test_room_is_filled(place: SimpleNamespace) -> None:
    """Out, as an argument."""
    fd = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
    first, second = Out(4), Out(16)
    assert do.read(fd, first, 4) == 4
    assert do.read(fd, second, 16) == 6
    do.close(fd)
    assert (first.data, second.data) == (b"0123", b"456789" + bytes(10))


def test_room_inside_a_structure_is_filled() -> None:
    """As recvmsg(2) takes it: the data and the ancillary data are pointers in pointers."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendmsg([b"hello"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("<i", 0))])
        data, control = Out(8), Out(24)
        count = do.recvmsg(ours.fileno(), Words(0, 0, Words(data, 8), 1, control, 24, 0), 0x40000000)
    assert (count, data.data) == (5, b"hello\0\0\0")
    length, level, kind, fd = struct.unpack_from("<Qiii", control.data)
    assert (length, level, kind) == (20, 1, 1)
    os.close(fd)


def test_two_rooms_of_one_call_are_told_apart() -> None:
    """Each Out gets its own bytes."""
    header, data = Out(8), Out(24)
    header_bytes = struct.pack("<2I", 0x20080522, 0)
    do.capget(header_bytes, data)
    assert struct.unpack_from("<I", data.data, 4)[0] & 1 == 1  # permitted: CAP_CHOWN
    with pytest.raises(SyscallError):
        do.call("capget", header, data)  # version 0: the kernel writes the one it prefers
    assert header.data[:4] == header_bytes[:4]


def test_structure_of_words(place: SimpleNamespace) -> None:
    """openat2's open_how; an fd that came from a Result is its number."""
    directory = Result(0)
    directory.value = int(do.openat(AT_FDCWD, str(place.path), O_PATH | O_DIRECTORY | O_CLOEXEC))
    fd = do.openat2(directory, "digits", O_RDONLY | O_CLOEXEC, RESOLVE_BENEATH)
    assert os.read(int(fd), 3) == b"012"
    do.close(fd)
    do.close(directory)


def test_text_keeps_bytes_that_are_no_utf8(place: SimpleNamespace) -> None:
    """As file names do."""
    fd = int(do.openat(AT_FDCWD, str(place.path), O_PATH | O_CLOEXEC))
    do.mkdirat(fd, os.fsdecode(b"\xff\xe4"), 0o700)
    do.close(fd)
    assert b"\xff\xe4" in os.listdir(os.fsencode(place.path))


def test_large_and_negative_numbers_are_words() -> None:
    """64 bits of an argument arrive, -1 is all ones."""
    with pytest.raises(SyscallError) as caught:
        do.lseek(-1, 2**63 - 1, 0)
    assert str(caught.value) == f"lseek(-1, {2**63 - 1}, 0): bad file descriptor"
    with pytest.raises(SyscallError) as caught:
        do.call("lseek", 2**64 - 1, 2**64 - 1, 0)
    assert caught.value.errno == 9


# --- errors ---

ERRORS: dict[str, tuple[Callable[[Calls], object], str]] = {
    "flags": (
        lambda do: do.openat(AT_FDCWD, "/none", O_PATH | O_DIRECTORY | O_CLOEXEC),
        'openat(AT_FDCWD, "/none", O_PATH|O_CLOEXEC|O_DIRECTORY, 0): no such file or directory',
    ),
    "unknown bits of flags": (
        lambda do: do.unshare(CLONE_NEWNS | 0x40),
        "unshare(CLONE_NEWNS|0x40): invalid argument",
    ),
    "no flags": (lambda do: do.umount2("/none", 0), 'umount2("/none", 0): no such file or directory'),
    "mode": (
        lambda do: do.mkdirat(AT_FDCWD, "/none/x", 0o750),
        'mkdirat(AT_FDCWD, "/none/x", 0o750): no such file or directory',
    ),
    "operation": (lambda do: do.prctl(PR_SET_NAME, None), "prctl(PR_SET_NAME, NULL): bad address"),
    "structure": (
        lambda do: do.openat2(AT_FDCWD, "/none", O_PATH, RESOLVE_BENEATH),
        'openat2(AT_FDCWD, "/none", {O_PATH, 0, RESOLVE_BENEATH}, 24): invalid cross-device link',
    ),
    "vector": (
        lambda do: do.execve("/none", Words("a", b"b", 0), Words(0)),
        'execve("/none", {"a", "b", 0}, {0}): no such file or directory',
    ),
    "room": (lambda do: do.read(-1, Out(8), 8), "read(-1, <8 bytes>, 8): bad file descriptor"),
    "zeros": (lambda do: do.write(-1, bytes(16)), "write(-1, 16 bytes, 16): bad file descriptor"),
    "bytes": (lambda do: do.connect(-1, b"\1\2\3"), "connect(-1, 3 bytes, 3): bad file descriptor"),
    "text with a newline": (
        lambda do: do.chdir('/none\n"x"\x1b[0m'),
        r'chdir("/none\n"x"\x1b[0m"): no such file or directory',
    ),
    "text that is no UTF-8": (lambda do: do.chdir("/n\udcff"), r'chdir("/n\udcff"): no such file or directory'),
    "text beyond ASCII": (lambda do: do.chdir("/né"), 'chdir("/né"): no such file or directory'),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_error_is_the_call(case: str) -> None:
    """The call as strace(1) would show it, on one line, and the kernel's no."""
    call, text = ERRORS[case]
    with pytest.raises(SyscallError) as caught:
        call(do)
    assert str(caught.value) == text


def test_error_has_its_parts() -> None:
    """For those who fall back on an errno."""
    with pytest.raises(SyscallError) as caught:
        do.close(-1)
    assert (caught.value.call, caught.value.arguments, caught.value.errno) == ("close", "-1", 9)


# --- the trace ---


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of the trace."""
    lines: list[str] = []
    monkeypatch.setattr(trace, "sink", lines.append)
    return lines


def test_trace_shows_what_was_done_outside(traced: list[str]) -> None:
    """A line a call: where, the call, its result or error."""
    fd = do.openat(AT_FDCWD, "/", O_PATH | O_CLOEXEC)
    do.close(fd)
    with pytest.raises(SyscallError):
        do.close(-1)
    assert traced == [
        f'outside: openat(AT_FDCWD, "/", O_PATH|O_CLOEXEC, 0) = {fd}',
        f"outside: close({fd}) = 0",
        "outside: close(-1) = -1 Bad file descriptor",
    ]


def test_trace_shows_what_was_done_inside(traced: list[str]) -> None:
    """By the hand with its pid; calls that were passed over or not reached are not there."""
    hand = hands.Hand()
    del traced[:]
    pid = hand.pid
    with pytest.raises(SyscallError), hand.batch() as batch:
        batch.tolerate(batch.close(77))
        batch.on_failure(2, batch.getpid())
        batch.on_failure(9, batch.getpid())
        batch.close(78)
        batch.getpid()
    last = hand.batch()
    last.execve("/bin/true", Words("true", 0), Words(0))
    hand.finish(last)
    hand.kill()
    assert traced == [
        f"hand {pid}: close(77) = -1 Bad file descriptor",
        f"hand {pid}: getpid() = {pid}",
        f"hand {pid}: close(78) = -1 Bad file descriptor",
        f'hand {pid}, last batch: execve("/bin/true", {{"true", 0}}, {{0}})',
    ]


# --- what changes the caller, in a process of its own ---


def in_a_child(script: str) -> list[str]:
    """What a Python program says that may do to itself what it likes."""
    with hands.python("from minirunc.kernel.syscalls import *\nimport os\ndo = local()\n" + script) as process:
        said = process.stdout.read().splitlines()
    assert process.returncode == 0
    return said


def test_unshare_moves_the_caller() -> None:
    """New uts and network namespaces; a name set there is not set here."""
    said = in_a_child(f"""
do.unshare({CLONE_NEWUTS | CLONE_NEWNET})
do.sethostname(b"elsewhere")
print(os.uname().nodename, *map(os.readlink, ("/proc/self/ns/uts", "/proc/self/ns/net")), sep="\\n")
""")
    assert said[0] == "elsewhere" != os.uname().nodename
    assert not {os.readlink(f"/proc/self/ns/{kind}") for kind in ("uts", "net")} & set(said)


def test_setns_joins() -> None:
    """By a pidfd or an fd of the namespace."""
    said = in_a_child(f"""
first, second = os.readlink("/proc/self/ns/uts"), os.open("/proc/self/ns/uts", os.O_RDONLY)
do.unshare({CLONE_NEWUTS})
print(os.readlink("/proc/self/ns/uts") != first)
do.setns(second, {CLONE_NEWUTS})
print(os.readlink("/proc/self/ns/uts") == first)
do.unshare({CLONE_NEWUTS})
do.setns(do.pidfd_open(os.getppid()), {CLONE_NEWUTS})
print(os.readlink("/proc/self/ns/uts") == first)
""")
    assert said == ["True"] * 3


def test_clone3_makes_a_process() -> None:
    """It returns twice: the pid here, 0 in the child."""
    said = in_a_child("""
pid = do.clone3(0, 17)
if not pid:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")
    assert said == ["7"]


def test_ctypes_package_is_not_needed() -> None:
    """Its C core is: the package costs milliseconds at every start."""
    script = "from minirunc.kernel.syscalls import local; local().getpid(); import sys; print('ctypes' in sys.modules)"
    with hands.python(script) as process:
        assert process.stdout.read() == "False\n"


def test_threads_have_their_own_errno() -> None:
    """ctypes keeps a copy a thread, swapped around each call."""
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            try:
                do.close(-1) if number else do.chdir("/none")
            except SyscallError as error:
                if error.errno != (9 if number else 2):
                    wrong.append(error.errno)

    threads = [threading.Thread(target=work, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
