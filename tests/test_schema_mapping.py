"""The OCI schema against config/: each property has a field of its type in the module its path names, or a reason.

tests/schemas/ holds the specification's JSON schemas; the walk follows their references.
"""

import importlib
import json
from collections.abc import Iterator
from types import GenericAlias
from typing import Any

import pytest

from minirunc.base.record import (
    Int32,
    Int64,
    Record,
    RecordType,
    UInt16,
    UInt32,
    UInt64,
    camel_case,
    kind_of,
)
from minirunc.config import IGNORED, UNSUPPORTED, Config, IDMapping
from tests.ground.oci_schema import SCHEMAS, covered, resolve

# Where a field's type is deliberately not the schema's.
OTHER_TYPES = {
    "process.oomScoreAdj": Int32,  # the schema: any integer
    "linux.devices[].fileMode": UInt32,  # the schema's 0777 leaves no room for set-user-ID
    "hooks[].timeout": Int64,  # the schema: any integer from 1
}

# Plain values without a record or a check of their own: whoever acts on them reads them from the parent's record.
WITHOUT_MODULE = {"ociVersion", "process.terminal", "process.noNewPrivileges"}

INTEGERS = {
    (0, 2**16 - 1): UInt16,
    (0, 2**32 - 1): UInt32,
    (0, 2**64 - 1): UInt64,
    (-(2**31), 2**31 - 1): Int32,
    (-(2**63), 2**63 - 1): Int64,
}


def walk(node: Any, file: str, path: str, kind: Any) -> Iterator[tuple[str, str]]:
    """Compare a property with the annotation of its field; yields (path, what is wrong)."""
    node, file = resolve(node, file)
    outer = kind.__origin__ if isinstance(kind, GenericAlias) else None
    if node["type"] == "array" and outer is list:
        yield from walk(node["items"], file, path if path.startswith("hooks") else f"{path}[]", kind.__args__[0])
    elif node["type"] == "object" and outer is dict:
        if "properties" in node:  # timeOffsets: its two clocks
            members = node["properties"].values()
        else:
            members = [node.get("additionalProperties") or next(iter(node["patternProperties"].values()))]
        for member in members:
            yield from walk(member, file, f"{path}[]", kind.__args__[1])
    elif node["type"] == "object" and isinstance(kind, RecordType):
        yield from walk_properties(node["properties"], file, path, kind)
    elif kind is not scalar(node, path):
        yield path, f"is {scalar(node, path)}, not {kind}"


def scalar(node: Any, path: str) -> Any:
    """The annotation that a schema's string, boolean or integer asks for; another type is returned by its name."""
    if path in OTHER_TYPES:
        return OTHER_TYPES[path]
    if node["type"] == "integer":
        return INTEGERS.get((node.get("minimum", 0), node.get("maximum", 0)), node)
    return {"string": str, "boolean": bool}.get(node["type"], node["type"])


def walk_properties(properties: Any, file: str, path: str, owner: RecordType) -> Iterator[tuple[str, str]]:
    for name, member in properties.items():
        below = f"{path}.{name}" if path else name
        if path.startswith("hooks"):
            below = f"hooks[].{name}" if path != "hooks" else f"hooks.{name}"
        if name in owner.fields:
            yield from walk(member, file, below, kind_of(owner, name))
        elif not covered(below, UNSUPPORTED) and not covered(below, IGNORED):
            yield below, f"has no field in {owner.__module__}.{owner.__name__} and no reason"


def schema_paths() -> Iterator[tuple[str, str]]:
    """Every property that the layout gives a place of its own: (JSON path, module)."""
    for path, owner in (
        ("", Config),
        ("process", importlib.import_module("minirunc.config.process").Process),
        ("linux", importlib.import_module("minirunc.config.linux").Linux),
        ("linux.resources", importlib.import_module("minirunc.config.linux.resources").Resources),
    ):
        for name, entry in owner.fields.items():
            yield (f"{path}.{name}" if path else name), f"{owner.__module__}.{entry[0]}"


def records(owner: RecordType, found: set[RecordType]) -> set[RecordType]:
    """All record classes reached from one."""
    if owner not in found:
        found.add(owner)
        for name in owner.fields:
            kind = kind_of(owner, name)
            for inner in getattr(kind, "__args__", (kind,)):
                if isinstance(inner, RecordType):
                    records(inner, found)
    return found


def test_each_property_of_the_schema_has_a_field_of_its_type_or_a_reason() -> None:
    schema = json.loads((SCHEMAS / "config-schema.json").read_text())
    assert list(walk_properties(schema["properties"], "config-schema.json", "", Config)) == []


def test_each_field_is_one_of_the_schema() -> None:
    """A name misspelt here would never be read."""
    known = set()
    for file in SCHEMAS.glob("*.json"):
        pending = [json.loads(file.read_text())]
        while pending:
            node = pending.pop()
            if isinstance(node, dict):
                known |= set(node.get("properties", {}))
                pending += node.values()
            elif isinstance(node, list):
                pending += node
    for owner in records(Config, set()):
        assert set(owner.fields) <= known, owner


@pytest.mark.parametrize(("path", "module"), list(schema_paths()))
def test_a_field_lies_in_the_module_its_path_names(path: str, module: str) -> None:
    if path in WITHOUT_MODULE:
        return
    expected = "minirunc.config." + path
    words = module.removeprefix("minirunc.config.").split(".")
    assert importlib.import_module(module)
    assert [camel_case(word).lower() for word in words] == path.lower().split("."), expected


def test_a_record_lies_in_the_module_of_its_field_or_with_the_record_that_holds_it() -> None:
    for owner in records(Config, set()):
        for name, entry in owner.fields.items():
            kind = kind_of(owner, name)
            for inner in getattr(kind, "__args__", (kind,)):
                if isinstance(inner, RecordType) and inner is not IDMapping:
                    assert inner.__module__ in (owner.__module__, f"{owner.__module__}.{entry[0]}"), inner


def test_no_field_hides_what_every_record_has() -> None:
    for owner in records(Config, set()):
        for entry in owner.fields.values():
            assert not hasattr(Record, entry[0]), (owner, entry[0])


@pytest.mark.parametrize("line", [*UNSUPPORTED, *IGNORED])
def test_each_line_of_the_tables_is_a_property_of_the_schema(line: str) -> None:
    schema: Any = json.loads((SCHEMAS / "config-schema.json").read_text())
    file = "config-schema.json"
    if line in schema["properties"] and line != "linux":
        return  # another platform: its schema need not be here
    for step in line.replace("[]", "").split("."):
        schema, file = resolve(schema, file)
        if schema["type"] == "array":
            schema, file = resolve(schema["items"], file)
        assert step in schema["properties"], line
        schema = schema["properties"][step]
