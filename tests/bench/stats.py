"""Samples and what is said about them: medians, quartiles and ratios."""

import statistics
from dataclasses import dataclass, field

#: What is timed, and its heading in table and chart, in the order of both.
CASES = {
    "run": "run",
    "create": "create + start + delete",
    "exec": "exec",
    "warm": "exec from a warm process",
    "state": "state",
    "bare": "bare interpreter",
}
#: How many commands one measurement of a case starts; the floor of a case is that many interpreters.
COMMANDS = {"run": 1, "create": 3, "exec": 1, "state": 1}
METRICS = ("wall", "cpu", "peak")

BARE_PASS = "python -IS -c pass"
BARE_EXIT = "left by _exit"


@dataclass(frozen=True)
class Sample:
    """One measurement; adding two gives the cost of doing one after the other."""

    wall: float = 0.0  # ms
    cpu: float = 0.0  # ms, user and system, of the runtime and the children it reaped
    peak: float = 0.0  # MiB, the largest resident set among them

    def __add__(self, other: "Sample") -> "Sample":
        return Sample(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


@dataclass
class Cell:
    """All samples of one case and one runtime."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)

    def add_times(self, sample: Sample) -> None:
        self.wall.append(sample.wall)
        self.cpu.append(sample.cpu)

    def add_peak(self, sample: Sample) -> None:
        self.peak.append(sample.peak)

    def samples(self, metric: str) -> list[float]:
        return {"wall": self.wall, "cpu": self.cpu, "peak": self.peak}[metric]


#: (case, runtime) to its samples.
Results = dict[tuple[str, str], Cell]


def median(results: Results, case: str, name: str, metric: str = "wall") -> float | None:
    """The median, or None where nothing was measured."""
    cell = results.get((case, name))
    if cell is None or not cell.samples(metric):
        return None
    return statistics.median(cell.samples(metric))


def ratio(part: float | None, whole: float | None) -> float | None:
    """`part` as a share of `whole`, or None where either is missing."""
    if part is None or not whole:
        return None
    return part / whole


def summary(samples: list[float]) -> dict[str, float]:
    """Median, quartiles and minimum; empty where nothing was measured."""
    if not samples:
        return {}
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return {"median": middle, "p25": low, "p75": high, "min": min(samples), "n": float(len(samples))}


def order(names: list[str], turn: int) -> list[str]:
    """The names in the order of this round: rotated every second round and mirrored in between.

    With three names all six orders come up, so that nobody always follows the same neighbour.
    """
    if not names:
        return []
    first = turn // 2 % len(names)
    rotated = names[first:] + names[:first]
    return rotated[::-1] if turn % 2 else rotated
