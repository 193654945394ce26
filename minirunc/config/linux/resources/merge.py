"""linux.resources as `update` changes them: what it is told, put into what was there.

    stored    the container's, from the copy of its config.json       told      the document, without what says nothing
    merged    what is stored afterwards                                wanted    what is written: told, and what goes
                                                                                 into the same files

All are JSON values: members that nobody knows stay.
"""

from minirunc.base import log
from minirunc.base.record import Record, kind_of
from minirunc.config.linux.resources import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHERE = "linux.resources"

# 0 or "" is as if absent; but for memory.swap, which may be forgotten so, where a larger limit would not fit.
_NOTHING = {
    "memory": ("limit", "reservation"),
    "cpu": ("shares", "quota", "period", "cpus", "mems"),
    "blockIO": ("weight",),
}

# What tells the items of a list apart; any other list is replaced as a whole.
_KEYS = {
    "weightDevice": ("major", "minor"),
    "throttleReadBpsDevice": ("major", "minor"),
    "throttleWriteBpsDevice": ("major", "minor"),
    "throttleReadIOPSDevice": ("major", "minor"),
    "throttleWriteIOPSDevice": ("major", "minor"),
    "hugepageLimits": ("pageSize",),
}

# One file holds both, or the kernel changes the other along.
_TOGETHER = (("memory", "limit", "swap"), ("cpu", "quota", "period"), ("cpu", "idle", "shares"))


def own_names(value: "Any", kind: "Any") -> "Any":
    """The value with its records' members under their own names, and without null: Go's JSON takes any case."""
    if isinstance(kind, type) and issubclass(kind, Record):
        members = kind.renamed(value).items()
        fields = kind.fields
        return {
            name: own_names(item, kind_of(kind, name)) if name in fields else item
            for name, item in members
            if item is not None
        }
    inner: Any = getattr(kind, "__args__", ())
    if isinstance(value, list):
        return [own_names(item, inner[0]) for item in value]
    if isinstance(value, dict):
        return {name: own_names({} if item is None else item, inner[1]) for name, item in value.items()}
    return value


def told(value: object) -> "dict[str, Any]":
    """What a document asks for. Raises ConfigError for a wrong type."""
    Resources.parse({} if value is None else value, WHERE)
    document: dict[str, Any] = own_names(value or {}, Resources)
    for controller, names in _NOTHING.items():
        for name in names:
            if document.get(controller, {}).get(name) in (0, ""):
                del document[controller][name]
    _take_weight_from_idle(document)
    return document


def _take_weight_from_idle(document: "dict[str, Any]") -> None:
    """Of the two an update takes the first (as runc does with systemd); config.json must not have both."""
    cpu, unified = document.get("cpu", {}), document.get("unified", {})
    for members, idle, weight in ((cpu, "idle", "shares"), (unified, "cpu.idle", "cpu.weight")):
        if weight in members and str(members.get(idle)).strip() == "1":
            log.warning(f"unable to apply both {weight} and {idle}: an idle cgroup has no weight; {weight} is ignored")
            del members[weight]


def merged(stored: "dict[str, Any]", told: "dict[str, Any]") -> "dict[str, Any]":
    """What is not told is kept, but for what no longer fits: swap where memory has no limit; of cpu.idle and
    cpu.shares the one that was not told, as an idle cgroup has no weight."""
    result: dict[str, Any] = _merge(stored, told, "")
    memory, cpu = told.get("memory", {}), told.get("cpu", {})
    if memory.get("limit") == -1 and "swap" not in memory:
        result["memory"]["swap"] = 0
    if cpu.get("idle") and "shares" not in cpu:
        result["cpu"].pop("shares", None)
    if "shares" in cpu and "idle" not in cpu and result["cpu"].get("idle"):
        result["cpu"]["idle"] = 0
    return result


def _merge(stored: "Any", told: "Any", name: str) -> "Any":
    if isinstance(stored, dict) and isinstance(told, dict):
        return stored | {key: _merge(stored.get(key), item, key) for key, item in told.items()}
    if isinstance(stored, list) and name in _KEYS:
        result = list(stored)
        for item in told:
            same = [index for index, other in enumerate(result) if _key(other, name) == _key(item, name)]
            if same:
                result[same[-1]] = _merge(result[same[-1]], item, "")  # of two it is the last that counts
            else:
                result.append(item)
        return result
    return told


def _key(item: "dict[str, Any]", name: str) -> "list[Any]":
    return [item.get(key) for key in _KEYS[name]]


def wanted(told: "dict[str, Any]", merged: "dict[str, Any]") -> "dict[str, Any]":
    """What is told, with the other member of each pair as it is stored."""
    result = dict(told)
    for controller, one, other in _TOGETHER:
        members = result.get(controller, {})
        if one in members or other in members:
            after = merged[controller]
            result[controller] = members | {name: after[name] for name in (one, other) if name in after}
    return result
