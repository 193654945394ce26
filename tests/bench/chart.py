"""The medians as an SVG of horizontal bars, one group a case, readable on a light and on a dark page."""

from collections.abc import Sequence
from html import escape

from .stats import BARE_EXIT, BARE_PASS, CASES, COMMANDS, Results, median, ratio

# Mid-tones: bars have a contrast of 3 or more against a white and a near-black page, words of 4 or more.
COLOURS = {"minirunc": "#3b82f6", "runc": "#b7791f", "crun": "#7c8594"}
OTHER = "#9a6fb0"
INK = "#737b87"
FONT = "ui-sans-serif, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"

WIDTH = 840
LEFT = 144  # where the bars begin
SPAN = 500  # the longest bar
BAR = 17
STEP = 22  # from one bar to the next
HEAD = 24  # a group's heading
GAP = 20  # between groups
GROUPS = ("run", "create", "exec", "state")


class Bar:
    """One bar: whose, how long, and what is written after it."""

    def __init__(self, name: str, label: str, value: float, note: str = "") -> None:
        self.name = name
        self.label = label
        self.value = value  # ms
        self.note = note


def bars_of(results: Results, case: str) -> list[Bar]:
    """minirunc first, then its warm exec beside `exec`, then the peers in the order they were measured in."""
    names = [name for found, name in results if found == case]
    bars: list[Bar] = []
    for name in sorted(names, key=lambda name: name != "minirunc"):
        value = median(results, case, name)
        if value is not None:
            bars.append(Bar(name, name, value, _share(results, case, case) if name == "minirunc" else ""))
    warm = median(results, "warm", "minirunc")
    if case == "exec" and warm is not None:
        where = 1 if bars and bars[0].name == "minirunc" else 0
        bars.insert(where, Bar("minirunc", "minirunc, warm", warm, _share(results, "warm", "exec")))
    return bars


def _share(results: Results, case: str, against: str) -> str:
    share = ratio(median(results, case, "minirunc"), median(results, against, "runc"))
    return "" if share is None else f"{share:.2f} of runc"


def floor_of(results: Results) -> float | None:
    """What minirunc cannot be faster than: one bare interpreter, left in the faster of the two ways."""
    values = [median(results, "bare", name) for name in (BARE_EXIT, BARE_PASS)]
    found = [value for value in values if value is not None]
    return min(found) if found else None


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    where = f'x="{x:g}" y="{y:g}"' + ("" if anchor == "start" else f' text-anchor="{anchor}"')
    return f"<text {where}{' ' + style if style else ''}>{escape(words)}</text>"


def draw_bar(bar: Bar, y: float, scale: float, floor: float) -> list[str]:
    """Name, bar, figures; the part that is the bare interpreter's is hatched."""
    length = max(bar.value * scale, 1.5)
    colour = COLOURS.get(bar.name, OTHER)
    own = bar.name == "minirunc"
    weight = ' font-weight="600"' if own else ""
    middle = y + BAR / 2 + 4.5
    value = f"{bar.value:.1f} ms" if bar.value >= 1 else f"{bar.value:.2f} ms"
    note = f'<tspan dx="7" font-weight="400">{escape(bar.note)}</tspan>' if bar.note else ""
    return [
        text(LEFT - 10, middle, bar.label, f'fill="{colour if own else INK}"{weight}', "end"),
        f'<rect x="{LEFT}" y="{y:g}" width="{length:.1f}" height="{BAR}" rx="3" fill="{colour}"/>',
        *([draw_floor(LEFT, y, min(floor * scale, length))] if floor else []),
        f'<text x="{LEFT + length + 8:.1f}" y="{middle:g}"{weight}>{value}{note}</text>',
    ]


def draw_floor(x: float, y: float, length: float) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{length:.1f}" height="{BAR}" rx="3" fill="url(#floor)"/>'


def legend(y: float, floor: float | None) -> list[str]:
    parts = [text(WIDTH - 16, y, "median wall time, shorter is better", 'font-size="12"', "end")]
    if floor is not None:
        colour = COLOURS["minirunc"]
        words = f"a bare Python interpreter: {floor:.1f} ms of every minirunc command"
        parts += [
            f'<rect x="{LEFT}" y="{y - 11:g}" width="26" height="13" rx="3" fill="{colour}"/>',
            f'<rect x="{LEFT}" y="{y - 11:g}" width="26" height="13" rx="3" fill="url(#floor)"/>',
            text(LEFT + 34, y, words, 'font-size="12"'),
        ]
    return parts


def draw(results: Results, notes: Sequence[str] = ()) -> str:
    """The whole document; groups without a bar are left out, `notes` stand below all."""
    groups = [(case, bars_of(results, case)) for case in GROUPS]
    groups = [(case, bars) for case, bars in groups if bars]
    longest = max((bar.value for _, bars in groups for bar in bars), default=1.0)
    floor = floor_of(results)
    y = 8.0
    parts: list[str] = []
    for case, bars in groups:
        parts.append(text(LEFT, y + 14, CASES[case], 'font-size="15" font-weight="600"'))
        y += HEAD
        for bar in bars:
            own = (floor or 0.0) * COMMANDS[case] if bar.label == "minirunc" else 0.0
            parts += draw_bar(bar, y, SPAN / longest, own)
            y += STEP
        y += GAP - (STEP - BAR)
    y += 14
    parts += legend(y, floor)
    for note in notes:
        y += 18
        parts.append(text(LEFT, y, note, 'font-size="12"'))
    return document(parts, y + 16)


def document(parts: list[str], height: float) -> str:
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" font-family="{FONT}" font-size="13" fill="{INK}">'
    )
    title = "<title>Median wall time of minirunc, runc and crun</title>"
    hatch = (
        '<pattern id="floor" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<rect width="2.2" height="6" fill="#fff" fill-opacity="0.45"/></pattern>'
    )
    return "\n".join([root, title, f"<defs>{hatch}</defs>", *parts, "</svg>", ""])
