"""Changes of a config.json as a strategy of hypothesis: members gone, doubled, swapped, of other types, at edges."""

import copy
from typing import Any

from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from tests.fuzz.source import NUMBERS, TEXTS
from tests.fuzz.whole import GRAFTS, WORDS
from tests.ground.bundle import CHECKOUT

set_hypothesis_home_dir(CHECKOUT / ".cache/hypothesis")  # its tables of characters; no examples are kept

_SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([*NUMBERS, 10**400, -(10**400)]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(TEXTS),
    st.text(max_size=20),
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
_WAYS = ("gone", "another", "edge", "word", "graft", "swapped", "doubled", "wrapped", "more", "misspelt")


def places(value: Any, name: str = "") -> list[tuple[Any, Any, str]]:
    """All members below a value: what holds it, its key or index there, and the last key with a name."""
    found: list[tuple[Any, Any, str]] = []
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            own = key if isinstance(key, str) else name
            found.append((value, key, own))
            found += places(value[key], own)
    return found


@st.composite
def changed(draw: st.DrawFn, base: dict[str, Any], most: int = 4) -> dict[str, Any]:
    """A copy of a config with up to so many changes, anywhere in it."""
    config = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, most))):
        members = places(config)
        if members:
            _change(draw, members)
    return config


def _change(draw: st.DrawFn, members: list[tuple[Any, Any, str]]) -> None:
    place, key, name = draw(st.sampled_from(members))
    old = place[key]
    how = draw(st.sampled_from(_WAYS))
    if how == "gone":
        del place[key]
    elif how == "edge":
        place[key] = _edge(draw, old)
    elif how == "word" and name in WORDS and isinstance(old, str):
        place[key] = draw(st.sampled_from(WORDS[name]))
    elif how == "graft":
        place[key] = copy.deepcopy(draw(st.sampled_from(GRAFTS)))
    elif how == "swapped":
        other, there, _ = draw(st.sampled_from(members))
        place[key], other[there] = copy.deepcopy(other[there]), copy.deepcopy(old)
    elif how == "doubled" and isinstance(place, list):
        place.append(copy.deepcopy(old))
    elif how == "wrapped":
        place[key] = draw(st.sampled_from(([old], {name: old}, {}, [])))
    elif how == "more" and isinstance(old, dict):
        old[draw(st.sampled_from(TEXTS))] = draw(_VALUES)
    elif how == "more" and isinstance(old, list):
        old.append(draw(_VALUES))
    elif how == "misspelt" and isinstance(key, str):
        place[draw(st.sampled_from((key.upper(), key + " ", "")))] = place.pop(key)
    else:
        place[key] = draw(_VALUES)


def _edge(draw: st.DrawFn, old: Any) -> Any:
    """A value of the same type where mistakes are made."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return draw(st.sampled_from([*NUMBERS, old + 1, old - 1, -old]))
    if isinstance(old, str):
        odd = draw(st.sampled_from(TEXTS))
        return draw(st.sampled_from((odd, old + odd, odd + old, old[:-1], old * 2)))
    return type(old)()
