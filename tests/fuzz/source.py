"""Bytes as a source of decisions: the same bytes make the same value, a changed byte makes a similar one."""

import copy
from collections.abc import Sequence
from typing import Any

NUMBERS = (
    0, 1, -1, 2, 9, 15, 64, 65, 128, 255, 511, 512, 1024, 4095, 4096, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 2,
    2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31), -(2**31) - 1, -(2**63), -(2**63) - 1,
)  # fmt: skip
TEXTS = (
    "", "/", ".", "..", "../..", "/../x", "a", "a/b", "/a//b/./c", "\0", "a\0b", "\n", "\x1b[0m", "\ud800", "\udcff",
    "é", "\u2028", "x" * 300, "%s%n", "0", "-1", "00", "0x10", "max", "/proc/self/fd/7", "net.core.somaxconn",
    "kernel.shm_rmid_forced", "SCMP_ACT_ALLOW", "a:b:c", "a=b", "=", "=b", "/dev/null", "/proc", "/sys/fs/cgroup",
)  # fmt: skip


class Source:
    """Hands out what the bytes say; when they are used up, zeros."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        """0 to 255."""
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def bytes(self) -> bytes:
        """Up to 255 bytes as they are."""
        count = self.byte()
        self.at += count
        return self.data[self.at - count : self.at]

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of them."""
        return choices[self.byte() % len(choices)]

    def number(self) -> int:
        """An integer, most of them at an edge."""
        kind = self.byte()
        if kind < 160:
            return int(NUMBERS[kind % len(NUMBERS)])
        return int.from_bytes(self.bytes()[: kind % 10], "little", signed=True)

    def text(self) -> str:
        """A string, some of them odd."""
        kind = self.byte()
        if kind < 120:
            return str(TEXTS[kind % len(TEXTS)])
        if kind < 240:
            return self.bytes().decode("utf-8", "surrogateescape")
        return "/".join(self.pick(TEXTS) for _ in range(kind % 4))

    def words(self) -> list[str]:
        """A few strings."""
        return [self.text() for _ in range(self.byte() % 6)]

    def value(self, depth: int = 0) -> Any:
        """Any JSON value."""
        kind = self.byte() % (8 if depth < 4 else 6)
        if kind == 6:
            return [self.value(depth + 1) for _ in range(self.byte() % 4)]
        if kind == 7:
            return {self.text(): self.value(depth + 1) for _ in range(self.byte() % 4)}
        if kind in (2, 3):
            return self.number() if kind == 2 else self.text()
        return (None, True, 0, "", 0.5, False)[kind]


def mutated(source: Source, value: Any, grafts: Sequence[Any]) -> Any:
    """A copy of a JSON value with some members changed, taken away, doubled, or replaced by one of the grafts."""
    value = copy.deepcopy(value)
    for _ in range(1 + source.byte() % 6):
        place, key, _ = _somewhere(source, value)
        if place is None:
            return value
        how = source.byte() % 8
        if how == 0:
            del place[key]
        elif how == 1:
            place[key] = source.value()
        elif how == 2:
            place[key] = copy.deepcopy(source.pick(grafts))
        elif how == 3 and isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        elif isinstance(place[key], list):
            place[key].append(copy.deepcopy(source.pick(grafts)))
        elif isinstance(place[key], dict):
            place[key][source.text()] = source.value()
        else:
            place[key] = _changed(source, place[key])
    return value


def adjusted(source: Source, value: Any, words: dict[str, Sequence[str]]) -> Any:
    """A copy with some members changed to others of their kind, strings to one of the `words` for their name."""
    value = copy.deepcopy(value)
    for _ in range(1 + source.byte() % 4):
        place, key, name = _somewhere(source, value)
        while isinstance(place[key], dict | list) and place[key]:
            inner = source.pick(sorted(place[key]) if isinstance(place[key], dict) else range(len(place[key])))
            place, key, name = place[key], inner, inner if isinstance(inner, str) else name
        how = source.byte() % 8
        if how == 0:
            del place[key]
        elif how < 3 and isinstance(place, list):
            place.append(source.pick(words[name]) if name in words and isinstance(place[key], str) else place[key])
        elif name in words and isinstance(place[key], str):
            place[key] = source.pick(words[name])
        else:
            place[key] = _changed(source, place[key])
    return value


def _changed(source: Source, value: Any) -> Any:
    """A value near this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return source.number()
    if not isinstance(value, str):
        return value
    how = source.byte() % 4
    at = source.byte() % (len(value) + 1)
    if how == 0:
        return source.text()
    if how == 1:
        return value[:at] + source.text() + value[at:]
    if how == 2:
        return value[:at] + value[at + 1 + source.byte() % 3 :]
    return value + source.text()


def _somewhere(source: Source, value: Any) -> tuple[Any, Any, str]:
    """A container in the value, the key or index of a member chosen on the way down, and the last key with a name."""
    place: tuple[Any, Any, str] = None, None, ""
    while isinstance(value, dict | list) and value:
        if place[0] is not None and source.byte() % 4 == 0:
            break
        key = source.pick(sorted(value) if isinstance(value, dict) else range(len(value)))
        place = value, key, key if isinstance(key, str) else place[2]
        value = value[key]
    return place
