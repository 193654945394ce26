"""The results in words: an aligned table, and whether the targets are reached."""

from dataclasses import dataclass

from . import memory
from .stats import CASES, METRICS, Results, median, ratio, summary

PEERS = ("runc", "crun")
HEADINGS = {"wall": "wall ms", "cpu": "cpu ms", "peak": "peak MiB"}
NOTHING = "-"


@dataclass(frozen=True)
class Target:
    """At most `limit` of what runc takes for `against`."""

    case: str
    metric: str
    limit: float
    against: str


TARGETS = (
    Target("run", "wall", 0.80, "run"),
    Target("exec", "wall", 0.75, "exec"),
    Target("state", "wall", 1.80, "state"),
    Target("run", "cpu", 1.00, "run"),
    Target("warm", "wall", 0.15, "exec"),
)


def rows_of(results: Results, case: str) -> list[str]:
    """Who was measured in a case, in the order in which they entered."""
    return [name for found, name in results if found == case and results[found, name].wall]


def base_of(case: str) -> str | None:
    """What a case is held against: peers have no library, so a warm exec against their command."""
    return {"warm": "exec", "bare": None}.get(case, case)


def _number(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def row(results: Results, case: str, name: str) -> list[str]:
    spread = summary(results[case, name].wall)
    cells = [f"  {name}"]
    for metric in METRICS:
        own = median(results, case, name, metric)
        cells.append(_number(own, 1 if metric == "peak" else 2))
        if metric == "wall":
            cells.append(f"{spread['p25']:.2f}-{spread['p75']:.2f}")
        base = base_of(case)
        # the warm process holds far more than one call: its memory is no answer to a command's
        comparable = base is not None and not (case == "warm" and metric == "peak")
        for peer in PEERS:
            whole = median(results, base, peer, metric) if base is not None and comparable else None
            cells.append(_number(ratio(own, whole)))
    return cells


def heading() -> list[str]:
    cells = [""]
    for metric in METRICS:
        cells.append(HEADINGS[metric])
        if metric == "wall":
            cells.append("quartiles")
        cells.extend(f"x {peer}" for peer in PEERS)
    return cells


def table(results: Results) -> str:
    """One block a case, one line a runtime, numbers right-aligned."""
    blocks = [(CASES[case], [row(results, case, name) for name in rows_of(results, case)]) for case in CASES]
    blocks = [(title, rows) for title, rows in blocks if rows]
    every = [heading(), *(cells for _, rows in blocks for cells in rows)]
    widths = [max(len(cells[column]) for cells in every) for column in range(len(every[0]))]

    lines = [_aligned(heading(), widths)]
    for title, rows in blocks:
        lines += [title, *(_aligned(cells, widths) for cells in rows)]
    return "\n".join(lines)


def _aligned(cells: list[str], widths: list[int]) -> str:
    numbers = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *numbers]).rstrip()


def _kib(limit: int | None) -> str:
    return f"over {memory.MOST >> 10}" if limit is None else f"{limit >> 10}"


def limit_table(limits: memory.Limits) -> str:
    """One line a case, one column a runtime."""
    names = list(next(iter(limits.values()), {}))
    rows = [["smallest memory limit, KiB", *names]]
    rows += [[memory.CASES[case], *(_kib(found[name]) for name in names)] for case, found in limits.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_aligned(row, widths) for row in rows]
    return "\n".join([*lines, f"by bisection to a page, {memory.TRIES} times of {memory.TRIES}, in User-Mode Linux"])


def limit_notes(limits: memory.Limits) -> list[str]:
    """The same on one line for a chart, of the smallest program alone."""
    words = [f"{name} {_kib(limit)}" for name, limit in limits.get(memory.RUN, {}).items()]
    return [f"smallest memory limit that runs a static true, KiB: {', '.join(words)}"] if words else []


def verdict(results: Results, target: Target) -> tuple[str, float | None]:
    """The target's line, and the share that was found."""
    own = median(results, target.case, "minirunc", target.metric)
    whole = median(results, target.against, "runc", target.metric)
    share = ratio(own, whole)
    what = f"{CASES[target.case]}, {target.metric}"
    against = "" if target.case == target.against else f"'s {target.against}"
    asked = f"at most {target.limit:.2f} of runc{against}"
    if share is None or own is None or whole is None:
        return f"not measured  {what:<30} {asked}", None
    word = "reached" if share <= target.limit else "not reached"
    return f"{word:<12}  {what:<30} {share:.2f} ({own:.2f} of {whole:.2f} ms), {asked}", share


def verdicts(results: Results) -> str:
    return "\n".join(verdict(results, target)[0] for target in TARGETS)
