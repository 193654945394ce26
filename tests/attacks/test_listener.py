"""Attacks on the listener of a filter with SCMP_ACT_NOTIFY: who has it answers the calls that an agent should.

Its hand waits, for the agent and for `start`, with the rights of the process it will be.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.attackers import give_python, give_user_namespace
from tests.attacks.table import attack
from tests.attacks.test_tracing import attacked, held, tracer
from tests.ground.agents import agent
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Runtime, wait_until
from tests.ground.seccomp import filtered, profile, rule

COUNT = 20 if IN_UML else 300


def notifying(made: Bundle, path: Path, names: str = "syslog") -> Bundle:
    """The bundle with a filter that asks the agent at `path`."""
    return filtered(made, profile("ALLOW", rule(names, "NOTIFY"), listenerPath=str(path)))


# Every fd of every process there is, its own among them: what they are, and whether one is a listener.
LOOKER = """
import fcntl, os
told = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            told.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
for fd in range(1024):
    try:
        fcntl.ioctl(fd, 0xC0502100, bytearray(80))  # SECCOMP_IOCTL_NOTIF_RECV
        told.append(f"{fd} is a listener")
    except OSError:
        pass
os.write(2, "\\n".join(told).encode())
"""


@attack("the filter's own listener", "leaked files", "close-on-exec from its first moment; the agent has the only copy")
@pytest.mark.parametrize("nnp", [True, False])
def test_program_has_no_listener(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, nnp: bool) -> None:
    """Neither run, exec nor a startContainer hook: it would let itself do what the agent does not."""
    made = notifying(bundle(), tmp_path / "agent")
    give_python(made, LOOKER)
    made.process["noNewPrivileges"] = nnp
    look = made.process["args"]
    hook = {"path": "/usr/bin/sh", "args": ["sh", "-c", f"{' '.join(look)}; exit 1"]}
    made.config["hooks"] = {"startContainer": [hook]}
    with agent(tmp_path / "agent") as asked:
        seen = [minirunc.run(made).err]
        del made.config["hooks"]
        seen.append(minirunc.run(made).err)
        made.args(["sleep", "1000"])
        id = minirunc.start(made)
        seen.append(minirunc("exec", id, *look).err)
        minirunc.ok("delete", "--force", id)
    assert len(asked.messages) == 5  # the container and its hook, run, start, exec
    for told in seen:
        assert "/attack.py" in told or "/dev/null" in told, told
        assert not any(word in told for word in ("is a listener", "anon_inode", "socket:")), told


# Tries to take what another process has open, and to get into it: a number of ways each time it is told to.
THIEF = """
import ctypes, json, os, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
PIDFD_GETFD = 438
def taken(pid):
    found = []
    pidfd = os.pidfd_open(pid)
    for fd in range(16):
        if libc.syscall(PIDFD_GETFD, pidfd, fd, 0) >= 0:
            found.append(f"pidfd_getfd {fd}")
    for name in ("mem", "fd/0", "fd/4", "maps", "root", "cwd", "environ"):
        try:
            os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
            found.append(name)
        except OSError:
            pass
    if libc.ptrace(0x4206, pid, 0, 0) == 0:  # PTRACE_SEIZE
        found.append("seized")
    return found
while True:
    time.sleep(0.05)
    if os.path.exists("/victim"):
        pid = int(open("/victim").read())
        with open("/report.new", "w") as file:
            json.dump(taken(pid), file)
        os.remove("/victim")
        os.rename("/report.new", "/report")
"""


def robbed(thief: Bundle, pid: int) -> list[str]:
    """What the thief gets of a process."""
    (thief.rootfs / "victim.new").write_text(str(pid))
    (thief.rootfs / "victim.new").rename(thief.rootfs / "victim")
    wait_until((thief.rootfs / "report").exists, "the thief tells")
    told: list[str] = json.loads((thief.rootfs / "report").read_text())
    (thief.rootfs / "report").unlink()
    return told


@attack("a neighbour's listener, while it waits for start", "tracing the runtime", "the hand is not dumpable")
@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_neighbour_does_not_get_into_a_created_container(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, uid: int, userns: bool
) -> None:
    """Of the same pod and user, with the same rights, which the hand has by then; once it is started, he may."""
    first, second = bundle(), notifying(bundle(["sleep", "1000"]), tmp_path / "agent", "read syslog")
    give_python(first, THIEF)
    for made in (first, second):
        made.process["user"] = {"uid": uid, "gid": uid}
        made.rootfs.chmod(0o777)
        if userns:
            give_user_namespace(made)
    id = minirunc.start(first)
    for kind, name in {"pid": "pid", **({"user": "user"} if userns else {})}.items():
        second.namespace(kind, path=f"/proc/{minirunc.pid(id)}/ns/{name}")
    with agent(tmp_path / "agent") as asked:
        victim = minirunc.create(second)
        pid = minirunc.pid(victim)
        wait_until(lambda: len(asked.asked) >= 2, "it waits for start")
        inside = int((Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0]).split()[-1])
        assert robbed(first, inside) == []
        minirunc.ok("start", victim)
        wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "it has started")
        assert {"pidfd_getfd 0", "mem", "seized"} <= set(robbed(first, inside))
        minirunc.ok("delete", "--force", victim)
    minirunc.ok("delete", "--force", id)


@attack("traced while the agent is told", "tracing the runtime", "not dumpable, also with the rights of its process")
@pytest.mark.parametrize("nnp", [True, False])
def test_hand_is_not_traced_while_it_waits_for_its_agent(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, nnp: bool
) -> None:
    """Its filter is on and its rights are dropped one batch earlier than without an agent."""
    made = notifying(tracer(bundle()), tmp_path / "agent")
    made.process["noNewPrivileges"] = nnp
    with agent(tmp_path / "agent") as asked:
        held(attacked(minirunc, made, COUNT))
    assert len(asked.messages) == COUNT + 1
