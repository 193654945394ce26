"""kernel/hand.py: what a hand is born with, whatever its maker has open, ignores or blocks."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from minirunc.kernel.hand import Hand
from tests.ground import hands

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_hand_has_nothing_but_its_streams_and_the_control_socket(hand: Hand) -> None:
    """No environment, no file of ours, not even the program's."""
    assert Path(f"/proc/{hand.pid}/environ").read_bytes() == b""
    assert Path(f"/proc/{hand.pid}/comm").read_text() == "minirunc:[init]\n"
    assert Path(f"/proc/{hand.pid}/cmdline").read_bytes() == b"minirunc\0init\0\0"
    inside, ours = hands.fds(hand.pid), hands.fds()
    assert set(inside) - {3} == {0, 1, 2} & set(ours)
    assert all(inside[fd] == ours[fd] for fd in set(inside) - {3})
    assert inside[3].startswith("socket:")


def test_inherited_files_beyond_the_kept_are_closed(place: SimpleNamespace) -> None:
    """`keep` fds from 3 on stay as they are; another that is inheritable does not reach the container."""
    with hands.python(KEEPS, place.digits) as process:
        kept = process.stdout.read().split()
    assert process.returncode == 0
    assert kept == ["0", "1", "2", "3=digits", "4=digits", "5=socket"]


KEEPS = """
import os, sys
from minirunc.kernel.hand import Hand
source = os.open(sys.argv[1], os.O_RDONLY)
os.dup2(source, 100)
os.close(source)
for fd in (3, 4, 5, 9, 200):
    os.dup2(100, fd, inheritable=True)
hand = Hand(keep=2)
path = f"/proc/{hand.pid}/fd/"
print(0, 1, 2, *(f"{fd}={os.path.basename(os.readlink(path + fd)).partition(':')[0]}"
                 for fd in sorted(os.listdir(path), key=int) if int(fd) > 2))
hand.kill()
"""


@pytest.mark.parametrize("keep", range(9))
def test_control_socket_may_have_the_number_of_any_file_of_ours(keep: int) -> None:
    """Whatever numbers the program's memfd and the sockets happen to have outside."""
    with hands.python(COLLIDES, keep) as process:
        assert process.stdout.read() == "served served served\n"
    assert process.returncode == 0


COLLIDES = """
import os, sys
from minirunc.kernel.hand import Hand
os.closerange(3, 100)
keep = int(sys.argv[1])
for _ in range(3):
    hand = Hand(keep)
    with hand.batch() as do:
        pid = do.getpid()
    print("served" if int(pid) == hand.pid else pid, end=" " if _ < 2 else "\\n")
    hand.kill()
"""


def test_signals_are_as_a_fresh_process_has_them() -> None:
    """Nothing ignored, nothing blocked, whatever the caller does: the container's process would inherit it."""
    with hands.python(IGNORES) as process:
        assert process.stdout.read().split() == ["0000000000000000"] * 4  # 32 and 33 too, which the C library hides
    assert process.returncode == 0


IGNORES = """
import signal
from minirunc.kernel.hand import Hand
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
hand = Hand()
for line in open(f"/proc/{hand.pid}/status"):
    if line.startswith(("SigBlk", "SigIgn", "SigCgt", "SigPnd")):
        print(line.split()[1])
hand.kill()
"""


def test_caller_that_ignores_sigchld_is_served() -> None:
    """The kernel then reaps our children by itself; forking and ending a hand work all the same."""
    with hands.python(CHILDLESS) as process:
        assert process.stdout.read() == "served\n"
    assert process.returncode == 0


CHILDLESS = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from minirunc.kernel.constants import CLONE_PARENT
from minirunc.kernel.hand import Hand
hand = Hand()
with hand.batch() as do:
    do.forks(do.clone3(CLONE_PARENT))
with hand.batch() as do:
    pid = do.getpid()
print("served" if int(pid) == hand.pid else pid)
hand.kill()
"""


def test_hands_in_threads_do_not_meet() -> None:
    """A library's callers have threads: each hand has its own socket and process."""
    wrong: list[object] = []

    def work() -> None:
        hand = Hand()
        for _ in range(20):
            with hand.batch() as do:
                pid = do.getpid()
            if int(pid) != hand.pid:
                wrong.append((int(pid), hand.pid))
        hand.kill()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
