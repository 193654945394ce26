"""kernel/hand.py: what a message looks like; data and files both ways; the last batch."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from minirunc.base.errors import SyscallError
from minirunc.kernel import syscalls
from minirunc.kernel.constants import AT_FDCWD, O_CLOEXEC, O_PATH, O_RDONLY, O_RDWR
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.hand_code import BUFFER, SIZE
from minirunc.kernel.syscalls import Out, Words
from tests.ground import hands
from tests.ground.runtime import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

EBADF = 9
O_CREAT_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def encoded(hand: Hand, fill: Callable[[Batch], object]) -> tuple[bytes, list[tuple[Out, int]]]:
    """The message of a batch that is not sent."""
    batch = hand.batch()
    fill(batch)
    return batch.encode()


def data_of(message: bytes, entries: int) -> bytes:
    """What stands behind the entries and their end mark."""
    assert message[64 * entries : 64 * entries + 8] == b"\xff" * 8
    return message[64 * entries + 8 :]


def word(message: bytes, entry: int, argument: int) -> int:
    """An argument (1 to 6) of an entry."""
    return int(struct.unpack_from("<Q", message, 64 * entry + 8 * argument)[0])


def test_layout_of_a_message(hand: Hand) -> None:
    """Entries of eight words, the end mark, then the data, each at a multiple of eight; flags in the last word."""

    def fill(do: Batch) -> None:
        fd = do.tolerate(do.openat(-1, "name", 3))
        do.on_failure(2, do.write(fd, b"12345678"))

    message, outs = encoded(hand, fill)
    base = BUFFER + 2 * 64 + 8
    openat, write = syscalls.number("openat"), syscalls.number("write")
    first = struct.pack("<8Q", openat, (1 << 64) - 1, base, 3, 0, 0, 0, 1)
    second = struct.pack("<8Q", write, BUFFER, base + 8, 8, 0, 0, 0, 1 << 8 | 2 << 56)
    # A NUL behind bytes, too: a structure's reader does not mind, a string's does.
    assert message == first + second + b"\xff" * 8 + b"name\0\0\0\0" + b"12345678" + bytes(8)
    assert outs == []


def test_equal_bytes_stand_there_once(hand: Hand) -> None:
    """Strings and structures that are alike share their place; room for results never does."""

    def fill(do: Batch) -> None:
        do.mkdirat(-1, "same", 0)
        do.mkdirat(-1, "same", 0)
        do.write(1, b"same")
        do.read(0, Out(8), 8)
        do.read(0, Out(8), 8)
        do.call("execve", 0, Words("same", 0), Words("same", 0))

    message, outs = encoded(hand, fill)
    base = BUFFER + 6 * 64 + 8
    assert {word(message, entry, 2) for entry in (0, 1, 2)} == {base}
    assert [word(message, entry, 2) for entry in (3, 4)] == [base + 8, base + 16]
    assert [offset + BUFFER for _, offset in outs] == [base + 8, base + 16]
    assert word(message, 5, 2) == word(message, 5, 3) == base + 24
    assert data_of(message, 6) == b"same\0\0\0\0" + bytes(16) + struct.pack("<2Q", base, 0)


def test_words_hold_numbers_and_pointers(hand: Hand) -> None:
    """Nested: a pointer to what stands in its place; None is NULL, negative numbers are two's complement."""
    out = Out(5)
    message, outs = encoded(hand, lambda do: do.call("sendmsg", 3, Words(-1, None, Words("inner", 2), out, b"b")))
    base = BUFFER + 64 + 8
    assert data_of(message, 1) == (
        b"inner\0\0\0"
        + struct.pack("<2Q", base, 2)
        + bytes(8)  # room for five
        + b"b" + bytes(7)
        + struct.pack("<5Q", (1 << 64) - 1, 0, base + 8, base + 24, base + 32)
    )  # fmt: skip
    assert word(message, 0, 2) == base + 40
    assert outs == [(out, base + 24 - BUFFER)]


def test_result_of_an_earlier_batch_is_a_number(any_hand: Hand, place: SimpleNamespace) -> None:
    """Whatever place it had there, also inside a structure."""
    with any_hand.batch() as do:
        directory = do.openat(AT_FDCWD, str(place.path), O_PATH | O_CLOEXEC)
        fd = do.openat(directory, "digits", O_RDONLY | O_CLOEXEC)
    with any_hand.batch() as do:
        end = do.lseek(fd, 0, os.SEEK_END)
        do.close(fd)
        do.close(directory)
    assert int(end) == 10
    message, _ = encoded(any_hand, lambda do: do.bpf(1, Words(fd, 7), 16))
    assert data_of(message, 1) == struct.pack("<2Q", int(fd), 7)


def test_result_of_the_same_batch_inside_a_structure_is_refused(any_hand: Hand) -> None:
    """The hand only fills in arguments: the structure would hold a 0, a valid fd."""
    with pytest.raises(AssertionError, match="inside a structure"), any_hand.batch() as do:
        do.bpf(1, Words(do.getpid()), 8)


def test_text_keeps_bytes_that_are_no_utf8(any_hand: Hand, place: SimpleNamespace) -> None:
    """A file name is bytes; Python's surrogates stand for those that are not UTF-8."""
    name = os.fsdecode(b"\xff\xfe \xc3\xa4")
    with any_hand.batch() as do:
        directory = do.openat(AT_FDCWD, str(place.path), O_PATH | O_CLOEXEC)
        do.mkdirat(directory, name, 0o700)
        do.close(directory)
    assert b"\xff\xfe \xc3\xa4" in os.listdir(os.fsencode(place.path))


def test_results_come_back_in_out(any_hand: Hand, place: SimpleNamespace) -> None:
    """Each Out holds what the kernel wrote there, and zeros behind it."""
    whole, part, cwd = Out(10), Out(13), Out(4096)
    with any_hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
        do.read(fd, whole, 10)
        do.lseek(fd, 7, os.SEEK_SET)
        count = do.read(fd, part, 13)
        do.close(fd)
        do.getcwd(cwd)
    assert (whole.data, part.data, int(count)) == (b"0123456789", b"789" + bytes(10), 3)
    assert cwd.text() == os.fsencode(os.getcwd())


def test_out_of_a_batch_that_failed_is_filled(any_hand: Hand, place: SimpleNamespace) -> None:
    """What was read before the failure can be looked at."""
    out = Out(4)
    with pytest.raises(SyscallError), any_hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
        do.read(fd, out, 4)
        do.lseek(fd, 0, 77)
    assert out.data == b"0123"


def test_load_holds_more_than_a_batch(any_hand: Hand, place: SimpleNamespace) -> None:
    """Any length, at an address of its own, unchanged."""
    data = os.urandom(3 * SIZE + 5)
    address = any_hand.load(data)
    with any_hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.none, O_CREAT_NEW, 0o600)
        written = do.call("write", fd, address, len(data))
        do.close(fd)
    assert int(written) == len(data)
    assert Path(place.none).read_bytes() == data


def test_load_that_fails_names_the_call(hand: Hand) -> None:
    """Nothing to load has no address."""
    with pytest.raises(SyscallError) as caught:
        hand.load(b"")
    assert str(caught.value) == "mmap(0, 0, 3, 34, -1, 0): invalid argument"


# --- files ---


def test_send_fd_hands_over_a_file(any_hand: Hand, place: SimpleNamespace) -> None:
    """The same open file, close-on-exec; ours stays."""
    with open(place.digits, "rb") as file:
        inside = any_hand.send_fd(file.fileno())
        with any_hand.batch() as do:
            moved, flags = do.lseek(inside, 4, os.SEEK_SET), do.fcntl(inside, 1)
        assert (int(moved), int(flags)) == (4, 1)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4
    with any_hand.batch() as do:
        do.close(inside)


def test_receive_fd_fetches_a_file(any_hand: Hand, place: SimpleNamespace) -> None:
    """The same open file, close-on-exec; the hand's stays."""
    with any_hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.digits, O_RDONLY)
        do.lseek(fd, 3, os.SEEK_SET)
    ours = any_hand.receive_fd(fd)
    assert not os.get_inheritable(ours)
    assert os.read(ours, 3) == b"345"
    os.close(ours)
    with any_hand.batch() as do:
        where = do.lseek(fd, 0, os.SEEK_CUR)
    assert int(where) == 6


def test_receive_fd_of_what_is_not_open_names_the_call(any_hand: Hand) -> None:
    """An error, not an endless wait; the next batch is served."""
    with pytest.raises(SyscallError) as caught:
        any_hand.receive_fd(77)
    assert (caught.value.call, caught.value.errno) == ("sendmsg", EBADF)
    with any_hand.batch() as do:
        do.getpid()


def test_many_files_there_and_back(any_hand: Hand, place: SimpleNamespace) -> None:
    """No fd is lost or left, on either side."""
    with open(place.digits) as file:
        inside = any_hand.send_fd(file.fileno())
        before = hands.fds(any_hand.pid)
        for _ in range(5):
            inside = any_hand.send_fd(file.fileno())
            os.close(any_hand.receive_fd(inside))
            with any_hand.batch() as do:
                do.close(inside)
    assert hands.fds(any_hand.pid) == before


# --- the last batch ---


def test_become_returns_when_the_program_runs(hand: Hand, place: SimpleNamespace) -> None:
    """execve closed the control socket; the process is the program, without any fd of the hand's."""
    last = hand.batch()
    last.execve("/bin/sleep", Words("sleep", "1000", 0), Words("A=b", 0))
    hand.become(last)
    assert Path(f"/proc/{hand.pid}/cmdline").read_text() == "sleep\0001000\0"
    assert Path(f"/proc/{hand.pid}/environ").read_text() == "A=b\0"
    # Its dynamic linker has a library open for a moment.
    wait_until(lambda: set(hands.fds(hand.pid)) <= {0, 1, 2}, "nothing is open but the standard streams", 10)


def test_become_that_fails_names_the_call(hand: Hand, place: SimpleNamespace) -> None:
    """The hand is still there to say so."""
    last = hand.batch()
    last.execve(place.none, Words("x", 0), Words(0))
    with pytest.raises(SyscallError) as caught:
        hand.become(last)
    assert str(caught.value) == f'execve("{place.none}", {{"x", 0}}, {{0}}): no such file or directory'


def test_finish_lets_go(hand: Hand, place: SimpleNamespace) -> None:
    """The last batch needs nobody who listens: waiting, then execve."""
    os.mkfifo(place.none)
    with hand.batch() as do:
        fifo = do.openat(AT_FDCWD, place.none, O_RDWR)
    last = hand.batch()
    last.read(fifo, Out(1), 1)
    last.execve("/bin/true", Words("true", 0), Words(0))
    hand.finish(last)
    hand.close()
    hands.blocked_in(hand.pid, syscalls.number("read"))
    with open(place.none, "wb") as writer:
        writer.write(b"x")
    assert os.waitpid(hand.pid, 0) == (hand.pid, 0)
    hand.pid = 0
