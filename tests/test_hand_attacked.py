"""kernel/hand.py under attack: a hand that dies or lies, a neighbour that would trace it or write its program."""

import errno
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from minirunc.base.errors import Error, SecurityError, SyscallError
from minirunc.kernel import hand as kernel_hand
from minirunc.kernel import hand_code
from minirunc.kernel.constants import AT_FDCWD, CLONE_NEWUSER, CLONE_PARENT, O_CLOEXEC, O_RDONLY, PR_SET_DUMPABLE
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.hand_code import SIZE
from minirunc.kernel.syscalls import Out, Words
from tests.ground import hands, leftovers

pytestmark = pytest.mark.usefixtures("nothing_left")


# --- a hand that dies ---

USES: dict[str, Callable[[Hand], object]] = {
    "batch": lambda hand: hand.execute(getpid(hand)),
    "finish": lambda hand: hand.finish(getpid(hand)),
    "become": lambda hand: hand.become(getpid(hand)),
    "load": lambda hand: hand.load(b"data"),
    "send_fd": lambda hand: hand.send_fd(0),
    "receive_fd": lambda hand: hand.receive_fd(0),
}
FIRST = {"become": "fcntl", "load": "mmap", "send_fd": "recvmsg", "receive_fd": "sendmsg"}


def getpid(hand: Hand) -> Batch:
    """A small batch."""
    batch = hand.batch()
    batch.getpid()
    return batch


@pytest.mark.parametrize("use", USES)
def test_killed_hand_is_one_clear_error(hand: Hand, use: str) -> None:
    """Whatever is asked of it next, finish included: nobody else would tell that the container is dead."""
    os.kill(hand.pid, 9)
    hands.wait_until_ended(hand.pid)
    with pytest.raises(Error) as caught:
        USES[use](hand)
    assert type(caught.value) is Error
    asked = FIRST.get(use, "getpid")
    assert str(caught.value) == f"the hand (pid {hand.pid}) did not answer {asked}: signal 9 killed it"


def test_hand_killed_during_a_blocking_call_is_one_clear_error(hand: Hand, place: SimpleNamespace) -> None:
    """As the OOM killer does it."""
    os.mkfifo(place.none)

    def kill() -> None:
        # Opening the fifo waits for the hand, which then waits for a byte.
        with open(place.none, "wb"):
            os.kill(hand.pid, 9)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(Error) as caught, hand.batch() as do:
        fifo = do.openat(AT_FDCWD, place.none, O_RDONLY | O_CLOEXEC)
        do.read(fifo, Out(1), 1)
    killer.join()
    assert str(caught.value) == f"the hand (pid {hand.pid}) did not answer openat: signal 9 killed it"


def test_hand_that_left_is_told_with_its_status(hand: Hand) -> None:
    """exit_group closes the control socket."""
    with pytest.raises(Error) as caught, hand.batch() as do:
        do.exit_group(7)
    assert str(caught.value) == f"the hand (pid {hand.pid}) did not answer exit_group: it left with status 7"


def test_hand_that_was_reaped_by_another_is_an_error(hand: Hand) -> None:
    """A caller that waits for any child."""
    os.kill(hand.pid, 9)
    os.waitpid(hand.pid, 0)
    with pytest.raises(Error) as caught, hand.batch() as do:
        do.getpid()
    assert str(caught.value) == f"the hand (pid {hand.pid}) did not answer getpid: it is gone"


def test_kill_again_signals_nobody(hand: Hand) -> None:
    """The pid may be a stranger's by then."""
    hand.kill()
    assert hand.pid == 0
    hand.kill()


def test_hand_leaves_when_python_dies() -> None:
    """Nothing of a birth that was killed stays: the control socket's end is the hand's."""
    leftovers.become_subreaper()
    with hands.python(MAKES_A_HAND) as process:
        pid = int(process.stdout.readline())
        process.kill()
    hands.wait_until_ended(pid)
    assert os.waitpid(pid, 0)[1] >> 8 == 255


MAKES_A_HAND = """
import time
from minirunc.kernel.hand import Hand
hand = Hand()
print(hand.pid, flush=True)
time.sleep(1000)
"""


# --- a hand that lies ---


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hand, socket.socket]]:
    """A Hand, and the other end of its control socket, from which the test answers in advance."""
    monkeypatch.setattr(kernel_hand, "_DYING_MS", 1)  # it lives
    ours, theirs = hands.pair()
    hand = hands.around(ours, hands.bystander())
    yield hand, theirs
    theirs.close()
    hand.kill()


def results(message: bytes, *values: int) -> bytes:
    """The answer to a message with these results in place."""
    answer = bytearray(message)
    for index, value in enumerate(values):
        struct.pack_into("<q", answer, 64 * index, value)
    return bytes(answer)


@pytest.mark.parametrize("length", [1, 8, 71, 73, 72 + 64, SIZE, SIZE + 1], ids=str)
def test_answer_of_another_length_is_refused(liar: tuple[Hand, socket.socket], length: int) -> None:
    """An answer has the length of what was sent, so that all places are in it."""
    hand, theirs = liar
    theirs.send(b"\xff" * length)
    with pytest.raises(SecurityError) as caught, hand.batch() as do:
        do.getpid()
    assert str(caught.value) == "the hand's answer has not the 72 bytes of what it was sent"


def test_empty_answer_is_an_error(liar: tuple[Hand, socket.socket]) -> None:
    """A message of no bytes reads like a closed socket."""
    hand, theirs = liar
    theirs.send(b"")
    with pytest.raises(Error) as caught, hand.batch() as do:
        do.getpid()
    assert str(caught.value) == f"the hand (pid {hand.pid}) did not answer getpid: it closed its control socket"


def test_closed_socket_of_one_that_lives_is_an_error(liar: tuple[Hand, socket.socket]) -> None:
    """It is not waited for longer than a dying process needs; kill() then ends it."""
    hand, theirs = liar
    theirs.close()
    with pytest.raises(Error) as caught, hand.batch() as do:
        do.getpid()
    assert str(caught.value) == f"the hand (pid {hand.pid}) did not answer getpid: it closed its control socket"


@pytest.mark.parametrize("value", [-4096, -(2**31), -(2**63)])
def test_result_that_no_call_gives_is_refused(liar: tuple[Hand, socket.socket], value: int) -> None:
    """-1 to -4095 is an errno; less is nothing."""
    hand, theirs = liar
    batch = getpid(hand)
    theirs.send(results(batch.encode()[0], value))
    with pytest.raises(SecurityError) as caught:
        hand.execute(batch)
    assert str(caught.value) == f"the hand sent {value} back for getpid, which no system call returns"


def test_errno_that_nobody_knows_is_worded(liar: tuple[Hand, socket.socket]) -> None:
    """Any number down to -4095 is the kernel's to give."""
    hand, theirs = liar
    batch = getpid(hand)
    theirs.send(results(batch.encode()[0], -4095))
    with pytest.raises(SyscallError) as caught:
        hand.execute(batch)
    assert str(caught.value) == "getpid(): unknown error 4095"


def test_any_bytes_of_the_right_length_are_numbers(liar: tuple[Hand, socket.socket]) -> None:
    """No pointer in it is followed, no entry, flag or argument read back: results and room for them, at our places."""
    hand, theirs = liar
    out = Out(16)
    batch = hand.batch()
    first = batch.openat(AT_FDCWD, "name", 0)
    second = batch.tolerate(batch.readlinkat(first, "name", out))
    length = len(batch.encode()[0])
    theirs.send(b"\x7f" * length)
    hand.execute(batch)
    assert (int(first), int(second), out.data) == (0x7F7F7F7F7F7F7F7F, 0x7F7F7F7F7F7F7F7F, b"\x7f" * 16)
    with pytest.raises(SecurityError):  # a number beyond any fd is still only a number, when it is sent back
        hand.execute(closing(hand, first, theirs))


def closing(hand: Hand, fd: object, theirs: socket.socket) -> Batch:
    """A batch that uses an absurd result, and an answer of absurd length to it."""
    batch = hand.batch()
    batch.close(fd)  # type: ignore[arg-type] # a Result
    assert struct.unpack_from("<Q", batch.encode()[0], 8)[0] == 0x7F7F7F7F7F7F7F7F
    theirs.send(b"x")
    return batch


def test_answer_to_another_batch_has_no_effect_but_its_numbers(liar: tuple[Hand, socket.socket]) -> None:
    """Of the same length it cannot be told; of another it is refused. Calls are named by us, never by it."""
    hand, theirs = liar
    other = hand.batch()
    other.close(5)
    theirs.send(results(other.encode()[0], -9))
    with pytest.raises(SyscallError) as caught, hand.batch() as do:
        do.umask(0o22)
    assert str(caught.value) == "umask(0o22): bad file descriptor"
    longer = hand.batch()
    longer.close(5)
    longer.close(6)
    theirs.send(results(longer.encode()[0], 0, 0))
    with pytest.raises(SecurityError, match="not the 72 bytes"):
        hand.execute(getpid(hand))


@pytest.mark.parametrize("pid", [1, 2**22 - 1, 2**31 - 1, 2**31, 2**62])
def test_child_that_is_not_ours_is_refused_and_not_signalled(liar: tuple[Hand, socket.socket], pid: int) -> None:
    """After a fork the hand names the pid that we will signal, write limits of and reap: it must be our child."""
    hand, theirs = liar
    batch = hand.batch()
    batch.forks(batch.clone3(CLONE_PARENT))
    theirs.send(results(batch.encode()[0], pid))
    with pytest.raises(SecurityError) as caught:
        hand.execute(batch)
    assert str(caught.value) == f"the hand says that it is process {pid} now, which is no child of ours"
    assert hand.pid == 0  # so that kill() ends nobody


def test_parent_that_does_not_end_after_a_fork_is_ended(liar: tuple[Hand, socket.socket]) -> None:
    """We do not wait for what it promised."""
    hand, theirs = liar
    first, child = hand.pid, hands.bystander()
    batch = hand.batch()
    batch.forks(batch.clone3(CLONE_PARENT))
    theirs.send(results(batch.encode()[0], child))
    hand.execute(batch)
    assert hand.pid == child
    assert first not in leftovers.children()


@pytest.mark.parametrize("count", [0, 2, 5])
def test_wrong_number_of_files_is_refused_and_none_kept(
    liar: tuple[Hand, socket.socket], place: SimpleNamespace, count: int
) -> None:
    """One file was asked for: without one an error, and the kernel gives us no more than we have room for."""
    hand, theirs = liar
    with open(place.digits) as file:
        fds = [file.fileno()] * count
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"<{count}i", *fds))] if count else []
        theirs.sendmsg([b"f"], ancillary)
        theirs.send(receive_fd_answer(hand))
        before = hands.fds()
        with pytest.raises(SecurityError) as caught:
            hand.receive_fd(3)
        assert hands.fds() == before
    assert str(caught.value) == f"the hand sent {'no file' if not count else 'more than one file'}"


@pytest.mark.parametrize("answer", [b"x", b"y" * 72, b""])
def test_file_with_a_wrong_answer_is_not_kept(
    liar: tuple[Hand, socket.socket], place: SimpleNamespace, answer: bytes
) -> None:
    """No fd is left open by an error after it came."""
    hand, theirs = liar
    with open(place.digits) as file:
        theirs.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("<i", file.fileno()))])
        theirs.send(answer)
        before = hands.fds()
        with pytest.raises(Error):
            hand.receive_fd(3)
        assert hands.fds() == before


def test_success_without_the_file_is_refused(liar: tuple[Hand, socket.socket]) -> None:
    """The answer alone, that nothing failed."""
    hand, theirs = liar
    theirs.send(receive_fd_answer(hand))
    with pytest.raises(SecurityError) as caught:
        hand.receive_fd(3)
    assert str(caught.value) == "the hand sent no file"


def receive_fd_answer(hand: Hand) -> bytes:
    """What a hand that served receive_fd(3) sends last."""
    batch = hand.batch()
    control = struct.pack("<QiiiI", 20, 1, 1, 3, 0)
    batch.sendmsg(hand.control, Words(0, 0, Words(b"f", 1), 1, control, 24, 0), 0)
    return results(batch.encode()[0], 1)


@pytest.mark.parametrize("use", ["batch", "become", "load", "send_fd"])
def test_files_in_an_ordinary_answer_are_not_taken(
    liar: tuple[Hand, socket.socket], place: SimpleNamespace, use: str
) -> None:
    """Nobody fills our table of open files by sending some along."""
    hand, theirs = liar
    with open(place.digits) as file:
        theirs.sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("<2i", *[file.fileno()] * 2))])
        before = hands.fds()
        with pytest.raises(SecurityError):
            USES[use](hand)
        assert hands.fds() == before


@pytest.mark.parametrize("use", ["become", "load", "send_fd"])
@pytest.mark.parametrize("answer", [b"x", b"x" * SIZE], ids=["short", "long"])
def test_second_answer_of_another_length_is_refused(liar: tuple[Hand, socket.socket], use: str, answer: bytes) -> None:
    """Each of the ways that send more than one message checks each answer."""
    hand, theirs = liar
    first = hand.batch()
    if use == "become":
        first.fcntl(hand.control, 2, 1)
    elif use == "load":
        first.mmap(4, 3, 0x22)
    if use != "send_fd":
        theirs.send(results(first.encode()[0], 0))
    theirs.send(answer)
    with pytest.raises(SecurityError, match="the hand's answer has not the"):
        USES[use](hand)


# --- a neighbour that would trace it ---

DOCKER = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write"
)
DOCKER_BITS = 0xA80425FB  # those and setfcap, as CapPrm shows them

# Reads pids, one a line, and says how each of the ways into that process ended.
ATTACK = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(pid):
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    yield 0 if libc.ptrace(0x4206, pid, 0, 0) == 0 else ctypes.get_errno()  # PTRACE_SEIZE
    for name in ("mem", "maps", "exe", "fd/0"):
        try:
            os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
            yield 0
        except OSError as error:
            yield error.errno
for line in sys.stdin:
    print(*attempt(int(line)), flush=True)
"""
WAYS = 5


def attacked(attacker: "hands.Python", pid: int) -> list[int]:
    """The errno of each of the attacker's ways, 0 where it came in."""
    attacker.stdin.write(f"{pid}\n")
    attacker.stdin.flush()
    return [int(word) for word in attacker.stdout.readline().split()]


def with_dockers_capabilities(hand: Hand) -> None:
    """Leave the hand as many capabilities as its attacker has, so that these do not decide."""
    low = DOCKER_BITS & 0xFFFFFFFF
    with hand.batch() as do:
        do.capset(struct.pack("<2I", 0x20080522, 0), struct.pack("<6I", low, low, low, 0, 0, 0))
        do.tolerate(do.prctl(0x59616D61, 2**64 - 1, 0, 0, 0))  # PR_SET_PTRACER_ANY: no word from Yama


def test_neighbour_with_dockers_capabilities_has_no_way_in(hand: Hand) -> None:
    """CVE-2016-9962: root in a container may trace what is his, but not a hand, even one with no more capabilities."""
    setpriv = ("setpriv", "--bounding-set", "-all," + ",".join(f"+{name}" for name in [*DOCKER.split(), "setfcap"]))
    with hands.python(ATTACK, prefix=setpriv) as attacker:
        assert attacked(attacker, hand.pid) == [errno.EPERM] + [errno.EACCES] * (WAYS - 1)
        assert int(hands.status(attacker.pid, "CapPrm"), 16) == DOCKER_BITS
        with_dockers_capabilities(hand)
        assert attacked(attacker, hand.pid) == [errno.EPERM] + [errno.EACCES] * (WAYS - 1)
        # The test can see: all that kept it out was prctl(PR_SET_DUMPABLE).
        with hand.batch() as do:
            do.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        assert attacked(attacker, hand.pid) == [0] * WAYS
        attacker.stdin.close()


# Becomes root of a user namespace of its own, mapped from outside once it said so; executes the hand there if told to.
USERNS = (
    """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000) == 0
print("unshared", flush=True)
sys.stdin.readline()
os.setresgid(0, 0, 0)
os.setresuid(0, 0, 0)
if len(sys.argv) > 1:
    image, control = sys.argv[1], int(sys.argv[2])
    child = os.fork()
    if not child:
        os.execv(image, ["hand"] * control)
    print(child, flush=True)
"""
    + ATTACK
)


def map_ids(process: "hands.Python") -> None:
    """Give its user namespace ids that are nobody's outside."""
    assert process.stdout.readline() == "unshared\n"
    for kind in ("uid", "gid"):
        Path(f"/proc/{process.pid}/{kind}_map").write_text("0 100000 65536\n")
    process.stdin.write("go\n")
    process.stdin.flush()


def test_root_of_a_user_namespace_has_no_way_into_a_hand_that_joined_it(hand: Hand) -> None:
    """It was executed outside: its memory belongs to the outer user namespace, of which he has no capability."""
    with hands.python(USERNS) as attacker:
        map_ids(attacker)
        with hand.batch() as do:
            namespace = do.openat(AT_FDCWD, f"/proc/{attacker.pid}/ns/user", O_RDONLY | O_CLOEXEC)
            do.setns(namespace, CLONE_NEWUSER)
            do.setresgid(0, 0, 0)
            do.setresuid(0, 0, 0)
        assert hands.status(hand.pid, "Uid").split() == ["100000"] * 4
        assert attacked(attacker, hand.pid)[0] == errno.EPERM
        assert 0 not in attacked(attacker, hand.pid)
        attacker.stdin.close()


@pytest.mark.parametrize("mode", [0o111, 0o755], ids=oct)
def test_root_of_a_user_namespace_has_no_way_into_a_hand_executed_there(tmp_path: Path, mode: int) -> None:
    """Mode 0111 and an owner who is nobody there: the kernel keeps an unreadable program's memory to its owner.

    With mode 0755 he comes in, until the hand's first call: the test can see.
    """
    image = f"/proc/{os.getpid()}/fd/{hand_code.image(not_at=-1)}"
    if mode != 0o111:
        image = str(tmp_path / "hand")
        Path(image).write_bytes(hand_code.elf(hand_code.machine()))
        for directory in (tmp_path, *tmp_path.parents[:2]):
            directory.chmod(0o755)
        os.chmod(image, mode)
    ours, theirs = hands.pair()
    program = os.open(image, os.O_PATH)
    control = theirs.fileno()
    fds = {"pass_fds": (program, control)}
    with ours, theirs, hands.python(USERNS, f"/proc/self/fd/{program}", control, **fds) as attacker:
        os.close(program)
        map_ids(attacker)
        hand = hands.around(ours, int(attacker.stdout.readline()), control)
        with hand.batch() as do:
            do.getpid()  # an answer comes after the execve
        assert attacked(attacker, hand.pid)[0] == (errno.EPERM if mode == 0o111 else 0)
        attacker.stdin.close()
    hands.wait_until_ended(hand.pid)
    os.waitpid(hand.pid, 0)


# --- its program ---


def test_program_is_sealed_and_cannot_be_read_or_written(hand: Hand) -> None:
    """CVE-2019-5736: not while it runs, and not through an fd of it that was kept until it ended; not even by root."""
    program = f"/proc/{hand.pid}/exe"
    assert os.readlink(program) == "/memfd:minirunc:hand (deleted)"
    assert os.stat(program).st_mode == 0o100111
    with pytest.raises(OSError, match="Text file busy"):
        os.open(program, os.O_WRONLY)
    kept = os.open(program, os.O_PATH)
    hand.kill()
    opened = os.open(f"/proc/self/fd/{kept}", os.O_RDWR)  # its owner may; the seals are what holds
    size = os.fstat(opened).st_size
    for change in (
        lambda: os.write(opened, b"#!/bin/sh"),
        lambda: os.ftruncate(opened, 0),
        lambda: os.ftruncate(opened, 2 * size),
        lambda: os.posix_fallocate(opened, 0, 2 * size),
    ):
        with pytest.raises(PermissionError):
            change()
    assert os.pread(opened, 1 << 20, 0) == hand_code.elf(hand_code.machine())
    os.close(opened)
    os.close(kept)


def test_program_kept_open_for_writing_keeps_nobody_out(hand: Hand) -> None:
    """Seals do not keep a file from being opened: the next hand of the same process has another program (ETXTBSY)."""
    kept = os.open(f"/proc/{hand.pid}/exe", os.O_PATH)
    hand.kill()
    fds = os.listdir("/proc/self/fd")
    with open(f"/proc/self/fd/{kept}", "r+b"):
        for _ in range(2):
            other = Hand()
            assert not os.path.sameopenfile(kept, hand_code.image(not_at=-1))
            other.kill()
    assert os.listdir("/proc/self/fd") == fds
    os.close(kept)


def test_where_memfds_may_not_be_executed_the_program_is_a_read_only_file() -> None:
    """vm.memfd_noexec=2 (Linux 6.3): no memfd with MFD_EXEC; a file on a tmpfs mounted nowhere serves as well."""
    if not os.path.exists("/proc/sys/vm/memfd_noexec"):
        pytest.skip("this kernel has no vm.memfd_noexec")
    unshare = ("unshare", "--pid", "--fork", "--mount-proc")
    with hands.python(NO_EXECUTABLE_MEMFD, prefix=unshare) as process:
        found = json.loads(process.stdout.read() or "{}")
    assert process.returncode == 0
    assert found == {
        "memfd_create": errno.EACCES,
        "served": True,
        "exe": "/hand",
        "mode": "0o100111",
        "write while it runs": errno.EROFS,
        "write afterwards": errno.EROFS,
        "chmod": errno.EROFS,
        "fds": 1,
        "mounts": 0,
    }


NO_EXECUTABLE_MEMFD = """
import json, os
from minirunc.kernel.hand import Hand
def failure(function, *args):
    try:
        function(*args)
    except OSError as error:
        return error.errno
found = {}
with open("/proc/sys/vm/memfd_noexec", "w") as file:
    file.write("2")
found["memfd_create"] = failure(os.memfd_create, "x", 0x11)
fds, mounts = os.listdir("/proc/self/fd"), open("/proc/self/mountinfo").read()
for _ in range(2):
    hand = Hand()
    with hand.batch() as do:
        pid = do.getpid()
    found["served"] = int(pid) == hand.pid
    program = f"/proc/{hand.pid}/exe"
    found["exe"] = os.readlink(program)
    found["mode"] = oct(os.stat(program).st_mode)
    found["write while it runs"] = failure(os.open, program, os.O_WRONLY)
    kept = os.open(program, os.O_PATH)
    hand.kill()
    found["write afterwards"] = failure(os.open, f"/proc/self/fd/{kept}", os.O_WRONLY)
    found["chmod"] = failure(os.chmod, f"/proc/self/fd/{kept}", 0o777)
    os.close(kept)
    found["fds"] = len(os.listdir("/proc/self/fd")) - len(fds)
    found["mounts"] = len(open("/proc/self/mountinfo").read()) - len(mounts)
print(json.dumps(found))
"""
