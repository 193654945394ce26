"""kernel/hand.py: batches and their flags, on this machine's hand and by qemu on the others'."""

import os
from types import SimpleNamespace

import pytest

from minirunc.base.errors import Error, SyscallError
from minirunc.kernel import syscalls
from minirunc.kernel.constants import (
    AT_FDCWD,
    CLONE_PARENT,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    PR_SET_NAME,
)
from minirunc.kernel.hand import Hand
from minirunc.kernel.hand_code import SIZE
from minirunc.kernel.syscalls import Out
from tests.ground import hands, leftovers

ENOENT, EEXIST = 2, 17
O_CREAT_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
MAP_ANONYMOUS, MAP_PRIVATE = 0x20, 2

pytestmark = pytest.mark.usefixtures("nothing_left")


# --- a batch, and where it ends ---


def test_empty_batch_sends_nothing() -> None:
    """The block may end without a call."""
    with hands.around(None, 0).batch():  # type: ignore[arg-type] # nobody is asked
        pass


def test_calls_are_executed_in_order_and_give_their_results(any_hand: Hand, place: SimpleNamespace) -> None:
    """Each Result holds what its call returned."""
    with any_hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
        five, end = do.lseek(fd, 5, os.SEEK_SET), do.lseek(fd, 0, os.SEEK_END)
        closed = do.close(fd)
    assert (int(five), int(end), int(closed)) == (5, 10, 0)
    with any_hand.batch() as do:
        do.close(do.tolerate(do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)))


def test_nothing_is_executed_when_the_block_raises(any_hand: Hand, place: SimpleNamespace) -> None:
    """A batch is sent when its block ends well."""
    with pytest.raises(ZeroDivisionError), any_hand.batch() as do:
        do.mkdirat(AT_FDCWD, place.none, 0o755)
        raise ZeroDivisionError
    assert not os.path.exists(place.none)


def test_batch_that_fails_midway_stops_there_and_names_the_call(any_hand: Hand, place: SimpleNamespace) -> None:
    """What stood before is done, what comes after is not; the next batch is served."""
    before, after = str(place.path / "before"), str(place.path / "after")
    with pytest.raises(SyscallError) as caught, any_hand.batch() as do:
        do.mkdirat(AT_FDCWD, before, 0o755)
        failed = do.openat(AT_FDCWD, place.none, O_PATH | O_DIRECTORY | O_CLOEXEC)
        do.mkdirat(AT_FDCWD, after, 0o755)
    assert str(caught.value) == (
        f'openat(AT_FDCWD, "{place.none}", O_PATH|O_CLOEXEC|O_DIRECTORY, 0): no such file or directory'
    )
    assert (caught.value.call, caught.value.errno, int(failed)) == ("openat", ENOENT, -ENOENT)
    assert (os.path.isdir(before), os.path.exists(after)) == (True, False)
    with any_hand.batch() as do:
        do.mkdirat(AT_FDCWD, after, 0o755)
    assert os.path.isdir(after)


def test_error_spells_out_results_structures_and_room(hand: Hand, place: SimpleNamespace) -> None:
    """The call as it was made: the fd that came from an earlier call, flags by name, buffers by size."""
    with pytest.raises(SyscallError) as caught, hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.digits, O_PATH | O_CLOEXEC)
        do.read(fd, Out(16), 16)
    assert str(caught.value) == f"read({int(fd)}, <16 bytes>, 16): bad file descriptor"
    with pytest.raises(SyscallError) as caught, hand.batch() as do:
        do.openat2(AT_FDCWD, "no\nsuch", O_PATH | O_CLOEXEC, 0x10)
    assert str(caught.value) == (
        r'openat2(AT_FDCWD, "no\nsuch", {O_PATH|O_CLOEXEC, 0, RESOLVE_IN_ROOT}, 24): no such file or directory'
    )


def test_hundreds_of_calls_fit(any_hand: Hand) -> None:
    """A batch is as long as its bytes allow, not a number of calls."""
    with any_hand.batch() as do:
        results = [do.getpid() for _ in range((SIZE - 8) // 64)]
    assert len({int(result) for result in results} - {0}) == 1


def test_batch_too_long_is_sent_in_parts(any_hand: Hand, place: SimpleNamespace) -> None:
    """Results of earlier parts are arguments in later ones."""
    tries = []
    with any_hand.batch() as do:
        first = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
        for _ in range(3 * SIZE // 1024):
            out = Out(1024)
            tries.append((do.tolerate(do.openat(AT_FDCWD, place.none, O_RDONLY)), do.lseek(first, 3, 0), out))
            do.read(first, out, 10)
        do.close(first)
    for failed, moved, out in tries:
        assert (int(failed), int(moved), out.data[:7]) == (-ENOENT, 3, b"3456789")


def test_failure_ends_a_batch_in_parts(any_hand: Hand, place: SimpleNamespace) -> None:
    """What comes after it is not done, in whatever part it is."""
    with pytest.raises(SyscallError) as caught, any_hand.batch() as do:
        do.read(do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC), Out(SIZE // 2), 10)
        do.unlinkat(AT_FDCWD, place.none)
        do.read(0, Out(SIZE // 2), 0)
        do.mkdirat(AT_FDCWD, place.none, 0o755)
    assert caught.value.errno == ENOENT
    assert not os.path.exists(place.none)


@pytest.mark.parametrize("use", ["finish", "become"])
def test_last_batch_too_long_is_refused(any_hand: Hand, use: str) -> None:
    """It cannot be sent in parts: nobody is there for the second."""
    batch = any_hand.batch()
    for _ in range(3):
        batch.read(0, Out(SIZE // 2), 0)
    with pytest.raises(Error) as caught:
        getattr(any_hand, use)(batch)
    assert str(caught.value) == f"a batch of {3 * SIZE // 2 + 200} bytes does not fit the hand's {SIZE}"


def test_call_too_long_alone_is_refused(any_hand: Hand, place: SimpleNamespace) -> None:
    """The longest batch fits to the byte; a call whose data does not fit is an error."""
    with pytest.raises(Error) as caught, any_hand.batch() as do:
        do.read(0, Out(SIZE), SIZE)
    assert str(caught.value) == f"a batch of {SIZE + 72} bytes does not fit the hand's {SIZE}"
    with any_hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
        length = 3 * 64 + 8 + len(place.digits) + 8 - len(place.digits) % 8
        out = Out(SIZE - length)
        do.read(fd, out, out.size)
        do.close(fd)
    assert out.text() == b"0123456789"


# --- flags ---


def test_tolerated_failure_does_not_end_the_batch(any_hand: Hand, place: SimpleNamespace) -> None:
    """Its Result is -errno."""
    with any_hand.batch() as do:
        failed = do.tolerate(do.openat(AT_FDCWD, place.none, O_RDONLY))
        do.mkdirat(AT_FDCWD, place.none, 0o755)
        again = do.tolerate(do.mkdirat(AT_FDCWD, place.none, 0o755))
    assert (int(failed), int(again)) == (-ENOENT, -EEXIST)
    assert os.path.isdir(place.none)


def test_on_failure_runs_only_after_that_errno(any_hand: Hand, place: SimpleNamespace) -> None:
    """The last failure counts; without one nothing of the kind runs."""
    names = {word: str(place.path / word) for word in ("early", "other", "wanted", "late")}
    with any_hand.batch() as do:
        do.on_failure(ENOENT, do.mkdirat(AT_FDCWD, names["early"], 0o755))
        do.tolerate(do.openat(AT_FDCWD, place.none, O_RDONLY))
        do.on_failure(EEXIST, do.mkdirat(AT_FDCWD, names["other"], 0o755))
        do.on_failure(ENOENT, do.mkdirat(AT_FDCWD, names["wanted"], 0o755))
        do.tolerate(do.mkdirat(AT_FDCWD, names["wanted"], 0o755))
        do.on_failure(ENOENT, do.mkdirat(AT_FDCWD, names["late"], 0o755))
    assert {word for word, path in names.items() if os.path.exists(path)} == {"wanted"}


def test_on_failure_gives_its_result(any_hand: Hand, place: SimpleNamespace) -> None:
    """Its value is the call's, and 0 where it did not run."""
    with any_hand.batch() as do:
        unasked = do.on_failure(ENOENT, do.openat(AT_FDCWD, place.digits, O_RDONLY))
        do.tolerate(do.openat(AT_FDCWD, place.none, O_RDONLY))
        opened = do.on_failure(ENOENT, do.openat(AT_FDCWD, place.digits, O_RDONLY))
        end = do.on_failure(ENOENT, do.lseek(opened, 0, os.SEEK_END))
        do.close(opened)
    assert (int(unasked), int(end)) == (0, 10)
    assert int(opened) > 0


def test_failure_of_an_on_failure_call_ends_the_batch(any_hand: Hand, place: SimpleNamespace) -> None:
    """It is an error like any other: what comes after did not run and must not seem so."""
    after = str(place.path / "after")
    with pytest.raises(SyscallError) as caught, any_hand.batch() as do:
        do.tolerate(do.openat(AT_FDCWD, place.none, O_RDONLY))
        do.on_failure(ENOENT, do.mkdirat(AT_FDCWD, place.digits, 0o755))
        do.mkdirat(AT_FDCWD, after, 0o755)
    assert str(caught.value) == f'mkdirat(AT_FDCWD, "{place.digits}", 0o755): file exists'
    assert not os.path.exists(after)


def test_tolerated_on_failure_call_may_fail(any_hand: Hand, place: SimpleNamespace) -> None:
    """Flags go together; its failure is then the last one."""
    with any_hand.batch() as do:
        do.tolerate(do.openat(AT_FDCWD, place.none, O_RDONLY))
        failed = do.tolerate(do.on_failure(ENOENT, do.mkdirat(AT_FDCWD, place.digits, 0o755)))
        do.on_failure(EEXIST, do.mkdirat(AT_FDCWD, place.none, 0o755))
    assert int(failed) == -EEXIST
    assert os.path.isdir(place.none)


def test_forks_child_goes_on_and_parent_ends(
    any_hand: Hand, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next batch is served by the child, which has what its parent had open; the parent is reaped."""
    monkeypatch.setitem(syscalls._NUMBERS, "clone", (56, 220))
    first = any_hand.pid
    with any_hand.batch() as do:
        fd = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
    with any_hand.batch() as do:
        # clone(2), because qemu-user knows no clone3; its child comes to us as the subreaper.
        child = do.forks(do.call("clone", 17, 0, 0, 0, 0))
    assert any_hand.pid == int(child) != first
    with any_hand.batch() as do:
        end, pid = do.lseek(fd, 0, os.SEEK_END), do.getpid()
    assert (int(end), int(pid)) == (10, any_hand.pid)
    assert first not in leftovers.children()


def test_forks_by_clone3_makes_a_sibling(hand: Hand) -> None:
    """With CLONE_PARENT the child is ours, as its parent was."""
    first = hand.pid
    with hand.batch() as do:
        do.prctl(PR_SET_NAME, "renamed")
        do.forks(do.clone3(CLONE_PARENT))
    assert hand.pid != first
    assert hands.status(hand.pid, "PPid") == str(os.getpid())
    assert hands.status(hand.pid, "Name") == "renamed"


def test_work_is_done_while_the_hand_is_at_it(hand: Hand) -> None:
    """The batch is under way by then: the hand itself waits for what the work does."""
    ends = os.pipe()
    inside = hand.send_fd(ends[0])
    with hand.batch(lambda: os.close(ends[1])) as do:
        do.close(inside)
        read = do.read(hand.send_fd(ends[0]), Out(1), 1)  # the end of the file, once all writers are gone
    os.close(ends[0])
    assert int(read) == 0


def test_work_that_fails_leaves_who_serves_the_next_batch(hand: Hand) -> None:
    """Its error is what one gets, when the answer has been heard."""
    first = hand.pid

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), hand.batch(fail) as do:
        do.forks(do.clone3(CLONE_PARENT))
    with hand.batch() as do:
        pid = do.getpid()
    assert int(pid) == hand.pid != first


def test_work_of_a_batch_in_parts_is_done_once(hand: Hand) -> None:
    """Whatever its size."""
    done: list[int] = []
    with hand.batch(lambda: done.append(1)) as do:
        for _ in range(2 * SIZE // 64):
            do.getpid()
    assert done == [1]


def test_forks_that_fails_leaves_the_hand(hand: Hand) -> None:
    """An error as any other, and the same process answers."""
    first = hand.pid
    with pytest.raises(SyscallError) as caught, hand.batch() as do:
        do.forks(do.clone3(1))  # no such flag: the low byte was once the signal
    assert str(caught.value) == "clone3({0x1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 88): invalid argument"
    with hand.batch() as do:
        child = do.tolerate(do.forks(do.clone3(1)))
    with hand.batch() as do:
        pid = do.getpid()
    assert (int(child), int(pid)) == (-22, first)


def test_forks_must_be_last(hand: Hand) -> None:
    """The parent answers as soon as it has a child: what stood behind would seem done."""
    with pytest.raises(AssertionError, match="forks"), hand.batch() as do:
        do.forks(do.clone3(CLONE_PARENT))
        do.getpid()


@pytest.mark.parametrize("argument", range(6))
def test_argument_from_result(hand: Hand, place: SimpleNamespace, argument: int) -> None:
    """Each of the six may be an earlier entry's result; the others stay as they were given."""
    os.mkfifo(place.none)
    values = [50, 0, 1, 0x104, 0x105, 0x106]
    with hand.batch() as do:
        fifo = do.openat(AT_FDCWD, place.none, O_RDWR | O_CLOEXEC)
        do.dup3(fifo, values[0])
        room = do.mmap(4096, 3, MAP_PRIVATE | MAP_ANONYMOUS)
        number = do.openat(AT_FDCWD, place.digits, O_RDONLY | O_CLOEXEC)
    values[1] = int(room)
    do = hand.batch()
    if argument == 1:
        given = do.mmap(4096, 3, MAP_PRIVATE | MAP_ANONYMOUS)
    elif argument == 0:
        given = do.dup3(int(fifo), 51)
    else:
        given = do.lseek(int(number), values[argument], os.SEEK_SET)
    waiting = do.call("read", *(given if place == argument else value for place, value in enumerate(values)))
    message, outs = do.encode()
    hand.socket.send(message)
    seen = hands.blocked_in(hand.pid, syscalls.number("read"))
    with open(place.none, "wb") as writer:
        writer.write(b"x")
    do.decode(hand.socket.recv(SIZE), outs)
    assert int(waiting) == 1
    values[argument] = int(given)
    assert seen == values


def test_arguments_from_results_in_one_batch(any_hand: Hand, place: SimpleNamespace) -> None:
    """As open, seek, map and read do: fd, address, length and offset come from the calls before."""
    (place.path / "long").write_bytes(b"-" * 4096 + b"0123456789")
    with any_hand.batch() as do:
        directory = do.openat(AT_FDCWD, str(place.path), O_PATH | O_CLOEXEC)
        fd = do.openat(directory, "long", O_RDONLY | O_CLOEXEC)
        length, begin = do.lseek(fd, 0, os.SEEK_END), do.lseek(fd, 4096, os.SEEK_SET)
        mapped = do.call("mmap", 0, length, 1, MAP_PRIVATE, fd, begin)
        copy = do.openat(directory, "copy", O_CREAT_NEW, 0o600)
        do.call("write", copy, mapped, 10)
        five = do.lseek(fd, 5, os.SEEK_SET)
        do.call("write", copy, mapped, five)
    assert (int(length), int(begin)) == (4106, 4096)
    assert (place.path / "copy").read_text() == "012345678901234"
