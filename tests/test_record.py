"""base/record: annotations to slots, OCI names, defaults, and errors that name the JSON path."""

import pytest

from minirunc.base.errors import ConfigError
from minirunc.base.record import EMPTY, Int32, Int64, Record, UInt16, UInt32, UInt64


class Limit(Record):
    type: str
    soft: UInt64
    hard: UInt64 | None


class Inner(Record):
    a_flag: bool = False
    names: list[str] = []


class Outer(Record):
    NAMES = {"host_id": "hostID"}
    name: str
    host_id: UInt32 = 7
    limits: list[Limit] = []
    ratio: float = 0.5
    by_name: dict[str, Inner] = {}
    labels: dict[str, str] = {}
    inner: Inner = EMPTY
    maybe: Inner | None
    class_: str = ""
    anything: object = None
    small: UInt16 | None
    signed: Int32 | None
    wide: Int64 | None


def test_members_take_their_oci_names() -> None:
    assert list(Outer.fields) == [
        "name", "hostID", "limits", "ratio", "byName", "labels", "inner", "maybe", "class", "anything",
        "small", "signed", "wide",
    ]  # fmt: skip


def test_absent_and_null_members_take_their_defaults() -> None:
    record = Outer.parse({"name": "x", "hostID": None, "limits": None, "unknown": 1, "inner": None})
    assert (record.name, record.host_id, record.limits, record.ratio) == ("x", 7, [], 0.5)
    assert (record.by_name, record.labels, record.maybe, record.anything) == ({}, {}, None, None)
    assert record.inner == Inner(a_flag=False, names=[])


def test_a_record_by_name_that_is_null_is_there_with_its_defaults() -> None:
    """As in Go: what asks for something by its name alone is not lost."""
    record = Outer.parse({"name": "x", "byName": {"a": None}, "labels": {"b": None}})
    assert (record.by_name, record.labels) == ({"a": Inner(a_flag=False, names=[])}, {})


def test_records_share_no_default_list_or_record() -> None:
    one, two = Outer.parse({"name": "1"}), Outer.parse({"name": "2"})
    one.limits.append(Limit(type="a", soft=1))
    one.labels["a"] = "b"
    one.inner.names.append("x")
    assert (two.limits, two.labels, two.inner.names, Outer(name="3").limits) == ([], {}, [], [])


def test_values_are_read_into_nested_records() -> None:
    record = Outer.parse({
        "name": "x",
        "limits": [{"type": "a", "soft": 2**64 - 1}, {"type": "b", "soft": 0, "hard": 1}],
        "byName": {"one": {"aFlag": True}, "two": {"names": ["n"]}},
        "labels": {"a": "b", "c": None},
        "class": "RT",
        "anything": [1, {"x": None}],
        "ratio": 2,
    })  # fmt: skip
    assert record.limits == [Limit(type="a", soft=2**64 - 1), Limit(type="b", soft=0, hard=1)]
    assert record.by_name == {"one": Inner(a_flag=True), "two": Inner(names=["n"])}
    assert record.labels == {"a": "b"}
    assert (record.class_, record.anything, record.ratio) == ("RT", [1, {"x": None}], 2)


WRONG = [
    ([], "", "expected an object, got a list"),
    ({}, "name", "missing"),
    ({"name": None}, "name", "missing"),
    ({"name": 12}, "name", "expected a string, got an integer (12)"),
    ({"name": "x", "hostID": "12"}, "hostID", 'expected an integer, got a string ("12")'),
    ({"name": "x", "hostID": True}, "hostID", "expected an integer, got true"),
    ({"name": "x", "hostID": 1.0}, "hostID", "expected an integer, got a number (1.0)"),
    ({"name": "x", "hostID": -1}, "hostID", "expected an integer from 0 to 4294967295, got -1"),
    ({"name": "x", "hostID": 2**32}, "hostID", "expected an integer from 0 to 4294967295, got 4294967296"),
    ({"name": "x", "small": 65536}, "small", "expected an integer from 0 to 65535, got 65536"),
    (
        {"name": "x", "signed": 2**31},
        "signed",
        "expected an integer from -2147483648 to 2147483647, got 2147483648",
    ),
    (
        {"name": "x", "wide": 2**63},
        "wide",
        "expected an integer from -9223372036854775808 to 9223372036854775807, got 9223372036854775808",
    ),
    (
        {"name": "x", "hostID": 10**60},
        "hostID",
        "expected an integer from 0 to 4294967295, got 1000000000000000000000000000000000000000...",
    ),
    ({"name": "x", "ratio": "a"}, "ratio", 'expected a number, got a string ("a")'),
    ({"name": "x", "limits": {}}, "limits", "expected a list, got an object"),
    ({"name": "x", "limits": [None]}, "limits[0]", "expected an object, got null"),
    ({"name": "x", "limits": [{"type": "a", "soft": 1}, {"type": "b"}]}, "limits[1].soft", "missing"),
    (
        {"name": "x", "limits": [{"type": "a", "soft": 1}, {"type": 1.5, "soft": 2}]},
        "limits[1].type",
        "expected a string, got a number (1.5)",
    ),
    ({"name": "x", "inner": {"aFlag": 1}}, "inner.aFlag", "expected true or false, got an integer (1)"),
    ({"name": "x", "inner": {"names": ["a", 1]}}, "inner.names[1]", "expected a string, got an integer (1)"),
    ({"name": "x", "inner": {"names": "a"}}, "inner.names", 'expected a list, got a string ("a")'),
    ({"name": "x", "byName": []}, "byName", "expected an object, got a list"),
    (
        {"name": "x", "byName": {"a": {}, "b.c": {"aFlag": "yes"}}},
        'byName["b.c"].aFlag',
        'expected true or false, got a string ("yes")',
    ),
    ({"name": "x", "labels": {"k": []}}, 'labels["k"]', "expected a string, got a list"),
    (
        {"name": "x", "maybe": "y" * 50},
        "maybe",
        f'expected an object, got a string ("{"y" * 40}...")',
    ),
]


@pytest.mark.parametrize(("value", "where", "why"), WRONG)
def test_a_wrong_value_is_refused_with_its_path(value: object, where: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.parse(value)
    assert (caught.value.where, caught.value.why) == (where, why)
    with pytest.raises(ConfigError) as caught:
        Outer.parse(value, "linux.outer")
    assert caught.value.where == ("linux.outer." + where if where else "linux.outer")


def test_a_record_can_be_made_without_json() -> None:
    limit = Limit(type="a", soft=1)
    assert (limit.type, limit.soft, limit.hard) == ("a", 1, None)
    assert repr(limit) == "Limit(type='a', soft=1, hard=None)"
    assert limit == Limit.parse({"type": "a", "soft": 1})
    assert limit != Limit(type="a", soft=2)
    assert limit != "a"
    with pytest.raises(TypeError, match="Limit needs soft"):
        Limit(type="a")
    with pytest.raises(AttributeError):
        Limit(type="a", soft=1, colour="red")


def test_a_field_may_be_named_as_the_metaclass_names_things() -> None:
    """The metaclass's own attributes must not hide a slot: OCI has `names`."""

    class Odd(Record):
        names: list[str]
        required: bool = False
        shared: str = ""

    assert Odd.parse({"names": ["a"], "shared": "b"}) == Odd(names=["a"], shared="b", required=False)


def test_a_record_has_no_room_for_other_attributes() -> None:
    limit = Limit(type="a", soft=1)
    with pytest.raises(AttributeError):
        limit.sort = 1  # type: ignore[attr-defined]
    assert not hasattr(limit, "__dict__")
