"""`--profile`: where minirunc's own time goes, from the bare interpreter to the single lines of a birth."""

import os
import statistics
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from .cases import Bundles, Runtime, start_target
from .ground import REPO
from .spawn import ENVIRONMENT, Failed, Spawner
from .stats import order

GROUND = "import sys, os, posix, errno, ctypes, struct, _json, _socket, select, fcntl, resource, _signal, time"
TRACER = Path(__file__).with_name("tracer.py")
FOLLOWED = "/minirunc/commands/,/minirunc/container/birth.py,/minirunc/container/enter.py"
TRACED_RUNS = 15
WORTH_SHOWING_MS = 0.05


def show(runtime: Runtime, spec_by: str, rounds: int, spawner: Spawner, stack: ExitStack) -> int:
    """Print the steps up to a whole run, then the imports and the lines of `run` and of `exec`."""
    true, sleep, difference = Bundles(spec_by, runtime.work).fitting(runtime, spawner)
    print(difference, end="\n" if difference else "")
    stack.callback(runtime.clear, spawner.times, runtime.short_lived)
    words = {
        "run": runtime.command("run", "--bundle", str(true), runtime.short_lived),
        "exec": runtime.command("exec", runtime.long_lived, "/bin/true"),
        "state": runtime.command("state", runtime.long_lived),
    }
    try:
        start_target(runtime, sleep, spawner, stack)
        print("\nsteps, each by itself (medians)\n" + steps(runtime, words, rounds, spawner))
        for command in ("run", "exec"):
            print(f"\nimports of `{command}` (-X importtime, which slows them)")
            print(imports(runtime.python, words[command]))
            print(f"\nlines of `{command}` (traced, which slows them; calls included)")
            print(lines(runtime, words[command][1:]))
    except Failed as error:
        print(f"not measured: {error}")
        return 1
    return 0


def steps(runtime: Runtime, words: dict[str, list[str]], rounds: int, spawner: Spawner) -> str:
    """The same start cut off at later and later points, interleaved."""
    start = [runtime.python, "-I", "-S", "-c"]
    points = {
        "bare interpreter": [*start, "pass"],
        "bare interpreter left by _exit": [*start, "import posix; posix._exit(0)"],
        "  with the ground imports": [*start, f"{GROUND}; os._exit(0)"],
        "minirunc --version": [runtime.program, "--version"],
        "minirunc state": words["state"],
        "minirunc exec": words["exec"],
        "minirunc run": words["run"],
    }
    found: dict[str, list[float]] = {name: [] for name in points}
    for turn in range(rounds):
        for name in order(list(points), turn):
            found[name].append(spawner.times(points[name]).wall)
    return "\n".join(f"  {name:<36}{statistics.median(samples):8.2f} ms" for name, samples in found.items())


def imports(python: str, command: list[str]) -> str:
    """Every module of one command and its own time, the slowest first; the median of a few runs."""
    own: dict[str, list[float]] = {}
    for _ in range(TRACED_RUNS):
        done = subprocess.run(
            [python, "-I", "-S", "-X", "importtime", *command],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {done.stderr.splitlines()[-1:]}")
        for module, ms in read_importtime(done.stderr):
            own.setdefault(module, []).append(ms)
    medians = {module: statistics.median(samples) for module, samples in own.items()}
    slow = sorted((item for item in medians.items() if item[1] >= 2 * WORTH_SHOWING_MS), key=lambda item: -item[1])
    rows = [f"  {module:<36}{ms:8.2f} ms" for module, ms in slow]
    ours = sum(ms for module, ms in medians.items() if module.startswith("minirunc"))
    rows.append(f"  {f'all {len(medians)} modules':<36}{sum(medians.values()):8.2f} ms, minirunc's own {ours:.2f}")
    return "\n".join(rows)


def read_importtime(text: str) -> list[tuple[str, float]]:
    """Module and own time in ms, from lines `import time: self [us] | cumulative | module`."""
    found = []
    for line in text.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if line.startswith("import time:") and own.strip().isdigit():
            found.append((rest.rpartition("|")[2].strip(), int(own) / 1000))
    return found


def lines(runtime: Runtime, arguments: list[str]) -> str:
    """The source lines that take time, in the order of the source, with their median."""
    out = runtime.work / "lines"
    tracer = [runtime.python, "-I", "-S", str(TRACER), str(REPO), str(out), FOLLOWED, *arguments]
    spent: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(TRACED_RUNS):
        done = subprocess.run(tracer, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{' '.join(arguments)}: {done.stderr.splitlines()[-1:]}")
        for row in out.read_text().splitlines():
            file, function, number, ms = row.split("\t")
            spent.setdefault((file, function, int(number)), []).append(float(ms))
    return format_lines({key: statistics.median(samples) for key, samples in spent.items()}, read_source)


def read_source(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def format_lines(medians: dict[tuple[str, str, int], float], source_of: Callable[[str], list[str]]) -> str:
    """One heading a function, one row a line worth showing."""
    rows: list[str] = []
    heading = ""
    for file, function, number in sorted(medians, key=lambda key: (key[0], key[2])):
        ms = medians[file, function, number]
        if ms < WORTH_SHOWING_MS:
            continue
        title = f"  {os.path.relpath(file, REPO)}: {function}"
        if title != heading:
            rows.append(title)
            heading = title
        rows.append(f"{ms:10.2f} ms  {source_of(file)[number - 1].strip()[:90]}")
    return "\n".join(rows) or "  nothing"
