"""The benchmark's pure parts: statistics, table, targets, chart, and what the profile reads."""

import xml.etree.ElementTree as ET

import pytest

from tests.bench import chart, memory, phases, report
from tests.bench.stats import (
    BARE_EXIT,
    BARE_PASS,
    CASES,
    Cell,
    Results,
    Sample,
    median,
    order,
    ratio,
    summary,
)

PAGES = ("#ffffff", "#0d1117")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def results() -> Results:
    """minirunc needs half of runc's time and crun a quarter; the warm exec a tenth."""
    found: Results = {}
    for case, wall in (("run", 20.0), ("create", 40.0), ("exec", 16.0), ("state", 4.0)):
        for name, share in (("minirunc", 0.5), ("runc", 1.0), ("crun", 0.25)):
            found[case, name] = Cell([wall * share] * 3, [wall * share / 2] * 3, [8.0])
    found["warm", "minirunc"] = Cell([1.6], [0.8], [20.0])
    found["bare", BARE_PASS] = Cell([7.0], [6.0], [7.5])
    found["bare", BARE_EXIT] = Cell([6.0], [5.0], [7.5])
    return found


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_adding_samples_adds_times_and_keeps_the_highest_peak() -> None:
    assert Sample(1, 2, 9) + Sample(3, 4, 5) == Sample(4, 6, 9)


def test_median_of_nothing_is_none() -> None:
    assert median({}, "run", "runc") is None
    assert median({("run", "runc"): Cell()}, "run", "runc") is None
    assert ratio(None, 1.0) is None
    assert ratio(1.0, None) is None
    assert ratio(1.0, 0.0) is None


def test_summary_has_median_and_quartiles() -> None:
    assert summary([4.0, 1.0, 2.0, 3.0, 5.0]) == {"median": 3, "p25": 2, "p75": 4, "min": 1, "n": 5}
    assert summary([2.0]) == {"median": 2, "p25": 2, "p75": 2, "min": 2, "n": 1}
    assert summary([]) == {}


def test_six_rounds_have_all_orders_of_three() -> None:
    assert len({tuple(order(["a", "b", "c"], turn)) for turn in range(6)}) == 6
    assert order([], 3) == []


def test_table_is_aligned_and_has_ratios_to_both_peers(results: Results) -> None:
    lines = report.table(results).splitlines()
    assert len({len(line) for line in lines if line.startswith("  ")} | {len(lines[0])}) == 1
    after = {title: " ".join(lines[lines.index(title) + 1].split()) for title in CASES.values()}
    assert after["run"] == "minirunc 10.00 10.00-10.00 0.50 2.00 5.00 0.50 2.00 8.0 1.00 1.00"
    # against the peers' command, and a whole warm process' memory against nothing
    assert after["exec from a warm process"] == "minirunc 1.60 1.60-1.60 0.10 0.40 0.80 0.10 0.40 20.0 - -"


def test_case_without_samples_is_left_out_of_the_table() -> None:
    lines = report.table({("run", "runc"): Cell([1.0], [1.0], []), ("exec", "runc"): Cell()}).splitlines()
    assert lines[1:] == [
        "run",
        "  runc     1.00  1.00-1.00    1.00       -    1.00    1.00       -         -       -       -",
    ]


def test_targets_are_reached_or_not(results: Results) -> None:
    results["exec", "minirunc"] = Cell([12.5], [5.0], [8.0])
    assert report.verdicts(results).splitlines() == [
        "reached       run, wall                      0.50 (10.00 of 20.00 ms), at most 0.80 of runc",
        "not reached   exec, wall                     0.78 (12.50 of 16.00 ms), at most 0.75 of runc",
        "reached       state, wall                    0.50 (2.00 of 4.00 ms), at most 1.80 of runc",
        "reached       run, cpu                       0.50 (5.00 of 10.00 ms), at most 1.00 of runc",
        "reached       exec from a warm process, wall 0.10 (1.60 of 16.00 ms), at most 0.15 of runc's exec",
    ]


def test_target_without_figures_is_not_measured(results: Results) -> None:
    del results["warm", "minirunc"]
    assert report.verdicts(results).splitlines()[-1].startswith("not measured  exec from a warm process, wall")


def test_chart_is_well_formed_and_labels_every_median(results: Results) -> None:
    root = ET.fromstring(chart.draw(results, ["a < b & c"]))
    words = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert root.findtext(f"{SVG}title") == "Median wall time of minirunc, runc and crun"
    assert {"run", "create + start + delete", "exec", "state", "minirunc, warm", "a < b & c"} <= set(words)
    assert words.count("minirunc") == words.count("runc") == words.count("crun") == 4
    assert {"10.0 ms0.50 of runc", "20.0 ms", "5.0 ms", "1.6 ms0.10 of runc"} <= set(words)
    assert "a bare Python interpreter: 6.0 ms of every minirunc command" in words


def test_chart_marks_three_interpreters_in_three_commands(results: Results) -> None:
    root = ET.fromstring(chart.draw(results))
    hatched = [float(rect.get("width", "0")) for rect in root.iter(f"{SVG}rect") if rect.get("fill") == "url(#floor)"]
    run, create, *_ = hatched
    assert create == pytest.approx(3 * run, abs=0.2)


def test_chart_of_nothing_is_well_formed() -> None:
    ET.fromstring(chart.draw({}))


def test_colours_can_be_read_on_light_and_dark() -> None:
    for page in PAGES:
        assert contrast(chart.INK, page) >= 4
        assert all(contrast(colour, page) >= 3 for colour in (*chart.COLOURS.values(), chart.OTHER))


def test_importtime_is_read() -> None:
    text = [
        "import time: self [us] | cumulative | imported package",
        "import time:   1500 |   2000 |   _json",
        "x",
    ]
    assert phases.read_importtime("\n".join(text)) == [("_json", 1.5)]


def test_lines_are_shown_with_their_source_below_their_function() -> None:
    medians = {("/x/birth.py", "create", 2): 1.25, ("/x/birth.py", "create", 1): 0.01}
    shown = phases.format_lines(medians, lambda file: ["first()", "    second()"])
    assert shown.splitlines()[1:] == ["      1.25 ms  second()"]
    assert shown.splitlines()[0].endswith("birth.py: create")


@pytest.mark.parametrize(
    ("needed", "found"), [(4, 4), (20, 20), (64, 64), (84, 84), (85, 88), (1000, 1000), (1001, None)]
)
def test_least_limit_is_found_to_a_step(needed: int, found: int | None) -> None:
    """Above and below where the search begins; None where the most is not enough."""
    asked: list[int] = []

    def works(limit: int) -> bool:
        asked.append(limit)
        return limit >= needed

    assert memory.least(works, 64, 1000, 4) == found
    assert len(asked) == len(set(asked)) <= 15


def test_least_limits_are_a_table_and_a_line() -> None:
    limits: memory.Limits = {
        memory.RUN: {"minirunc": 84 << 10, "crun": 1 << 20},
        memory.EXEC: {"minirunc": 104 << 10, "crun": None},
    }
    assert report.limit_table(limits).splitlines() == [
        "smallest memory limit, KiB                  minirunc        crun",
        "run, a static true of 129 bytes                   84        1024",
        "exec of the first, beside a pause as small       104  over 65536",
        "by bisection to a page, 5 times of 5, in User-Mode Linux",
    ]
    words = "smallest memory limit that runs a static true, KiB: minirunc 84, crun 1024"
    assert report.limit_notes(limits) == [words]
    assert report.limit_notes({}) == []
