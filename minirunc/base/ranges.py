"""Lists of small numbers as CPUs and memory nodes are written: "0-3,7" (the list format of cpuset(7))."""


def numbers(text: str, most: int) -> list[int]:
    """The numbers of a list, sorted; empty for an empty text. Raises ValueError, saying why; none is above `most`."""
    found = 0  # a bit each: as quick for ranges that overlap, however many
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first and not dash:
            continue
        for number in (first, last) if dash else (first,):
            if not (number.isascii() and number.isdigit()):
                raise ValueError(f'"{number}" is not a number')
            if len(number) > 9 or int(number) > most:
                raise ValueError(f"values larger than {most} are not supported")
        if dash and int(first) > int(last):
            raise ValueError(f"invalid range: {part.strip()}")
        found |= (1 << int(last or first) + 1) - (1 << int(first))
    if text and not found:
        raise ValueError(f'no members found in set "{text}"')
    return [number for number in range(found.bit_length()) if found >> number & 1]
