"""What is measured: each case as a function that does it once with a given way of starting commands."""

import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from .ground import find
from .spawn import ENVIRONMENT, Failed, Spawner, reap
from .stats import BARE_EXIT, BARE_PASS, Sample
from .warm import Warm

#: Starts a command, waits for it, returns its figures, raises Failed.
Launch = Callable[[list[str]], Sample]
#: Does a case once.
Measure = Callable[[Launch], Sample]
#: case to runtime to how it does it.
Field = dict[str, dict[str, Measure]]

EXIT_S = 10.0
LINKS = ("sh", "true", "sleep")


class Runtime:
    """One runtime and where its containers are."""

    def __init__(self, name: str, program: str, python: str, work: Path) -> None:
        self.name = name
        self.program = program
        self.python = python  # what the library is used from
        self.work = work
        self.root = work / f"root-{name}"
        self.root.mkdir(mode=0o700)
        self.pid_file = work / f"{name}.pid"
        self.long_lived = f"bench-{os.getpid()}-{name}-target"
        self.short_lived = f"bench-{os.getpid()}-{name}"

    def command(self, *words: str) -> list[str]:
        return [self.program, "--root", str(self.root), *words]

    def version(self) -> str:
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True, env=ENVIRONMENT, check=False)
        return (done.stdout.splitlines() or ["version unknown"])[0].removeprefix(f"{self.name} version ")

    def clear(self, launch: Launch, ident: str) -> None:
        """Whatever state a container of ours is in: it is gone afterwards."""
        with suppress(Failed):
            launch(self.command("delete", "--force", ident))
        with suppress(OSError):
            os.rmdir(f"/sys/fs/cgroup/{ident}")


def make_bundle(spec_by: str, at: Path, args: list[str], devices: bool = True) -> None:
    """A busybox-static rootfs and the config.json of `spec_by spec`, without a terminal, running `args`.

    Without `devices` the device rules are left out as well.
    """
    busybox = find("busybox")
    assert busybox is not None
    programs = at / "rootfs/bin"
    programs.mkdir(parents=True)
    shutil.copy(busybox, programs / "busybox")
    for link in LINKS:
        (programs / link).symlink_to("busybox")
    for directory in ("proc", "sys", "dev", "tmp", "etc"):
        (at / "rootfs" / directory).mkdir()
    subprocess.run([spec_by, "spec"], cwd=at, env=ENVIRONMENT, check=True, capture_output=True)
    config = json.loads((at / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = args
    if not devices:
        del config["linux"]["resources"]["devices"]
    (at / "config.json").write_text(json.dumps(config, indent="\t"))


def run(runtime: Runtime, bundle: Path) -> Measure:
    words = runtime.command("run", "--bundle", str(bundle), runtime.short_lived)
    return lambda launch: launch(words)


def create_start_delete(runtime: Runtime, bundle: Path) -> Measure:
    """The three commands' figures added up, with those of the container's process, which no command reaps."""
    where = ("--bundle", str(bundle), "--pid-file", str(runtime.pid_file))
    ident = runtime.short_lived

    def three(launch: Launch) -> Sample:
        total = launch(runtime.command("create", *where, ident))
        pid = int(runtime.pid_file.read_text())
        pidfd = os.pidfd_open(pid)
        try:
            total += launch(runtime.command("start", ident))
            wait_for_exit(pidfd, ident)
        finally:
            os.close(pidfd)
        total += reap(pid)
        return total + launch(runtime.command("delete", ident))

    def measure(launch: Launch) -> Sample:
        try:
            return three(launch)
        except Failed:
            runtime.clear(launch, ident)  # the id is needed again
            raise

    return measure


def wait_for_exit(pidfd: int, ident: str) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(EXIT_S * 1000):
        raise Failed(f"{ident}: /bin/true still runs after {EXIT_S:.0f} s")


def in_target(runtime: Runtime, *words: str) -> Measure:
    """A command about the container that sleeps; `words` follow its id."""
    command, *rest = words
    argv = runtime.command(command, runtime.long_lived, *rest)
    return lambda launch: launch(argv)


def bare(python: str) -> dict[str, Measure]:
    """The floor: what nothing but an interpreter takes, left in the ordinary way and by _exit."""
    leave = [python, "-I", "-S", "-c", "import posix; posix._exit(0)"]  # os is not imported yet
    return {
        BARE_PASS: lambda launch: launch([python, "-I", "-S", "-c", "pass"]),
        BARE_EXIT: lambda launch: launch(leave),
    }


def start_target(runtime: Runtime, bundle: Path, spawner: Spawner, stack: ExitStack) -> None:
    """A container that sleeps until `stack` is closed."""
    ident = runtime.long_lived
    stack.callback(stop_target, runtime, spawner)
    where = ("--bundle", str(bundle), "--pid-file", str(runtime.pid_file))
    spawner.times(runtime.command("run", "--detach", *where, ident))
    pid = int(runtime.pid_file.read_text())
    stack.callback(kill_and_reap, pid)


def kill_and_reap(pid: int) -> None:
    # a zombie of ours would have `delete --force` wait for it
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        reap(pid)


def stop_target(runtime: Runtime, spawner: Spawner) -> None:
    runtime.clear(spawner.times, runtime.long_lived)


class Bundles:
    """The two bundles of each runtime: one that is done at once and one that sleeps."""

    def __init__(self, spec_by: str, work: Path) -> None:
        for prefix, devices in (("", True), ("no-devices-", False)):
            make_bundle(spec_by, work / f"{prefix}true", ["/bin/true"], devices)
            make_bundle(spec_by, work / f"{prefix}sleep", ["/bin/sleep", "86400"], devices)
        self.work = work

    def fitting(self, runtime: Runtime, spawner: Spawner) -> tuple[Path, Path, str]:
        """The bundles that `runtime` can run here, and a remark where they are not the same as the others'.

        crun asks for an unlimited RLIMIT_MEMLOCK before it loads a device program, also on kernels (5.11 and
        later) that do not charge BPF to it; with a finite hard limit and no CAP_SYS_RESOURCE it gives up.
        """
        plain = (self.work / "true", self.work / "sleep", "")
        try:
            spawner.times(runtime.command("run", "--bundle", str(plain[0]), runtime.short_lived))
        except Failed as error:
            runtime.clear(spawner.times, runtime.short_lived)
            if "MEMLOCK" in str(error):
                difference = f"{runtime.name} runs without device rules: it may not raise RLIMIT_MEMLOCK here"
                return self.work / "no-devices-true", self.work / "no-devices-sleep", difference
        return plain


def entrants(
    runtime: Runtime, bundles: tuple[Path, Path], spawner: Spawner, stack: ExitStack
) -> tuple[dict[str, Measure], str]:
    """How `runtime` does each case, and why some are missing.

    Its sleeping container runs until `stack` is closed.
    """
    true, sleep = bundles
    stack.callback(runtime.clear, spawner.times, runtime.short_lived)
    found = {"run": run(runtime, true), "create": create_start_delete(runtime, true)}
    try:
        start_target(runtime, sleep, spawner, stack)
        found["exec"] = in_target(runtime, "exec", "/bin/true")
        found["state"] = in_target(runtime, "state")
        if runtime.name == "minirunc":
            warm = stack.enter_context(Warm(runtime.python, runtime.root, runtime.long_lived))
            found["warm"] = warm.measure
    except Failed as error:
        return found, f"{runtime.name}: {error}"
    return found, ""


def line_up(
    runtimes: list[Runtime], cases: list[str], spawner: Spawner, stack: ExitStack
) -> tuple[Field, list[str], list[str]]:
    """Who measures what; where bundles differ; what cannot be measured: the last two a line each."""
    spec_by = next((runtime.program for runtime in runtimes if runtime.name == "runc"), runtimes[0].program)
    bundles = Bundles(spec_by, runtimes[0].work)
    field: Field = {case: {} for case in cases}
    differences: list[str] = []
    problems: list[str] = []
    for runtime in runtimes:
        true, sleep, difference = bundles.fitting(runtime, spawner)
        found, problem = entrants(runtime, (true, sleep), spawner, stack)
        differences += [difference] if difference else []
        problems += [problem] if problem else []
        for case in found.keys() & field.keys():
            field[case][runtime.name] = found[case]
    if "bare" in cases:
        field["bare"] = bare(runtimes[0].python)
    return field, differences, problems
