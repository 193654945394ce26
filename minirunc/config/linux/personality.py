"""linux.personality: the execution domain, set inside by personality(2)."""

from minirunc.base.record import Record
from minirunc.config import none_of
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

# linux/personality.h
DOMAINS = {"LINUX": 0, "LINUX32": 8}


class Personality(Record):
    domain: str = ""
    flags: list[str] = []  # none is known, so they are ignored


def check(config: "Config") -> None:
    wanted = config.linux.personality
    if wanted is not None and wanted.domain not in DOMAINS:
        raise none_of(DOMAINS, "linux.personality.domain", f"invalid personality domain {wanted.domain}")


def apply(personality: Personality, hand: Hand) -> None:
    """For this process and all that come of it."""
    with hand.batch() as do:
        do.personality(DOMAINS[personality.domain])
