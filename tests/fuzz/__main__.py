"""Drives the targets by atheris (libFuzzer, guided by coverage).

    python -m tests.fuzz [--seconds N] [--seed S] [TARGET...]   each target in turn, in rounds, as long as is said
    python -m tests.fuzz --one TARGET -- LIBFUZZER-OPTIONS      one target in this process
    python -m tests.fuzz --keep [TARGET...]                     add to the kept corpus what was found

What is new goes to .cache/fuzz/<target>/, inputs of findings to .cache/fuzz/findings/. Exits with 1 if there are any.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
WORK = TOP / ".cache/fuzz"
SLOW_S = 1.0  # of CPU time, as other things run here, too
MEMORY_MIB = 512
KEPT_BYTES = 4096  # of one file of the kept corpus
ROOM = 16 * 1024  # bytes of a target's kept corpus
FILES = 40  # about so many of them
ROUND_S = 60
START_S = 1.5  # of a process


def timed(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The target, for which slowness is a finding, too."""

    def measured(data: bytes) -> None:
        begin = time.process_time()
        run(data)
        took = time.process_time() - begin
        assert took < SLOW_S, f"took {took:.1f} s"

    return measured


def one(name: str, options: list[str]) -> None:
    """Fuzz in this process; ends it."""
    import atheris

    with atheris.instrument_imports(include=["minirunc"]):
        from tests.fuzz.targets import TARGETS
    again = f"{sys.executable} -m tests.fuzz --one {name} --"  # what libFuzzer calls itself by to merge, in a shell
    atheris.Setup([again, *options], timed(TARGETS[name]))
    atheris.Fuzz()


def started(name: str, seconds: float, seed: int, work: Path) -> tuple[int, int, str]:
    """Fuzz in a process of its own, its start included: executions, exit status, and what it said."""
    own, findings = work / name, work / "findings"
    own.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    kept = CORPUS / name
    command = [
        *(sys.executable, "-m", "tests.fuzz", "--one", name, "--"),
        *(str(own), *([str(kept)] if kept.is_dir() else [])),
        *(f"-max_total_time={max(1, int(seconds - START_S))}", f"-seed={seed}", f"-rss_limit_mb={MEMORY_MIB}"),
        *("-timeout=30", "-max_len=8192", "-print_final_stats=1", f"-artifact_prefix={findings}/{name}-"),
    ]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", said) or re.search(r"Done (\d+) runs", said)
    runs = int(count[1]) if count else max([int(n) for n in re.findall(r"^#(\d+)", said, re.MULTILINE)], default=0)
    return runs, done.returncode, said


def campaign(names: list[str], seconds: float, seed: int) -> int:
    """All the targets in rounds until the time is over; how many runs found something."""
    end = time.monotonic() + seconds
    total = dict.fromkeys(names, 0)
    found = 0
    while (left := end - time.monotonic()) > START_S * len(names):
        share = min(ROUND_S, left / len(names))
        for name in names:
            runs, status, said = started(name, share, seed, WORK)
            total[name] += runs
            seed += 1
            if status:
                found += 1
                told = said.partition("Uncaught Python exception")
                print(f"--- {name}, seed {seed - 1}: status {status}\n{(told[2] or said)[-3000:]}", flush=True)
        print(f"{time.strftime('%T')} {sum(total.values())} executions, {found} findings: {total}", flush=True)
    return found


def keep(names: list[str]) -> None:
    """Add to the kept corpus what reaches more of the code than it does, as far as there is room."""
    for name in names:
        kept, own, merged = CORPUS / name, WORK / name, WORK / f"{name}.merged"
        shutil.rmtree(merged, ignore_errors=True)
        shutil.copytree(kept, merged)
        options = ["-merge=1", f"-max_len={KEPT_BYTES}", f"-artifact_prefix={WORK}/", str(merged), str(own)]
        subprocess.run([sys.executable, "-m", "tests.fuzz", "--one", name, "--", *options], cwd=TOP, check=True)
        new = sorted(merged.iterdir(), key=lambda path: path.stat().st_size)
        room = ROOM - sum(path.stat().st_size for path in kept.iterdir())
        for path in new[:: max(1, len(new) // FILES)]:  # of all sizes
            copy = kept / path.name[:12]
            if not copy.exists() and not (kept / path.name).exists() and (room := room - path.stat().st_size) >= 0:
                shutil.copyfile(path, copy)
        print(name, len(list(kept.iterdir())), "files")


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1, 2**31))
    parser.add_argument("--one", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("targets", nargs="*")
    own, rest = sys.argv[1:], []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    asked = parser.parse_args(own)
    if asked.one:
        one(asked.targets[0], rest)
        return 0
    from tests.fuzz.targets import TARGETS

    names = asked.targets or list(TARGETS)
    if asked.keep:
        keep(names)
        return 0
    print(f"seed {asked.seed}", flush=True)
    found = campaign(names, asked.seconds, asked.seed)
    if found:
        print(f"{found} findings: {WORK}/findings")
    return 1 if found else 0


if __name__ == "__main__":
    os.environ.pop("XDG_RUNTIME_DIR", None)
    sys.exit(main())
