"""An engine with runc and with minirunc, side by side: what its user sees of each call must be the same.

A scene is a function that calls an engine a few times, as a user does. It is played on two engines at once, which
differ by one line of their configuration. What may differ by its nature (ids, times, the runtime's own name) is
blotted out.
"""

import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol

import pytest

PROPERTY = "compared"
ONCE = "differed once"
PATIENCE_S = 120
WIDTH = 60  # of a column of the table
BLOTS = (
    (r"\bminirunc\b", "runc"),
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"\b[0-9a-f]{12}\b", "ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d)?( UTC)?", "TIME"),
    (r"\r\n", "\n"),
)


class Engine(Protocol):
    """An engine that runs: Docker, Podman or containerd, with one of the runtimes."""

    runtime: str  # runc, minirunc

    def argv(self, words: Sequence[str]) -> list[str]:
        """The whole command line of a call."""

    def clean(self, again: bool) -> None:
        """Remove all containers; `again`: their scene is played once more."""


class Seen(NamedTuple):
    """What the user saw of one call."""

    call: str
    status: int
    output: str


class Stage:
    """What a scene plays on: `do("run", "box", "true")` calls the engine, and what is seen is kept to be compared."""

    def __init__(self, engine: Engine, blots: Sequence[tuple[str, str]] = ()) -> None:
        self.engine = engine
        self.seen: list[Seen] = []
        self._blots = [*BLOTS, *blots]

    def __call__(self, *words: str, input: str | None = None) -> str:
        """Call it, wait, keep exit status and output (both streams in one); the output, nothing blotted out."""
        result = self._call(words, input)
        self.keep(words, result.returncode, result.stdout)
        return result.stdout

    def quietly(self, *words: str) -> str:
        """Call it for what must succeed and need not be the same."""
        result = self._call(words, None)
        assert result.returncode == 0, f"{shlex.join(words)}: {result.stdout}"
        return result.stdout

    def terminal(self, *words: str, keys: str = "", prompt: str = "") -> str:
        """Call it on a terminal of 24 rows and 80 columns, press the keys; kept are exit status and what was shown.

        With a prompt, the keys wait until it is shown.
        """
        master, slave = os.openpty()
        sized = ("sh", "-c", 'stty rows 24 cols 80; exec "$@"', "sh")
        argv = ["setsid", "--ctty", "--wait", *sized, *self.engine.argv(words)]
        shown = bytearray()
        with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave) as process:
            os.close(slave)
            reader = threading.Thread(target=_drain, args=(master, shown))
            reader.start()
            end = time.monotonic() + PATIENCE_S
            while prompt.encode() not in shown and process.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
            os.write(master, keys.encode())
            status = process.wait(PATIENCE_S)
            reader.join(PATIENCE_S)
        os.close(master)
        self.keep(words, status, shown.decode(errors="replace"))
        return shown.decode(errors="replace")

    def until(self, wanted: str, *words: str) -> None:
        """Call it again and again until its output matches the pattern; that it came to it is kept."""
        end = time.monotonic() + PATIENCE_S
        while not re.search(wanted, output := self._call(words, None).stdout):
            assert time.monotonic() < end, f"{shlex.join(words)}: not {wanted!r} within {PATIENCE_S} s, but {output}"
            time.sleep(0.2)
        self.keep(words, 0, f"(until it matches {wanted})")

    def keep(self, words: Sequence[str], status: int, output: str) -> None:
        """Have this compared, as if it were a call's."""
        call = shlex.join(words)
        for pattern, blot in self._blots:
            call, output = re.sub(pattern, blot, call), re.sub(pattern, blot, output)
        self.seen.append(Seen(call, status, output.strip()))

    def _call(self, words: Sequence[str], input: str | None) -> subprocess.CompletedProcess[str]:
        stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run(
            self.engine.argv(words),
            **stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )


Scene = Callable[[Stage], None]


def play(scene: Scene, engines: Sequence[Engine], blots: Sequence[tuple[str, str]] = ()) -> list[list[Seen]]:
    """Play it on both engines at once: what was seen on each."""
    stages = [Stage(engine, blots) for engine in engines]
    with ThreadPoolExecutor() as pool:
        list(pool.map(scene, stages))
    return [stage.seen for stage in stages]


def compare(
    request: pytest.FixtureRequest,
    scene: Scene,
    engines: Sequence[Engine],
    where: str,
    blots: Sequence[tuple[str, str]] = (),
) -> None:
    """Play a scene; what was seen goes into the table, and must be equal. `where`: the engine, the cgroup driver.

    Engines have races of their own (which stream is read first, whether an OOM is told before the end), so what differs
    is played once more: a difference is what is seen twice.
    """
    same = "the same"
    try:
        theirs, ours = play(scene, engines, blots)
        if theirs != ours:
            same = "the same, the second time"
            request.node.user_properties.append((ONCE, "\n".join(_difference(theirs, ours))))
            for engine in engines:
                engine.clean(again=True)
            theirs, ours = play(scene, engines, blots)
    finally:
        for engine in engines:
            engine.clean(again=False)
    assert theirs, "nothing was seen"
    nothing = Seen("", -1, "")
    for one, other in zip_longest(theirs, ours, fillvalue=nothing):
        row = [where, scene.__name__, one.call, _short(one), same if one == other else _short(other), one == other]
        request.node.user_properties.append((PROPERTY, row))
    assert ours == theirs, "\n".join(_difference(theirs, ours))


def summary(reporter: pytest.TerminalReporter) -> None:
    """Print the table of what was compared, a line a call; and what differed the first time only."""
    rows: dict[str, list[list[Any]]] = {}
    once: list[tuple[str, str]] = []
    for report in [*reporter.stats.get("passed", []), *reporter.stats.get("failed", [])]:
        if getattr(report, "when", "") == "call":
            for name, value in report.user_properties:
                if name == PROPERTY:
                    rows.setdefault(value[0], []).append(value[1:])
                elif name == ONCE:
                    once.append((report.nodeid, value))
    for test, difference in once:
        reporter.section(f"{test}: differed once")
        reporter.line(difference)
    for where, found in sorted(rows.items()):
        reporter.section(f"{where}: runc | minirunc")
        for scene, call, one, other, same in found:
            asked = " ".join(call.split())[:WIDTH]
            line = f"{scene[:24]:24}  {asked:{WIDTH}}  {one:{WIDTH}}  {other}"
            reporter.line(line.rstrip(), red=not same)


def _short(seen: Seen) -> str:
    """A column of the table: the exit status and the end of the output."""
    text = " / ".join(line.strip() for line in seen.output.splitlines() if line.strip())
    if len(text) > WIDTH - 5:
        text = "..." + text[-(WIDTH - 8) :]
    return f"{seen.status:3}: {text}"


def _difference(theirs: Sequence[Seen], ours: Sequence[Seen]) -> Iterator[str]:
    """What pytest is to show: of what differs all lines, runc's with a minus."""
    columns = [[f"{seen.call}: {seen.status}\n{seen.output}" for seen in column] for column in (theirs, ours)]
    for one, other in zip_longest(*columns, fillvalue=""):
        if one != other:
            yield from unified_diff(one.splitlines(), other.splitlines(), "runc", "minirunc", lineterm="", n=2)


def _drain(master: int, shown: bytearray) -> None:
    while True:
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # EIO: the last of the slave's users has gone
            return
        if not data:
            return
        shown += data
