"""The OCI runtime-spec's JSON schema of config.json (tests/schemas), walked: its properties as JSON paths."""

# A leaf is a property without properties of its own: "root.path", "process.args[]", "linux.netDevices[].name".
# [] stands for the items of an array and for the values of a map whose keys are free.

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema

SCHEMAS = Path(__file__).parents[1] / "schemas"
TOP = "config-schema.json"


def load(file: str) -> Any:
    """One of the files."""
    return json.loads((SCHEMAS / file).read_text())


def resolve(node: Any, file: str) -> tuple[Any, str]:
    """Follow $ref and merge allOf and anyOf: the node itself and the file it stands in."""
    while "$ref" in node:
        name, _, pointer = node["$ref"].partition("#")
        file = name or file
        node = load(file)
        for step in pointer.strip("/").split("/"):
            node = node[step]
    if "allOf" in node or "anyOf" in node:
        merged: dict[str, Any] = {"type": "object", "properties": {}}
        for part in node.get("allOf", node.get("anyOf")):
            inner, inner_file = resolve(part, file)
            for name, member in inner["properties"].items():
                merged["properties"][name] = resolve(member, inner_file)[0]
        return merged, file
    return node, file


def faults(file: str, document: Any) -> list[str]:
    """What is wrong with a document by one of the files (config-schema.json, features-schema.json)."""
    files = [(schema.name, load(schema.name)) for schema in SCHEMAS.glob("*.json")]
    schemas = referencing.Registry().with_contents(files, default_specification=referencing.jsonschema.DRAFT4)
    validator = jsonschema.Draft4Validator(load(file), registry=schemas)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def covered(path: str, table: dict[str, str]) -> bool:
    """Whether a path or one above it is listed."""
    return any(path == line or path.startswith((f"{line}.", f"{line}[")) for line in table)


def leaves(without: dict[str, str]) -> list[str]:
    """All leaves of the schema but those that the table covers, and those of other platforms."""
    without = without | dict.fromkeys(("freebsd", "solaris", "vm", "windows", "zos"), "another platform")
    return list(_leaves(load(TOP), TOP, "", without))


def _leaves(node: Any, file: str, path: str, without: dict[str, str]) -> Iterator[str]:
    if covered(path, without):  # not resolved: another platform's schema need not be here
        return
    node, file = resolve(node, file)
    if node["type"] == "array":
        yield from _leaves(node["items"], file, f"{path}[]", without)
    elif "properties" in node:
        for name, member in node["properties"].items():
            yield from _leaves(member, file, _below(path, name), without)
    elif node["type"] == "object":
        yield from _leaves(values(node), file, f"{path}[]", without)
    else:
        yield path


def leaves_of(config: Any) -> set[str]:
    """The leaves that a config.json sets; a member that the schema does not know is one, too."""
    return set(_leaves_of(config, load(TOP), TOP, ""))


def _leaves_of(value: Any, node: Any, file: str, path: str) -> Iterator[str]:
    node, file = resolve(node, file)
    if isinstance(value, list):
        for item in value:
            yield from _leaves_of(item, node["items"], file, f"{path}[]")
    elif isinstance(value, dict) and "properties" not in node:
        for member in value.values():
            yield from _leaves_of(member, values(node), file, f"{path}[]")
    elif isinstance(value, dict):
        for name, member in value.items():
            if name in node["properties"]:
                yield from _leaves_of(member, node["properties"][name], file, _below(path, name))
            else:
                yield _below(path, name)
    else:
        yield path


def values(node: Any) -> Any:
    """The schema of the values of a map."""
    return node.get("additionalProperties") or next(iter(node["patternProperties"].values()))


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
