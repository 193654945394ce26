"""base/gvariant: values in GVariant's text form, for D-Bus."""

import pytest

from minirunc.base.gvariant import parse


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("'inactive-or-failed'", "s", "inactive-or-failed"),
        ('"it\'s"', "s", "it's"),
        (r"'a\'b\\c\n\t\u00e9\U0001f600\z'", "s", "a'b\\c\n\té\U0001f600z"),
        ("''", "s", ""),
        ("true", "b", True),
        ("  false ", "b", False),
        ("boolean true", "b", True),
        ("0", "i", 0),
        ("+5", "i", 5),
        ("-2147483648", "i", -(2**31)),
        ("2147483647", "i", 2**31 - 1),
        ("0x1F", "i", 31),
        ("-0x1", "i", -1),
        ("017", "i", 15),
        ("1.5", "d", 1.5),
        ("-.5e1", "d", -5.0),
        ("double 1", "d", 1.0),
        ("byte 255", "y", 255),
        ("int16 -32768", "n", -(2**15)),
        ("uint16 65535", "q", 2**16 - 1),
        ("int32 1", "i", 1),
        ("uint32 4294967295", "u", 2**32 - 1),
        ("int64 -9223372036854775808", "x", -(2**63)),
        ("uint64 18446744073709551615", "t", 2**64 - 1),
        ("@t 123", "t", 123),
        ("uint64 @t 123", "t", 123),
        ("string 'x'", "s", "x"),
        ("['a', \"b\"]", "as", ["a", "b"]),
        ("[uint64 1, 2]", "at", [1, 2]),
        ("@as []", "as", []),
        ("[[1], [2, 3]]", "aai", [[1], [2, 3]]),
        ("@aai [[], [1]]", "aai", [[], [1]]),
        ("b'abc'", "ay", b"abc\0"),
        ("@ay [1, 255]", "ay", [1, 255]),
        ("('/dev/null', 'rw')", "(ss)", ("/dev/null", "rw")),
        ("(1,)", "(i)", (1,)),
        ("[('/dev/null','rw'),('/dev/zero','r')]", "a(ss)", [("/dev/null", "rw"), ("/dev/zero", "r")]),
        ("@a(st) [('/', 5)]", "a(st)", [("/", 5)]),
        ("@a(ss) []", "a(ss)", []),
        ("{'a': 1, 'b': 2}", "a{si}", {"a": 1, "b": 2}),
        ("@a{sv} {}", "a{sv}", {}),
        ("{'a': <uint32 1>, 'b': <'c'>}", "a{sv}", {"a": ("u", 1), "b": ("s", "c")}),
        ("<(1, <true>)>", "v", ("(iv)", (1, ("b", True)))),
        ("[" * 32 + "1" + "]" * 32, "a" * 32 + "i", None),
    ],
)
def test_values(text, kind, value):
    """Each form with its D-Bus signature; a number without a type is an int32, or a double."""
    found, is_value = parse(text)
    assert found == kind
    if value is not None:
        assert (is_value, type(is_value)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'expected a value, got "" at character 1'),
        ("abc", 'expected a value, got "abc" at character 4'),
        ("nothing", 'expected a value, got "nothing" at character 8'),
        ("handle 1", 'expected a value, got "handle" at character 7'),
        ("objectpath '/'", 'expected a value, got "objectpath" at character 11'),
        ("'abc", "expected ' at character 5"),
        ("'abc\\", "expected ' at character 6"),
        (r"'\u00zz'", '"00zz" is not the number of a character at character 8'),
        (r"'\U00110000'", '"00110000" is not the number of a character at character 12'),
        (r"'\u0000'", "a NUL or half of a surrogate pair is in the string at character 9"),
        (r"'\ud800'", "a NUL or half of a surrogate pair is in the string at character 9"),
        ("1 2", "expected no more at character 3"),
        ("1_0", 'expected a value, got "1_0" at character 4'),
        ("08", 'expected a number, got "08" at character 3'),
        ("1.5.5", 'expected a number, got "1.5.5" at character 6'),
        ("2147483648", "2147483648 does not fit into type i at character 11"),
        ("byte 256", "256 does not fit into type y at character 9"),
        ("uint64 -1", "-1 does not fit into type t at character 10"),
        ("uint64 1.5", "expected a value of type t, got one of type d at character 11"),
        ("string 5", 'expected a value of type s, got "5" at character 9'),
        ("uint64 'x'", "expected a value of type t, got one of type s at character 8"),
        ("[]", "an empty array needs a type, as in @as [] at character 3"),
        ("[1 2]", "expected , at character 4"),
        ("[1, 'a']", "expected a value of type i, got one of type s at character 5"),
        ("[1", "expected , at character 3"),
        ("()", "a tuple cannot be empty at character 3"),
        ("@(ss) ('a',)", "expected a value of type (ss), got less at character 13"),
        ("@(s) ('a', 'b')", "expected a value of type (s), got more at character 12"),
        ("@s ['a']", "expected a value of type s, got an array at character 5"),
        ("@s ('a')", "expected a value of type s, got a tuple at character 5"),
        ("@s {'a':1}", "expected a value of type s, got a dictionary at character 5"),
        ("{}", "an empty dictionary needs a type, as in @a{sv} {} at character 3"),
        ("{<1>: 1}", "a key must be a plain value at character 5"),
        ("{'a' 1}", "expected : at character 6"),
        ("<1", "expected > at character 3"),
        ("@", "expected a type at character 2"),
        ("@z 1", "expected a type at character 2"),
        ("@a{(s)s} {}", "a key must be a plain value at character 9"),
        ("@{ss} {}", "expected a type at character 2"),
        ("@(s", "expected a type at character 4"),
        ("[" * 33 + "1" + "]" * 33, "too deep at character 34"),
        ("<" * 100000, "too deep at character 34"),
        ("@" + "a" * 100000, "expected a type at character 35"),
        ("9" * 100000, f'expected a number, got "{"9" * 100000}" at character 100001'),
    ],
)
def test_what_is_no_value_is_told(text, why):
    """What was expected, and where."""
    with pytest.raises(ValueError, match=r"at character \d+$") as wrong:
        parse(text)
    assert str(wrong.value) == why
