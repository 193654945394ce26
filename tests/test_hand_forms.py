"""kernel/forms.py: calls written down once and sent with other strings are the calls that a batch would send."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirunc.base.errors import SecurityError
from minirunc.kernel.constants import AT_EMPTY_PATH, AT_FDCWD, O_DIRECTORY, O_PATH, STATX_BASIC_STATS
from minirunc.kernel.forms import Blank, Form, Series
from minirunc.kernel.hand import Hand
from minirunc.kernel.syscalls import Out

ABOVE, NAME = Blank("above"), Blank("name")


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand()
    yield made
    made.kill()


class Look:
    """A form: in a directory, make another if it is missing, open it, look at it, close both."""

    def __init__(self, hand: Hand) -> None:
        self.stat = Out(256)
        with Form(hand, (ABOVE, NAME)) as do:
            above = do.openat(AT_FDCWD, ABOVE, O_PATH | O_DIRECTORY)
            self.made = do.tolerate(do.mkdirat(above, NAME, 0o700))
            found = do.openat(above, NAME, O_PATH)
            do.statx(found, "", AT_EMPTY_PATH, STATX_BASIC_STATS, self.stat)
            do.close(found)
            do.close(above)
        self.form = do


def test_each_part_has_its_own_strings_and_results(tmp_path: Path, hand: Hand) -> None:
    """Results of one's own calls as arguments, strings of any length, room for what the kernel writes."""
    look = Look(hand)
    names = ["a", "b" * 200, "ä\n\U0001f600", "\udcff", "a"]
    series = Series(hand)
    for name in names:
        assert series.add(look.form, str(tmp_path), name)
    series.send()
    assert series.failed is None
    assert [part.values[look.made.index] for part in series.parts] == [0, 0, 0, 0, -17]
    inodes = [int.from_bytes(part.out(look.stat)[32:40], "little") for part in series.parts]
    assert inodes == [(tmp_path / os.fsdecode(os.fsencode(name))).stat().st_ino for name in names]
    assert [part.left_open() for part in series.parts] == [[]] * 5


def test_forms_of_several_kinds_go_together(tmp_path: Path, hand: Hand) -> None:
    """Addresses are those of the place in the message, whatever stands before."""
    look = Look(hand)
    with Form(hand, (ABOVE, NAME)) as do:
        do.symlinkat(NAME, AT_FDCWD, ABOVE)
        do.umask(0o22)
    link = do
    series = Series(hand)
    for index in range(20):
        assert series.add(look.form, str(tmp_path), f"d{index}")
        assert series.add(link, str(tmp_path / f"l{index}"), f"text{index}")
    series.send()
    assert series.failed is None
    assert [os.readlink(tmp_path / f"l{index}") for index in range(20)] == [f"text{index}" for index in range(20)]
    assert all((tmp_path / f"d{index}").is_dir() for index in range(20))


def test_failure_ends_the_series_at_its_part(tmp_path: Path, hand: Hand) -> None:
    """What is before it is done, what is behind it is not, and what it has open is told."""
    with Form(hand, (NAME,)) as do:
        top = do.openat(AT_FDCWD, "/", O_PATH)
        do.close(top)
        opened = do.openat(AT_FDCWD, NAME, O_PATH)
        do.mkdirat(opened, "new", 0o700)
        do.close(opened)
    (tmp_path / "one").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "two").mkdir()
    series = Series(hand)
    for name in ("one", "file", "two"):
        series.add(do, str(tmp_path / name))
    series.send()
    assert series.failed is series.parts[1]
    assert series.failed.values[-1] == -20
    left = series.failed.left_open()
    assert os.readlink(f"/proc/{hand.pid}/fd/{left[0]}") == str(tmp_path / "file")
    assert len(left) == 1
    assert [(tmp_path / name / "new").exists() for name in ("one", "two")] == [True, False]


def test_message_that_is_full_takes_no_more(tmp_path: Path, hand: Hand) -> None:
    """What does not fit any more is not added, and what was is sent."""
    look = Look(hand)
    series = Series(hand)
    count = 0
    while series.add(look.form, str(tmp_path), f"{count}" + "x" * 200):
        count += 1
    assert 50 < count < 200
    series.send()
    assert (series.failed, len(os.listdir(tmp_path))) == (None, count)


def test_what_no_call_returns_is_not_believed(tmp_path: Path, hand: Hand) -> None:
    """The hand's answer is untrusted."""
    look = Look(hand)
    series = Series(hand)
    series.add(look.form, str(tmp_path), "x")
    message, outs = series.encode()
    with pytest.raises(SecurityError, match="which no system call returns"):
        series.decode((-5000).to_bytes(8, "little", signed=True) + message[8:], outs)
