"""linux.resources.devices: which devices the container may use; the last rule that matches decides."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Int64, Record
from minirunc.config import none_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources

_KINDS = {"": 0, "a": 0, "b": 1, "c": 2}  # BPF_DEVCG_DEV_*; 0 is any
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL = 7
_MOST = 1500  # rules, whose program has to fit into a batch

# Every container gets these, whatever the rules say: (major, minor), character devices; -1 is any
_DEFAULT = ((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (136, -1), (5, 2), (10, 200))


class DeviceRule(Record):
    allow: bool
    type: str = ""  # a (or empty): all, b, c
    major: Int64 | None  # absent or -1: any
    minor: Int64 | None
    access: str = ""  # of r, w, m


def check(resources: "Resources") -> None:
    if len(resources.devices) > _MOST:
        why = f"has {len(resources.devices)} rules, at most {_MOST} are supported"
        raise ConfigError("linux.resources.devices", why)
    for index, rule in enumerate(resources.devices):
        where = f"linux.resources.devices[{index}]"
        if rule.type not in _KINDS:
            raise none_of("abc", f"{where}.type", f'invalid cgroup device type "{rule.type}"')
        if not rule.access:
            raise ConfigError(f"{where}.access", f"device access at {index} field cannot be empty")
        if not set(rule.access) <= {*_ACCESS, "a"} or rule.access == "a":  # which others take, too, and leave alone
            why = f'invalid cgroup device access "{rule.access}": expected letters of rwm'
            raise ConfigError(f"{where}.access", why)
        for name, number in (("major", rule.major), ("minor", rule.minor)):
            if number is not None and not -1 <= number < 2**31:
                raise ConfigError(f"{where}.{name}", f"expected an integer from -1 to {2**31 - 1}, got {number}")


def rules(devices: list[DeviceRule]) -> list[tuple[bool, int, int, int, int]]:
    """The rules, then the default ones, for kernel/bpf: (allow, kind, major, minor, access); the last wins.

    A rule for all kinds is for all numbers and accesses, as it was in cgroup v1.
    """
    found = []
    for rule in devices:
        if rule.type in ("", "a"):
            found.append((rule.allow, 0, -1, -1, _ALL))
            continue
        bits = 0
        for letter in rule.access:
            bits |= _ACCESS.get(letter, 0)
        major = -1 if rule.major is None else rule.major
        minor = -1 if rule.minor is None else rule.minor
        found.append((rule.allow, _KINDS[rule.type], major, minor, bits))
    found += [(True, kind, -1, -1, _ACCESS["m"]) for kind in (2, 1)]
    return found + [(True, 2, major, minor, _ALL) for major, minor in _DEFAULT]


def unit_properties(devices: list[DeviceRule]) -> list[tuple[str, str, object]]:
    """DevicePolicy and DeviceAllow: at least what the rules allow.

    Our own program is asked beside systemd's, and both have to allow; so what DeviceAllow has no words for - a rule
    that denies, any major with one minor - may be too much here, but nothing may be missing.
    """
    allowed: dict[tuple[int, int, int], int] = {}
    for allow, kind, major, minor, bits in rules(devices):
        any_major = major < 0 <= minor
        for one in [kind] if kind else [1, 2]:
            here = (one, major, -1 if any_major else minor)
            if allow:
                allowed[here] = allowed.get(here, 0) | bits
            elif not any_major:
                allowed = {at: rest & ~bits if _within(at, here) else rest for at, rest in allowed.items()}
    found = []
    for at, bits in allowed.items():
        # One entry has to allow all that an open(2) wants: this one has what wider ones give, too.
        for wider, more in allowed.items():
            bits |= more if _within(at, wider) else 0
        if bits:
            found.append((_name(*at), "".join(letter for letter, bit in _ACCESS.items() if bits & bit)))
    everything = all(allowed.get((kind, -1, -1)) == _ALL for kind in (1, 2))
    return [
        ("DevicePolicy", "s", "auto" if everything else "strict"),
        ("DeviceAllow", "a(ss)", [] if everything else found),
    ]


def _within(inner: tuple[int, int, int], outer: tuple[int, int, int]) -> bool:
    return all(theirs in (-1, ours) for ours, theirs in zip(inner, outer, strict=True))


def _name(kind: int, major: int, minor: int) -> str:
    """Names that need no node: /dev/char/1:3, char-136, block-*."""
    word = "block" if kind == 1 else "char"
    if minor >= 0:
        return f"/dev/{word}/{major}:{minor}"
    return f"{word}-{major if major >= 0 else '*'}"
