"""base/duration: spans of time as Go's time.ParseDuration reads them (both parsers: argv_corpus.py)."""

import pytest

from minirunc.base.duration import nanoseconds


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "0": 0, "+0": 0, "-0": 0, "0s": 0, "5s": 5 * 10**9, "100ms": 10**8, "1.5s": 15 * 10**8, "1m30s": 90 * 10**9,
        "1h15m30.918273645s": 4530918273645, "-5m": -3 * 10**11, "+5s": 5 * 10**9, ".5s": 5 * 10**8, "5.s": 5 * 10**9,
        "1.0000000000000000000s": 10**9, "3ns": 3, "1us": 1000, "1µs": 1000, "1μs": 1000, "0.5ns": 0, "010s": 10**10,
        "1s1h": 3601 * 10**9, "9223372036854775807ns": 2**63 - 1, "-9223372036854775808ns": -(2**63),
    }.items(),
)  # fmt: skip
def test_a_duration_is_in_nanoseconds(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "-", "+", ".", "s", ".s", "-.s", "3", "1 s", "1S", "1d", "1s2", "1..5s", "1.2.3s", "--1s", "1-s", "1e3s",
     "\u0661s", "9223372036854775808ns", "-9223372036854775809ns", "3000000h", "9" * 5000 + "s", "0" * 5000 + "s"],
)  # fmt: skip
def test_what_is_no_duration_is_none(text: str) -> None:
    assert nanoseconds(text) is None
