"""base/jsontext: what the C scanner reads, how errors are worded, what dumps writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minirunc.base import jsontext
from minirunc.base.errors import Error

GOOD = [
    "{}",
    "[]",
    "null",
    "true",
    '"text"',
    "-12",
    "1.5e3",
    "18446744073709551615",
    ' \t\n\r{"a": [1, 2, {"b": null}], "c": "\\u00e9\\n"}\n ',
    '{"a": 1, "b": 2, "a": 3}',
    '["NaN", "-Infinity"]',
    '"\\ud83d\\ude00"',
]

BROKEN = {
    "": "1:1: expecting value",
    "   ": "1:4: expecting value",
    "{": "1:2: expecting property name enclosed in double quotes",
    '{"a": 1 "b": 2}': "1:9: expecting ',' delimiter",
    '{\n\t"a": 1,\n\t"b": [1 2]\n}': "3:10: expecting ',' delimiter",
    '{"a" 1}': "1:6: expecting ':' delimiter",
    "{} {}": "1:4: extra data",
    '{"a": "b': "1:7: unterminated string starting",
    '{"a": "\x01"}': "1:8: invalid control character",
    '{"a": "\\q"}': "1:8: invalid \\escape",
    "{'a': 1}": "1:2: expecting property name enclosed in double quotes",
    "nul": "1:1: expecting value",
    "\ufeff{}": "1:1: begins with a byte order mark",
    '{"NaN": "Infinity",\n "a": NaN}': "2:7: NaN is not JSON",
    "[1, -Infinity]": "1:5: -Infinity is not JSON",
    "[" + "1" * 5000 + "]": "1:2: a number of too many digits",
}


@pytest.mark.parametrize("text", GOOD)
def test_what_the_library_reads_is_read_alike(text: str) -> None:
    assert jsontext.loads(text, "x.json") == json.loads(text)
    assert jsontext.loads(text.encode(), "x.json") == json.loads(text)


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_a_broken_text_is_refused_with_file_line_and_column(text: str, message: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(Error) as caught:
            jsontext.loads(form, "config.json")
        assert str(caught.value) == f"config.json:{message}"


def test_of_members_with_one_name_the_last_wins() -> None:
    assert jsontext.loads('{"a": 1, "a": 2}', "x") == {"a": 2}


def test_bytes_that_are_not_utf8_are_refused_with_their_place() -> None:
    with pytest.raises(Error) as caught:
        jsontext.loads(b'{\n "a": "\xff"}', "config.json")
    assert str(caught.value) == "config.json:2:8: not UTF-8"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_deep_nesting_is_refused_not_a_recursion_error(text: str) -> None:
    with pytest.raises(Error) as caught:
        jsontext.loads(text, "config.json")
    assert str(caught.value) == "config.json: nested too deeply"


def test_reading_a_good_text_imports_neither_json_nor_re() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from minirunc.base import jsontext\n"
        "assert jsontext.loads(jsontext.dumps({'a': [1]}, 2), 'x') == {'a': [1]}\n"
        "print(*sorted({'json', 're', 'typing', 'enum', 'collections'} & set(sys.modules)))"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, root], capture_output=True, check=True)
    assert done.stdout.strip() == b""


VALUES = [
    {},
    [],
    None,
    True,
    False,
    0,
    -(2**70),
    1.5,
    'quo"te \\ \n \x00 é 😀',
    {"a": {}, "b": [], "c": [1, [2, [3]]], "d": {"e": {"f": None}}},
    ["one", {"two": 2}],
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_written_is_what_the_library_writes(value: object) -> None:
    assert jsontext.dumps(value) == json.dumps(value, separators=(",", ":"))
    assert jsontext.dumps(value, 2) == json.dumps(value, indent=2)
    assert jsontext.dumps(value, "\t") == json.dumps(value, indent="\t")


def test_what_json_has_no_form_for_is_refused() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    for value, message in (
        (float("nan"), "JSON has no nan"),
        ([float("-inf")], "JSON has no -inf"),
        ({"a": {1, 2}}, "JSON has no form for set"),
        (nested, "JSON value nested too deeply"),
    ):
        with pytest.raises(Error) as caught:
            jsontext.dumps(value)
        assert str(caught.value) == message
