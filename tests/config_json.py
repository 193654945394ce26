"""config.json for tests of the config layer: a small good one, and it with members changed by their JSON path."""

import copy
import json
import re
from typing import Any

import pytest

from minirunc.base.errors import Error
from minirunc.config import Config, load

GOOD: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"args": ["true"], "cwd": "/"},
    "linux": {"namespaces": [{"type": kind} for kind in ("mount", "uts", "ipc", "pid", "network")]},
}
ABSENT = object()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """GOOD with members set by path ("process.env", "linux.namespaces"); ABSENT takes one away."""
    value = copy.deepcopy(GOOD)
    for path, member in changes.items():
        *above, last = path.split(".")
        place = value
        for name in above:
            place = place.setdefault(name, {})
        if member is ABSENT:
            del place[last]
        else:
            place[last] = member
    return value


def loaded(changes: dict[str, Any]) -> Config:
    return load(json.dumps(changed(changes)))


def refusal(changes: dict[str, Any]) -> str:
    """The whole error text for GOOD with these changes."""
    with pytest.raises(Error) as caught:
        loaded(changes)
    message = str(caught.value)
    assert not re.search(r"[\n\x00]", message)
    return message


def namespaces(*kinds: str) -> list[dict[str, str]]:
    """linux.namespaces of these kinds; "network:/path" is one to join."""
    found = []
    for kind in kinds:
        name, _, path = kind.partition(":")
        found.append({"type": name, "path": path} if path else {"type": name})
    return found
