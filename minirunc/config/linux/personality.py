"""linux.personality: the execution domain, set inside by personality(2)."""

from minirunc.base.record import Record


class Personality(Record):
    domain: str = ""
    flags: list[str] = []
