"""Takes the fenced blocks out of README.md, so that tests follow the page as it stands."""

import re

from tests.ground.bundle import CHECKOUT


def block(heading: str, number: int = 0) -> str:
    """The text of a fenced block, without its fences: `block("### containerd")` is the first below that heading."""
    _, _, below = (CHECKOUT / "README.md").read_text().partition(f"\n{heading}\n")
    section = re.split(r"^#{1,3} ", below, maxsplit=1, flags=re.MULTILINE)[0]
    blocks: list[str] = re.findall(r"^```\w*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return blocks[number]
