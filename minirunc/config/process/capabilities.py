"""process.capabilities: five sets, set inside around setuid; absent means all five empty."""

from minirunc.base.record import Record


class Capabilities(Record):
    bounding: list[str] = []
    effective: list[str] = []
    inheritable: list[str] = []
    permitted: list[str] = []
    ambient: list[str] = []
