"""A span of time as text, in the form of Go's time.ParseDuration: "100ms", "1.5s", "1m30s"."""

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DIGITS = "0123456789"


def nanoseconds(text: str) -> int | None:
    """How long it is; None where the text is none, or longer than 64 bits can tell."""
    sign = -1 if text[:1] == "-" else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":  # the only one without a unit
        return 0
    if not rest or len(rest) > 100:
        return None
    total = 0
    while rest:
        after = rest.lstrip(_DIGITS + ".")
        whole, _, fraction = rest[: len(rest) - len(after)].partition(".")
        end = next((at for at, letter in enumerate(after) if letter in _DIGITS + "."), len(after))
        unit = _UNITS.get(after[:end])
        if unit is None or not whole + fraction or "." in fraction:
            return None
        total += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        rest = after[end:]
    return sign * total if -(2**63) <= sign * total < 2**63 else None
