"""The smallest memory limit with which a static true runs, by bisection, in User-Mode Linux: its memory controller.

bench                         User-Mode Linux
memory.measure  -- boots -->  python -m tests.bench.memory FILE NAME=PATH...
                <-- FILE ---  JSON: case to runtime to bytes
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.ground import smallest, uml

from .cases import make_bundle
from .ground import NoGround
from .spawn import ENVIRONMENT

RUN, RUN_BUSYBOX, EXEC = "run", "run-busybox", "exec"
CASES = {
    RUN: f"run, a static true of {len(smallest.elf(smallest.TRUE))} bytes",
    RUN_BUSYBOX: "run, busybox's true",
    EXEC: "exec of the first, beside a pause as small",
}
TRIES = 5  # in a row; one that fails is enough to say no
FIRST = 64 << 10  # bytes, doubled until it works
MOST = 64 << 20
LIMIT_S = 30.0
DEADLINE_S = 900.0

#: case to runtime to bytes, None where not even MOST is enough.
Limits = dict[str, dict[str, int | None]]


def measure(named: dict[str, str], work: Path) -> Limits:
    """All cases of all runtimes, in one boot; raises NoGround with what went wrong there."""
    file = work / "limits.json"
    pairs = [f"{name}={program}" for name, program in named.items()]
    try:
        done = uml.run([sys.executable, "-m", __name__, str(file), *pairs], deadline_s=DEADLINE_S)
    except uml.GroundError as error:
        raise NoGround(str(error)) from None
    if done.status != 0:
        raise NoGround(f"the smallest memory limits: {done.output.strip()[-2000:]}")
    limits: Limits = json.loads(file.read_text())
    return limits


def least(works: Callable[[int], bool], first: int, most: int, step: int) -> int | None:
    """The least multiple of `step` for which it works, if it does for all above; None if not for `most`."""
    low, high = 0, first
    while not works(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > step:
        middle = (low + high) // 2 // step * step
        if works(middle):
            high = middle
        else:
            low = middle
    return high


class Subject:
    """One runtime, and whether it manages with a limit."""

    def __init__(self, name: str, program: str, spec_by: str, work: Path) -> None:
        self.id = f"least-{name}"
        self.root = work / f"root-{name}"
        self.program = program
        self.pid_file = work / f"{name}.pid"
        self.bundles = {RUN: work / f"{name}-true", RUN_BUSYBOX: work / f"{name}-busybox", EXEC: work / f"{name}-pause"}
        self.root.mkdir(mode=0o700)
        for bundle in self.bundles.values():
            # on a tmpfs, written outside of every container: its pages are nobody's there
            make_bundle(spec_by, bundle, ["/bin/true"])
        for case in (RUN, EXEC):
            smallest.write(self.bundles[case] / "rootfs/bin/true", smallest.TRUE)
        smallest.write(self.bundles[EXEC] / "rootfs/bin/pause", smallest.PAUSE)

    def least(self, case: str) -> int | None:
        works = self._execs if case == EXEC else self._runs
        return least(lambda limit: works(case, limit), FIRST, MOST, os.sysconf("SC_PAGE_SIZE"))

    def _runs(self, case: str, limit: int) -> bool:
        bundle = self._limited(case, limit, "/bin/true")
        return all(self._run_once(bundle) for _ in range(TRIES))

    def _run_once(self, bundle: Path) -> bool:
        done = self._does("run", "--bundle", str(bundle), self.id)
        if not done:
            self._clear()
        return done

    def _execs(self, case: str, limit: int) -> bool:
        """One container, which still lives at the end: who was killed for want of memory may have been its pause."""
        bundle = self._limited(case, limit, "/bin/pause")
        try:
            if not self._does("run", "--detach", "--bundle", str(bundle), "--pid-file", str(self.pid_file), self.id):
                return False
            pause = os.pidfd_open(int(self.pid_file.read_text()))
            try:
                return all(self._does("exec", self.id, "/bin/true") for _ in range(TRIES)) and not _ended(pause)
            finally:
                os.close(pause)
        except ProcessLookupError:
            return False
        finally:
            self._clear()

    def _limited(self, case: str, limit: int, program: str) -> Path:
        bundle = self.bundles[case]
        config = json.loads((bundle / "config.json").read_text())
        config["process"]["args"] = [program]
        config["linux"]["resources"]["memory"] = {"limit": limit, "swap": limit}
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def _clear(self) -> None:
        self._does("delete", "--force", self.id)
        with suppress(OSError):
            os.rmdir(f"/sys/fs/cgroup/{self.id}")

    def _does(self, *words: str) -> bool:
        """Whether a command of the runtime ends with 0; one that hangs does not."""
        null = subprocess.DEVNULL
        command = [self.program, "--root", str(self.root), *words]
        with subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=ENVIRONMENT) as process:
            try:
                return process.wait(LIMIT_S) == 0
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                return False


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def main(file: str, *pairs: str) -> None:
    """In the other kernel."""
    named = dict(pair.split("=", 1) for pair in pairs)
    spec_by = named.get("runc", next(iter(named.values())))
    work = Path(os.environ["TMPDIR"]) / "least"
    work.mkdir()
    subjects = {name: Subject(name, program, spec_by, work) for name, program in named.items()}
    limits = {case: {name: subject.least(case) for name, subject in subjects.items()} for case in CASES}
    Path(file).write_text(json.dumps(limits))


if __name__ == "__main__":
    main(*sys.argv[1:])
