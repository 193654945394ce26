"""`python -m tests.bench`: time minirunc, runc and crun, find the memory they need; print tables, draw the chart."""

import argparse
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from . import chart, ground, memory, phases, report
from .cases import Field, Runtime, line_up
from .ground import NoGround, say
from .spawn import Failed, Spawner, become_subreaper
from .stats import CASES, METRICS, Cell, Results, order, summary

CHART = Path(__file__).with_name("chart.svg")
MINIRUNC = ground.REPO / ".venv/bin/minirunc"
WARM_UP = 5
TIMES, MEMORY = "times", "memory"
LEAST_ROUNDS = 40  # fewer do not make a chart worth showing
PEAK_EVERY = 8  # memory hardly varies: one round in so many measures it instead of time


class Progress:
    """One line on a terminal that says how far it is; nothing elsewhere."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.shown = sys.stderr.isatty()

    def at(self, turn: int, case: str, name: str) -> None:
        if self.shown:
            where = "warm-up" if turn < 0 else f"round {turn + 1} of {self.rounds}"
            print(f"\r\x1b[K{where}: {CASES[case]}, {name}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=[TIMES, MEMORY], help="only the times, only the smallest memory limits"
    )
    parser.add_argument("--rounds", type=int, default=60, help=f"rounds after {WARM_UP} of warm-up (60)")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PATH", help="add or replace a runtime")
    parser.add_argument("--only", action="append", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample and the summaries there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the chart there, however little was measured")
    parser.add_argument("--python", default="", metavar="PATH", help="the interpreter of the bare and warm rows")
    parser.add_argument("--profile", action="store_true", help="show where minirunc's own time goes instead")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds: at least 1")
    if any("=" not in pair for pair in chosen.runtime):
        parser.error("--runtime: NAME=PATH")
    if chosen.only or chosen.profile:
        if chosen.part == MEMORY:
            parser.error("--only and --profile are of the times")
        chosen.part = TIMES
    return chosen


def programs(pairs: list[str]) -> dict[str, str]:
    """Runtime to program: minirunc of this checkout, Debian's peers, and what the command line says."""
    named = {"minirunc": str(MINIRUNC), "runc": ground.find("runc") or "", "crun": ground.find("crun") or ""}
    named |= dict(pair.split("=", 1) for pair in pairs)
    found = {name: os.path.abspath(path) for name, path in named.items() if path and os.access(path, os.X_OK)}
    for name in named.keys() - found.keys():
        say(f"{name}: no program at {named[name] or 'any place'}: going on without it")
    return found


def interpreter(chosen: str, minirunc: str) -> str:
    """The python that minirunc's launcher starts, as far as its first line tells; else this one."""
    if chosen:
        return chosen
    try:
        with open(minirunc, "rb") as launcher:
            first = launcher.readline(256).decode(errors="replace")
    except OSError:
        first = ""
    if first.startswith("#!") and "python" in first.split()[0]:
        return os.path.realpath(first[2:].split()[0])
    return os.path.realpath(sys.executable)


def take_turns(field: Field, rounds: int, spawner: Spawner) -> tuple[Results, list[str]]:
    """All cases and all runtimes in every round; who fails is dropped from that case, with its words."""
    results: Results = {(case, name): Cell() for case in field for name in field[case]}
    problems: list[str] = []
    progress = Progress(rounds)
    for turn in range(-WARM_UP, rounds):
        kinds = ["times", "peak"] if turn >= 0 and turn % PEAK_EVERY == 0 else ["times"]
        for kind in kinds:
            for case in field:
                for name in order(list(field[case]), turn + WARM_UP):
                    progress.at(turn, case, name)
                    try:
                        sample = field[case][name](spawner.times if kind == "times" else spawner.small)
                    except Failed as error:
                        del field[case][name], results[case, name]
                        problems.append(f"{CASES[case]}, {name}: {error}")
                        continue
                    if turn >= 0:
                        cell = results[case, name]
                        (cell.add_times if kind == "times" else cell.add_peak)(sample)
    progress.clear()
    return results, problems


def header(runtimes: list[Runtime], chosen: argparse.Namespace) -> str:
    load = os.getloadavg()[0]
    lines = [f"{runtime.name:<10} {runtime.version()}  {runtime.program}" for runtime in runtimes]
    lines.append(f"{'python':<10} {runtimes[0].python}")
    system = os.uname()
    lines.append(f"{'machine':<10} {system.sysname} {system.release}, {os.cpu_count()} CPUs, load {load:.2f}")
    if chosen.part != MEMORY:
        lines.append(f"{'rounds':<10} {chosen.rounds} after {WARM_UP} of warm-up, all interleaved; medians")
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Write a file that is its directory's owner's: root leaves nothing of its own in a checkout."""
    path.write_text(text)
    owner = path.absolute().parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def write_json(path: Path, results: Results, limits: memory.Limits, about: list[str]) -> None:
    cases: dict[str, dict[str, object]] = {case: {} for case, _ in results}
    for (case, name), cell in results.items():
        cases[case][name] = {
            metric: {**summary(cell.samples(metric)), "samples": cell.samples(metric)} for metric in METRICS
        }
    targets = [
        {
            "case": target.case,
            "metric": target.metric,
            "limit": target.limit,
            "found": report.verdict(results, target)[1],
        }
        for target in report.TARGETS
    ]
    units = {"wall": "ms", "cpu": "ms", "peak": "MiB", "limits": "bytes"}
    write(path, json.dumps({"about": about, "units": units, "cases": cases, "targets": targets, "limits": limits}))


def draw(chosen: argparse.Namespace, results: Results, notes: list[str]) -> None:
    """The README's chart only from a whole run of the real ones; a named file always."""
    if chosen.chart:
        write(chosen.chart, chart.draw(results, notes))
        say(f"chart: {chosen.chart}")
        return
    complete = {(case, name) for case in chart.GROUPS for name in ("minirunc", "runc", "crun")} <= results.keys()
    if not complete or chosen.runtime or chosen.rounds < LEAST_ROUNDS:
        say(f"chart not drawn: that takes all cases and runtimes and {LEAST_ROUNDS} rounds, or --chart FILE")
        return
    write(CHART, chart.draw(results, notes))
    say(f"chart: {CHART.relative_to(ground.REPO)}")


def measure(chosen: argparse.Namespace, work: Path, stack: ExitStack) -> int:
    named = programs(chosen.runtime)
    if not named:
        raise NoGround("no runtime to time")
    python = interpreter(chosen.python, named.get("minirunc", ""))
    runtimes = [Runtime(name, program, python, work) for name, program in named.items()]
    become_subreaper()
    busybox = ground.find("busybox")
    if busybox is None:
        raise NoGround("no busybox for the rootfs")
    spawner = Spawner(busybox, str(work / "errors"))
    about = header(runtimes, chosen)
    print(about, flush=True)
    if chosen.profile:
        if runtimes[0].name != "minirunc":
            raise NoGround("--profile is of minirunc, which is not there")
        return phases.show(runtimes[0], named.get("runc", runtimes[0].program), chosen.rounds, spawner, stack)
    results: Results = {}
    notes: list[str] = []
    if chosen.part != MEMORY:
        results, notes = times(chosen, runtimes, spawner, stack)
    limits: memory.Limits = {}
    if chosen.part != TIMES:
        limits = limits_of(named, work)
    if chosen.json:
        write_json(chosen.json, results, limits, about.splitlines() + notes)
    if chosen.part != MEMORY:
        draw(chosen, results, notes + report.limit_notes(limits))
    return 0


def times(
    chosen: argparse.Namespace, runtimes: list[Runtime], spawner: Spawner, stack: ExitStack
) -> tuple[Results, list[str]]:
    """Measure and print; also the remarks that belong below the chart."""
    cases = [case for case in CASES if not chosen.only or case in chosen.only]
    field, differences, early = line_up(runtimes, cases, spawner, stack)
    results, late = take_turns(field, chosen.rounds, spawner)
    print(f"\n{report.table(results)}\n")
    for line in [*differences, *(f"not measured: {problem}" for problem in early + late)]:
        print(line)
    print(report.verdicts(results), flush=True)
    return results, differences


def limits_of(named: dict[str, str], work: Path) -> memory.Limits:
    """Measure and print; nothing where there is no other kernel."""
    say("looking for the smallest memory limits in User-Mode Linux: some minutes")
    try:
        limits = memory.measure(named, work)
    except NoGround as error:
        print(f"\nnot measured: {error}")
        return {}
    print(f"\n{report.limit_table(limits)}")
    return limits


def main() -> int:
    chosen = arguments()
    try:
        if ground.OUTSIDE not in os.environ:
            ground.install_missing(list(ground.PACKAGES))
        ground.enter(sys.argv[1:])
        # kill and a closed terminal leave through the clean-up, as Ctrl-C does
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        with ExitStack() as stack:
            work = ground.prepare()
            stack.callback(ground.clean, work)
            return measure(chosen, work, stack)
    except NoGround as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
