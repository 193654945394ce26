"""base/ranges: lists of numbers in a config.json."""

import time

import pytest

from minirunc.base.ranges import numbers


def test_a_list_is_a_set_of_numbers() -> None:
    assert numbers("", 9) == []
    assert numbers("0", 9) == [0]
    assert numbers(" 5 ,,0-2,1", 9) == [0, 1, 2, 5]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a", '"a" is not a number'),
        ("-1", '"" is not a number'),
        ("1-", '"" is not a number'),
        ("\u0661", '"\u0661" is not a number'),
        ("2-1", "invalid range: 2-1"),
        ("0-10", "values larger than 9 are not supported"),
        ("9876543210", "values larger than 9 are not supported"),
        (" ,", 'no members found in set " ,"'),
    ],
)
def test_what_is_no_list_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        numbers(text, 9)


def test_many_overlapping_ranges_are_quick() -> None:
    """A mebibyte of them would take minutes, were each number named one at a time."""
    begin = time.process_time()
    assert len(numbers("0-65536," * 20_000, 65536)) == 65537
    assert time.process_time() - begin < 2
