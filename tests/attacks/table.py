"""The table of attacks that a test run prints: attack, class, defence, result; a line each attack and ground."""

import pytest

from tests.ground.runtime import IN_UML

CLASSES = (
    "links in the image",
    "races for a path",
    "forged /proc",
    "masks and devices",
    "the runtime's program",
    "tracing the runtime",
    "leaked files",
    "rights and ids",
    "cgroups",
    "names and paths",
    "hostile input",
    "Python inside",
)
PROPERTY = "attack"
BAD = ("failed", "error", "skipped")


def attack(name: str, kind: str, defence: str) -> pytest.MarkDecorator:
    """Mark a test as an attack: its CVE or its name, one of CLASSES, and in a few words what stops it."""
    assert kind in CLASSES, kind
    return pytest.mark.attack(name, kind, defence)


def note(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put a test's mark into its report, which may travel to another process."""
    mark = item.get_closest_marker("attack")
    if mark and (report.when == "call" or report.outcome != "passed"):
        report.user_properties.append((PROPERTY, [*mark.args, "UML" if IN_UML else "host"]))


def summary(reporter: pytest.TerminalReporter) -> None:
    """Print the table of what was run."""
    results: dict[tuple[str, ...], str] = {}
    for outcome in ("passed", *reversed(BAD)):  # the worst result of an attack is its result
        for report in reporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    results[tuple(value)] = "held" if outcome == "passed" else outcome.upper()
    if not results:
        return
    rows = [(name, kind, defence, f"{result} ({ground})") for (name, kind, defence, ground), result in results.items()]
    rows.sort(key=lambda row: (CLASSES.index(row[1]), row))
    widths = [max(len(row[column]) for row in [*rows, ("attack", "class", "defence", "")]) for column in range(3)]
    reporter.section("attacks")
    for row in [("attack", "class", "defence", "result"), *rows]:
        line = "  ".join(word.ljust(width) for word, width in zip(row, [*widths, 0], strict=True))
        reporter.line(line.rstrip(), red=row[3].startswith(tuple(bad.upper() for bad in BAD)))
