"""Attacks on the hand by processes that see it: while a container runs, others enter it (CVE-2016-9962).

Whoever has CAP_SYS_PTRACE in the host's user namespace traces any process he sees, the hand as well as runc's init.
"""

import json
from collections.abc import Callable
from typing import Any

from tests.attacks.attackers import EXECS, execs, give_python, give_user_namespace
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.rootless import given, ordinary_user
from tests.ground.runtime import IN_UML, Runtime, wait_until
from tests.ground.seccomp import filtered, profile, rule

COUNT = 30 if IN_UML else 1000

DOCKER = [
    *("CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD"),
    *(
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ),
]

# Tries each way into each new process, again and again, until it ends or is caught and has not more rights than we.
TRACER = """
import ctypes, errno, json, os, time
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
FILES = ("mem", "exe", "fd/0", "fd/3", "maps", "environ", "ns/net")
DIRECTORIES = ("root", "cwd", "task/{pid}/root")
TEXTS = ("stack", "syscall", "io", "map_files")
RIGHTS = ("Name", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
          "Seccomp_filters")
told = {"hands": 0, "attempts": 0, "programs": 0, "breaches": [], "own": {}}

def read(path):
    with open(path) as file:
        return file.read()

def rights(pid):
    found = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines())
    found = {name: found[name].strip() for name in RIGHTS}
    try:
        found["label"] = read(f"/proc/{pid}/attr/current")
    except OSError:
        found["label"] = ""
    return found

def is_hand(pid):
    return read(f"/proc/{pid}/comm") == "minirunc:[init]\\n"

def seize(pid):
    if ptrace(SEIZE, pid, 0, 0):
        return False
    ptrace(INTERRUPT, pid, 0, 0)
    ended = not os.WIFSTOPPED(os.waitpid(pid, WALL)[1])
    if not ended:
        found = rights(pid)
        name = found.pop("Name")
        if name == "minirunc:[init]" or found != own:
            told["breaches"].append(["seized", name, found])
        else:
            told["programs"] += 1
        ptrace(DETACH, pid, 0, 0)
    return True

def look(pid, name, way, *args):
    try:
        found = way(f"/proc/{pid}/{name.format(pid=pid)}", *args)
    except OSError:
        return
    if type(found) is int:
        os.close(found)
    found = rights(pid)
    # In the middle of its execve it has its old name and its new memory; its rights and filter are the program's.
    if found.pop("Name") == "minirunc:[init]" and found != own:
        told["breaches"].append([name, found])

def attack(pid):
    told["hands"] += is_hand(pid)
    while True:
        for name in FILES:
            look(pid, name, os.open, os.O_RDONLY)
        for name in DIRECTORIES:
            look(pid, name, os.open, os.O_PATH | os.O_DIRECTORY)
        for name in TEXTS:
            look(pid, name, read if name != "map_files" else os.listdir)
        if seize(pid):
            return
        told["attempts"] += is_hand(pid)  # an error once it is gone

own = rights(os.getpid())
own.pop("Name")
told["own"] = own
done = {str(os.getpid())}
open("/ready", "w").close()
while not os.path.exists("/stop"):
    for pid in os.listdir("/proc"):
        if pid.isdigit() and pid not in done:
            done.add(pid)
            try:
                attack(int(pid))
            except (FileNotFoundError, ProcessLookupError, ChildProcessError):
                pass
del told["breaches"][99:]
with open("/report.new", "w") as file:
    json.dump(told, file)
os.rename("/report.new", "/report")
"""

# The same execs by a minirunc whose hands are dumpable.
WITHOUT_DEFENCE = (
    """
from minirunc.kernel.hand import Batch
prctl = Batch.prctl
Batch.prctl = lambda do, what, *args: prctl(do, what, *(1 if what == 4 else args[0], *args[1:]))  # PR_SET_DUMPABLE
"""
    + EXECS
)


def attacked(minirunc: Runtime, made: Bundle, count: int, script: str = EXECS) -> dict[str, Any]:
    """What the container's process, a tracer, tells after so many execs."""
    id = minirunc.start(made)
    wait_until((made.rootfs / "ready").exists, "the tracer is at work")
    execs(minirunc, id, count, "/busybox/true", script)
    (made.rootfs / "stop").touch()
    wait_until((made.rootfs / "report").exists, "the tracer tells")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)
    told: dict[str, Any] = json.loads((made.rootfs / "report").read_text())
    return told


def held(told: dict[str, Any]) -> None:
    """It saw hands and tried, it came into what they became, and never into a hand or a program without its filter."""
    assert told["own"]["Seccomp"] == "2"
    assert told["breaches"] == []
    assert told["hands"] > 0, told
    # In User-Mode Linux one round of all ways may be longer than a hand's life.
    assert told["attempts"] > (0 if IN_UML else told["hands"]), told
    assert told["programs"] > 0, told


def tracer(made: Bundle, *capabilities: str) -> Bundle:
    """Have its process be the tracer, with Docker's capabilities and these, and a filter."""
    give_python(made, TRACER)
    filtered(made, profile("ALLOW", rule("syslog", "ERRNO")))
    made.process["capabilities"] = {name: [*DOCKER, *capabilities] for name in ("bounding", "effective", "permitted")}
    return made


@attack("CVE-2016-9962, Docker's capabilities", "tracing the runtime", "the hand is not dumpable and drops rights last")
def test_hand_is_not_traced_by_docker_like_container(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """PTRACE_SEIZE and /proc/PID of each new process, in a loop: none opens before its program runs."""
    held(attacked(minirunc, tracer(bundle()), COUNT))


@attack("CVE-2016-9962, CAP_SYS_PTRACE", "tracing the runtime", "the hand's memory is the outer user namespace's")
def test_hand_is_not_traced_by_root_of_a_user_namespace(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """CAP_SYS_PTRACE in a user namespace is good for processes whose memory is that namespace's."""
    made = tracer(bundle(), "CAP_SYS_PTRACE")
    give_user_namespace(made)
    held(attacked(minirunc, made, COUNT))


@attack("CVE-2016-9962, rootless", "tracing the runtime", "the hand's memory is the outer user namespace's")
def test_hand_is_not_traced_in_an_ordinary_users_container(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """His own id outside is the hand's, too: what keeps him out is not that."""
    with ordinary_user(minirunc) as home:
        made = given(bundle(), home)
        held(attacked(minirunc, tracer(made, "CAP_SYS_PTRACE"), COUNT))


def test_tracer_gets_in_where_the_hand_is_dumpable(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The test can see: without prctl(PR_SET_DUMPABLE) these attacks succeed."""
    made = tracer(bundle(), "CAP_SYS_PTRACE")
    give_user_namespace(made)
    told = attacked(minirunc, made, max(COUNT // 10, 30), WITHOUT_DEFENCE)  # some are gone before the last way is tried
    ways = {breach[0] for breach in told["breaches"]}
    assert ways >= {"seized", "maps", "root"}, told
