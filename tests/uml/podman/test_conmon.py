"""What CRI-O does with conmon and the runtime: with minirunc it gets the answers that it gets with runc.

CRI-O itself is not among Debian's packages. These are its command lines (tests/uml/podman/crio.py).
"""

import json
import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ground.compare import Scene, Stage, compare
from tests.ground.runtime import cgroup_of
from tests.uml.podman.crio import Answer, Crio

PROCESS: dict[str, Any] = {
    "user": {"uid": 0, "gid": 0, "additionalGids": [7]},
    "env": ["PATH=/bin", "A=b"],
    "cwd": "/tmp",
    "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
    "noNewPrivileges": True,
}


def crio(do: Stage) -> Crio:
    """The CRI-O of this stage."""
    assert isinstance(do.engine, Crio)
    return do.engine


def told(do: Stage, what: str, answer: Answer) -> None:
    """Keep what conmon said; that there is a pid, not which."""
    said = {**answer.said, "pid": "a pid"} if answer.said.get("pid", -1) > 0 else dict(answer.said)
    message = said.pop("message", "")
    do.keep([what], 0, "\n".join(map(str, [json.dumps(said), message, answer.output])))


def call(do: Stage, *words: str, input: str | None = None) -> str:
    """Call the runtime; its standard output. Kept is how it ended, and what a failure said."""
    result = crio(do).call(*words, input=input)
    do.keep(words, result.returncode, result.stderr)
    return result.stdout


def state(do: Stage, id: str) -> Any:
    """Keep the state, but for pids and times; and that it is known."""
    known = json.loads(call(do, "state", id))
    known["pid"] = min(known["pid"], 1)
    do.keep(["state", id, "(its output)"], 0, json.dumps(known, sort_keys=True))
    return known


def process(*args: str, **fields: object) -> dict[str, Any]:
    """A process for exec."""
    return PROCESS | {"args": args} | fields


def life(do: Stage) -> None:
    """A container from create to delete."""
    script = "echo out; echo err >&2; trap 'exit 9' TERM; while :; do sleep 0.1; done"
    bundle = crio(do).bundle("c", "sh", "-c", script)
    bundle.linux["resources"] |= {"memory": {"limit": 32 << 20}, "pids": {"limit": 50}}
    told(do, "create", crio(do).create(bundle))
    state(do, "c")
    cgroup = cgroup_of(int((bundle.path / "pidfile").read_text()))
    do.keep(["(its cgroup)"], 0, "/".join(cgroup.parts[4:]))
    call(do, "start", "c")
    state(do, "c")
    resources = {"memory": {"limit": 64 << 20}, "cpu": {"quota": 20000, "period": 50000}}
    call(do, "update", "--resources", "-", "c", input=json.dumps(resources))
    for name in ("memory.max", "pids.max", "cpu.max"):
        do.keep([name], 0, (cgroup / name).read_text())
    call(do, "pause", "c")
    state(do, "c")
    call(do, "resume", "c")
    call(do, "start", "c")
    call(do, "kill", "c", "15")
    do.keep(["(its exit)"], 0, crio(do).exit_code("c"))
    state(do, "c")
    call(do, "kill", "c", "KILL")
    do.keep(["(its log)"], 0, crio(do).log("c"))
    call(do, "delete", "--force", "c")
    do.keep(["(its cgroup is there)"], 0, str(cgroup.exists()))
    for words in (("state", "c"), ("kill", "c", "9"), ("delete", "--force", "c"), ("delete", "c")):
        call(do, *words)


def execs(do: Stage) -> None:
    """Attached, on a terminal, and through conmon."""
    told(do, "create", crio(do).create(crio(do).bundle("c", "sleep", "1000")))
    call(do, "start", "c")
    file = crio(do).directory / "attached"
    look = "id; pwd; env; grep Cap /proc/self/status; cat; exit 5"
    file.write_text(json.dumps(process("sh", "-c", look)))
    do.keep(["(its output)"], 0, call(do, "exec", "--process", str(file), "c", input="given\n"))
    file.write_text(json.dumps(process("nosuch")))
    call(do, "exec", "--process", str(file), "c")
    file.write_text(json.dumps(process("sh", "-c", "tty; stty size; exit 6", terminal=True)))
    do.keep(["exec", "(on a terminal)"], *on_terminal(crio(do).argv(["exec", "--process", str(file), "c"])))
    told(do, "exec sync", crio(do).exec_sync("c", process("sh", "-c", "echo out; echo err >&2; exit 3")))
    told(do, "exec sync: -t", crio(do).exec_sync("c", process("sh", "-c", "tty; exit 3", terminal=True), "-t"))
    told(do, "exec sync: -T", crio(do).exec_sync("c", process("sleep", "1000"), "-T", "1"))
    for program in ("nosuch", "/etc/passwd"):
        told(do, f"exec sync: {program}", crio(do).exec_sync("c", process(program)))


def failures(do: Stage) -> None:
    """What a pod's events would say."""
    nothing = crio(do).bundle("a", "nosuch")
    told(do, "create: no such program", crio(do).create(nothing))
    no_source = crio(do).bundle("b", "true")
    no_source.mount("/x", "bind", "/nosuch", "rbind")
    told(do, "create: no such source", crio(do).create(no_source))
    call(do, "delete", "--force", "a")
    call(do, "state", "b")


def terminal(do: Stage) -> None:
    """Its output comes through a pty that conmon holds."""
    bundle = crio(do).bundle("c", "sh", "-c", "tty; ls -l /dev/console; exit 4")
    bundle.process["terminal"] = True
    told(do, "create", crio(do).create(bundle, "-t"))
    call(do, "start", "c")
    do.keep(["(its exit)"], 0, crio(do).exit_code("c"))
    do.keep(["(its log)"], 0, crio(do).log("c"))


def out_of_memory(do: Stage) -> None:
    """Conmon sees it in the container's cgroup, and tells CRI-O by a file."""
    bundle = crio(do).bundle("c", "tail", "/dev/zero")
    bundle.linux["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    told(do, "create", crio(do).create(bundle))
    call(do, "start", "c")
    do.keep(["(its exit)"], 0, crio(do).exit_code("c"))
    if crio(do).driver == "cgroupfs":  # systemd may have removed the cgroup before conmon looks, with any runtime
        do.keep(["(the file oom)"], 0, f"{(bundle.path / 'oom').exists()} {(bundle.path / 'persist/oom').exists()}")


def pod(do: Stage) -> None:
    """An infra container, and one in its namespaces."""
    infra = crio(do).bundle("infra", "sleep", "1000")
    told(do, "create", crio(do).create(infra))
    call(do, "start", "infra")
    pid = (infra.path / "pidfile").read_text()
    other = crio(do).bundle("other", "sh", "-c", "hostname; ps -o args; ip -o link; read none")
    del other.config["hostname"]
    for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")):
        other.namespace(kind, path=f"/proc/{pid}/ns/{name}")
    told(do, "create", crio(do).create(other))
    call(do, "start", "other")
    do.keep(["(its exit)"], 0, crio(do).exit_code("other"))
    do.keep(["(its log)"], 0, crio(do).log("other"))
    call(do, "delete", "other")
    call(do, "kill", "infra", "9")
    do.keep(["(its exit)"], 0, crio(do).exit_code("infra"))
    call(do, "delete", "infra")


def on_terminal(argv: Sequence[str]) -> tuple[int, str]:
    """Exit status of a command whose standard streams are a pty, and what it showed."""
    master, slave = pty.openpty()
    with subprocess.Popen(["setsid", *argv], stdin=slave, stdout=slave, stderr=slave) as ours:
        os.close(slave)
        shown = b""
        try:
            while data := os.read(master, 1 << 16):
                shown += data
        except OSError:  # EIO: all have closed the slave
            pass
    os.close(master)
    return ours.returncode, shown.decode()


BLOTS = (
    # The version of the specification that is spoken: runc 1.1 is older.
    (r'"ociVersion": "[^"]*"', '"ociVersion": ""'),
    # What failed: a stat(2) of runc 1.1's, open(2) in runc 1.5. minirunc says which mount, and names its own call.
    (r" \(mounts\[\d+\]\): open_tree\(AT_FDCWD, \S+, OPEN_TREE_CLONE\)", ": stat /nosuch"),
    # minirunc says whose.
    (r"(container (?:does not exist|not running)): \w+", r"\1"),
    # Debian's runc complains of a device it asks systemd for; into its log, which is the container's output here.
    (r"(?m)^.*10:200.*\n?", ""),
    # Debian's runc: of the cgroup of a unit that systemd has removed already.
    (r'(?m)^time="TIME" level=warning msg="(freezer not supported|lstat|unable to get oom kill).*\n?', ""),
)
SCENES = [life, execs, failures, terminal, out_of_memory, pod]


@pytest.fixture(scope="session", params=["cgroupfs", "systemd"])
def crios(request: pytest.FixtureRequest, busybox: Path) -> Sequence[Crio]:
    """With runc and with minirunc."""
    return [Crio(runtime, request.param, busybox) for runtime in ("runc", "minirunc")]


@pytest.mark.parametrize("scene", SCENES)
def test_conmon(request: pytest.FixtureRequest, crios: Sequence[Crio], scene: Scene) -> None:
    compare(request, scene, crios, f"CRI-O's conmon, {crios[0].driver}", BLOTS)
