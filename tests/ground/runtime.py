"""The runtime under test, as a command: run it, read what it says, and at the end see what it left behind."""

import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.ground import leftovers
from tests.ground.bundle import CHECKOUT, Bundle

IN_UML = os.environ.get("GROUND") == "uml"
TIMEOUT_S = 120 if IN_UML else 60

# In a private mount namespace the host looks as if it had cgroup v2 alone (without the controllers v1 holds).
PURE_V2 = [
    *("unshare", "-m", "--propagation", "private", "sh", "-c"),
    'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec "$@"',
    "sh",
]


class Result(NamedTuple):
    """What a command left behind for its caller."""

    status: int
    out: str
    err: str


class Runtime:
    """The `minirunc` fixture: `minirunc("state", id)` calls it; the methods are what tests often need.

    Each has a state root and container ids of its own. MINIRUNC in the environment names another runtime.
    """

    def __init__(self, directory: Path) -> None:
        self.binary = os.environ.get("MINIRUNC") or str(CHECKOUT / ".venv/bin/minirunc")
        self.root = directory / "state"
        self.prefix: list[str] = []  # what to start it with: PURE_V2, strace, ...
        self.options: list[str] = []  # global ones, of all calls: --systemd-cgroup, ...
        self.token = secrets.token_hex(4)
        self._directory = directory
        self._count = 0
        self._kept: set[str] = set()  # containers a command has made and nobody has deleted
        self._background: list[subprocess.Popen[str]] = []
        self._before = leftovers.children()

    def id(self) -> str:
        """A container id that nobody else has."""
        self._count += 1
        return f"t{self.token}-{self._count}"

    def argv(self, *args: object, before: Sequence[str] = ()) -> list[str]:
        """The whole command line; `before` are more global options."""
        return [*self.prefix, self.binary, "--root", str(self.root), *self.options, *before, *map(str, args)]

    def __call__(
        self,
        *args: object,
        before: Sequence[str] = (),
        input: str | None = None,
        timeout_s: float = TIMEOUT_S,
        **popen: Any,
    ) -> Result:
        """Call it and wait for it alone: its stdout and stderr are files, as containers inherit them."""
        with self._file() as stdin, self._file() as out, self._file() as err:
            if input is not None:
                stdin.write(input)
                stdin.seek(0)
            popen.setdefault("stdin", stdin if input is not None else subprocess.DEVNULL)
            popen.setdefault("stdout", out)
            popen.setdefault("stderr", err)
            with subprocess.Popen(self.argv(*args, before=before), **popen) as process:
                try:
                    status = process.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    self._kept.add(str(args[-1]))
                    said = f"stdout:\n{_text(out)}\nstderr:\n{_text(err)}"
                    raise AssertionError(f"{args[0]} is not done after {timeout_s} s\n{said}") from None
            self._note(args, status)
            return Result(status, _text(out), _text(err))

    def run(self, bundle: Bundle, *options: object, id: str = "", **call: Any) -> Result:
        """Write the bundle's config and run it."""
        bundle.write()
        return self("run", *options, "--bundle", bundle.path, id or self.id(), **call)

    def create(self, bundle: Bundle, *options: object, id: str = "", **call: Any) -> str:
        """Write the bundle's config and create a container, which must succeed: its id."""
        bundle.write()
        id = id or self.id()
        self.ok("create", *options, "--bundle", bundle.path, id, **call)
        return id

    def start(self, bundle: Bundle, *options: object, id: str = "", **call: Any) -> str:
        """Write the bundle's config and run it detached, which must succeed: the container's id."""
        bundle.write()
        id = id or self.id()
        self.ok("run", "--detach", *options, "--bundle", bundle.path, id, **call)
        return id

    def ok(self, *args: object, **call: Any) -> str:
        """Call it; it must succeed: its stdout."""
        result = self(*args, **call)
        assert result.status == 0, f"{args[0]} ended with {result.status}: {result.err or result.out}"
        return result.out

    def popen(self, *args: object, before: Sequence[str] = (), **popen: Any) -> subprocess.Popen[str]:
        """Start it in the background, stdin, stdout and stderr as pipes; it is ended with the test."""
        for stream in ("stdin", "stdout", "stderr"):
            popen.setdefault(stream, subprocess.PIPE)
        process = subprocess.Popen(self.argv(*args, before=before), text=True, **popen)
        self._background.append(process)
        return process

    def state(self, id: str) -> Any:
        """What `state` says."""
        return json.loads(self.ok("state", id))

    def status(self, id: str) -> str:
        """The status: created, running, paused or stopped."""
        return str(self.state(id)["status"])

    def wait_for_status(self, id: str, status: str) -> None:
        """Wait until the container has this status."""
        wait_until(lambda: self.status(id) == status, f"{id} is {status}")

    def pid(self, id: str) -> int:
        """The pid of the container's first process, as we see it."""
        return int(self.state(id)["pid"])

    def cgroup(self, id: str) -> Path:
        """The container's cgroup (v2), as a directory that can be read here."""
        return cgroup_of(self.pid(id))

    def close(self) -> list[str]:
        """End all that the test started; the answer is what was left behind though nobody should have."""
        for process in self._background:
            if process.poll() is None:
                process.kill()
                self._kept.add(self._last(process))  # killed, it could not clean up
            process.communicate()
        found = leftovers.state_directories(self.root)
        left = [f"state directory {self.root / id}" for id in sorted(found - self._kept)]
        for id in sorted(found):
            result = self("delete", "--force", id)
            if result.status != 0:
                left.append(f"delete --force {id} ended with {result.status}: {result.err.strip()}")
        left += [f"state directory {self.root / id}" for id in leftovers.state_directories(self.root)]
        left += leftovers.processes(self._before)
        left += leftovers.units(self.token)
        left += leftovers.cgroups(self.token)
        left += leftovers.mounts(self._directory)
        return left

    def _note(self, args: tuple[object, ...], status: int) -> None:
        words = [str(word) for word in args]
        detached = {"-d", "--detach", "--keep"} & set(words[:-1])
        if words[:1] == ["create"] or (words[:1] == ["run"] and detached):
            # `run --keep` gives the status of the container's process, so a directory tells more.
            if status == 0 or "--keep" in words:
                self._kept.add(words[-1])
        elif words[:1] == ["delete"] and status == 0:
            self._kept.discard(words[-1])

    @staticmethod
    def _last(process: subprocess.Popen[str]) -> str:
        return str(process.args[-1]) if isinstance(process.args, list) else ""

    def _file(self) -> Any:
        return tempfile.TemporaryFile("w+", errors="replace", dir=self._directory)


def cgroup_of(pid: int) -> Path:
    """The v2 cgroup of a process, as a directory that can be read here."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return leftovers.cgroup2_mounts()[0] / line[3:].lstrip("/")
    raise AssertionError(f"process {pid} is in no v2 cgroup")


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait for a condition, asking often; fail with `what` when the time is over."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def _text(file: Any) -> str:
    # pread leaves the offset alone, which the container may share.
    return os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")
