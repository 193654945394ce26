"""container/listener.py: SCMP_ACT_NOTIFY, the listener handed to an agent, who answers what is asked inside."""

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minirunc.container import handover
from minirunc.kernel import syscalls
from tests.attacks.attackers import give_python
from tests.ground import leftovers
from tests.ground.agents import Agent, Asked, agent
from tests.ground.bundle import Bundle
from tests.ground.rootless import USER, given, ordinary_user
from tests.ground.runtime import Runtime, wait_until
from tests.ground.seccomp import NUMBERS, filtered, profile, rule
from tests.test_namespaces import mapped
from tests.test_seccomp import START

MKDIR = "mkdir mkdirat"
DOWN = "mkdir: can't create directory '/dev/shm/x': Network is down\n"
FDS = "cd /proc/self/fd; for fd in *; do readlink $fd; done"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where agents listen."""
    return tmp_path / "agent"


def down(asked: Asked) -> int:
    """Whatever is asked for fails."""
    return -errno.ENETDOWN


def notifying(bundle: Bundle, path: Path | str, names: str = MKDIR, **members: Any) -> Bundle:
    """The bundle with a filter that asks the agent at `path` for these calls."""
    return filtered(bundle, profile("ALLOW", rule(names, "NOTIFY"), listenerPath=str(path), **members))


def failed(minirunc: Runtime, made: Bundle, *options: str) -> str:
    """Why it was not run; nothing is left of it."""
    result = minirunc.run(made, *options)
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert leftovers.state_directories(minirunc.root) == set()
    return result.err.partition("minirunc run failed: ")[2].removesuffix('"\n').removesuffix("\n").replace('\\"', '"')


# --- what the agent is told, and what it says ---


@pytest.mark.observes("linux.seccomp.listenerPath", "linux.seccomp.listenerMetadata", "linux.seccomp.syscalls[].action")
@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
def test_agent_gets_state_and_listener(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, nnp: bool) -> None:
    """One message, a ContainerProcessState with the listener; what it answers is what the call returns."""
    made = notifying(bundle("mkdir /dev/shm/x"), path, listenerMetadata="for ünder\n")
    made.process["noNewPrivileges"] = nnp
    made.config["annotations"] = {"a": "1"}
    id = minirunc.id()
    with agent(path, down) as asked:
        assert minirunc.run(made, id=id) == (1, "", DOWN)
    (message,) = asked.messages
    assert asked.kinds == ["anon_inode:seccomp notify"]
    pid = message["pid"]
    assert message == {
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "for ünder\n",
        "state": {
            "ociVersion": "1.3.0",
            "id": id,
            "status": "creating",
            "pid": pid,
            "bundle": str(made.path),
            "annotations": {"a": "1"},
        },
    }
    assert [call.number for call in asked.asked] == [83 if os.uname().machine == "x86_64" else NUMBERS["mkdirat"]]


def test_metadata_that_is_not_given_is_left_out(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """As an agent's parser may have it."""
    with agent(path) as asked:
        assert minirunc.run(notifying(bundle(["true"]), path)) == (0, "", "")
    assert "metadata" not in asked.messages[0]


@pytest.mark.parametrize(("said", "out"), [(-errno.ENETDOWN, DOWN), (0, "no\n"), (None, "made\n")])
def test_agent_answers_for_the_kernel(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, said: int | None, out: str
) -> None:
    """An errno, a result of a call that was not made, or that it is to be made; it can read what was asked."""
    made = notifying(bundle("mkdir /dev/shm/x 2>&1 && (test -d /dev/shm/x && echo made || echo no)"), path)
    paths = []

    def answer(asked: Asked) -> int | None:
        paths.append(asked.text(asked.number == NUMBERS["mkdirat"]))
        return said

    with agent(path, answer):
        assert minirunc.run(made).out == out
    assert paths == ["/dev/shm/x"]


def beyond_streams(pid: int) -> list[str]:
    """What a process has open but fds 0 to 2, by the last part of its name."""
    fds = Path(f"/proc/{pid}/fd").iterdir()
    return [os.readlink(fd).rpartition("/")[2] for fd in fds if int(fd.name) > 2]


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
def test_listener_is_sent_by_create(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, nnp: bool) -> None:
    """Not by start; the process that waits has no fd but the streams and what it waits on."""
    made = notifying(bundle("mkdir /dev/shm/x"), path)
    made.process["noNewPrivileges"] = nnp
    with agent(path, down) as asked, (path.parent / "err").open("w") as err:
        id = minirunc.create(made, stderr=err)
        wait_until(lambda: asked.messages, "the listener is there")
        pid = minirunc.pid(id)
        assert asked.messages[0]["pid"] == pid
        process = Path(f"/proc/{pid}")
        wait_until(lambda: beyond_streams(pid) == ["exec.fifo"], "the hand waits")
        assert "Seccomp:\t2\n" in (process / "status").read_text()
        minirunc.ok("start", id)
        minirunc.wait_for_status(id, "stopped")
        assert len(asked.messages) == 1
    assert (path.parent / "err").read_text() == DOWN


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
def test_each_exec_has_a_listener_of_its_own(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, nnp: bool
) -> None:
    """With its pid, and the container's state."""
    made = notifying(bundle(["sleep", "1000"]), path, listenerMetadata="m")
    made.process["noNewPrivileges"] = nnp
    with agent(path, down) as asked:
        id = minirunc.start(made)
        assert minirunc("exec", id, "mkdir", "/dev/shm/x") == (1, "", DOWN)
        assert minirunc("exec", "--user", "1000", id, "mkdir", "/dev/shm/x") == (1, "", DOWN)
        minirunc.ok("exec", "--detach", "--pid-file", path.parent / "pid", id, "sleep", "1000")
        first, *execs = asked.messages
        init = minirunc.pid(id)
        assert first["pid"] == first["state"]["pid"] == init
        assert [message["state"] for message in execs] == [first["state"] | {"status": "running"}] * 3
        assert execs[2]["pid"] == int((path.parent / "pid").read_text())
        assert len({message["pid"] for message in asked.messages}) == 4
        assert {message["metadata"] for message in asked.messages} == {"m"}
        minirunc.ok("delete", "--force", id)


@pytest.mark.parametrize("command", ["run", "start"])
def test_start_container_hook_has_one_too(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, command: str
) -> None:
    """It is told after the container's own, and asked; the hook has no fd more."""
    made = notifying(bundle(["true"]), path)
    script = f"({FDS}; mkdir /dev/shm/x) >/dev/shm/seen 2>&1; cat /dev/shm/seen >&2; exit 7"
    made.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    with agent(path, down) as asked:
        if command == "run":
            result = minirunc.run(made)
        else:
            id = minirunc.create(made)
            result = minirunc("start", id)
            minirunc("delete", "--force", id)
    assert result.status == 1
    assert "Network is down" in result.err
    assert "seccomp notify" not in result.err
    own, hooks = asked.messages
    assert (own["state"]["status"], hooks["state"]["status"]) == ("creating", "created")
    assert own["pid"] == own["state"]["pid"] == hooks["state"]["pid"] != hooks["pid"]


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_listener_is_not_the_programs(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, uid: int, nnp: bool, userns: bool
) -> None:
    """It has the streams, and what it opens itself; of no process inside is there one."""
    made = bundle(f"{FDS}; ls -l /proc/[0-9]*/fd; grep Seccomp: /proc/self/status")
    made = notifying(mapped(made, 100000) if userns else made, path)
    made.process["user"] = {"uid": uid, "gid": uid}
    made.process["noNewPrivileges"] = nnp
    with agent(path) as asked:
        result = minirunc.run(made)
        wait_until(lambda: asked.messages, "the listener is there")
    assert result.status == 0, result.err
    assert "Seccomp:\t2" in result.out
    assert "anon_inode" not in result.out
    assert "socket" not in result.out


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_streams_that_are_closed_stay_so(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, closed: int
) -> None:
    """The lowest free fd would be the listener's: it is not a stream of the program."""
    made = notifying(bundle(["sh", "-c", "ls -l /proc/1/fd >/dev/shm/fds; mkdir /dev/shm/x; cat /dev/shm/fds"]), path)
    minirunc.prefix = ["sh", "-c", f'exec "$@" {closed}>&-', "sh"]
    with agent(path) as asked:
        result = minirunc.run(made)
    assert len(asked.messages) == len(asked.asked) == 1
    assert "anon_inode" not in result.out + result.err


def test_preserved_fds_are_kept(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """They and the streams, no more; of exec, too."""
    made = notifying(bundle(FDS), path)
    minirunc.prefix = ["sh", "-c", f'exec "$@" 3<{path.parent} 4</dev/null', "sh"]
    with agent(path):
        result = minirunc.run(made, "--preserve-fds", "2")
        assert result.out.split("\n")[3:5] == [str(path.parent), "/dev/null"]
        assert len(result.out.splitlines()) <= 6  # and that of the directory, while it is read
        made.args(["sleep", "1000"])
        id = minirunc.start(made)
        out = minirunc("exec", "--preserve-fds", "2", id, "sh", "-c", FDS).out
        assert out.split("\n")[3:5] == [str(path.parent), "/dev/null"]
        minirunc.ok("delete", "--force", id)


# --- what the hand itself needs ---

IMPORTANT = "read close execve openat open fcntl sendmsg close_range rt_sigaction mmap"


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
@pytest.mark.parametrize("command", ["run", "create"])
def test_calls_of_the_start_itself_may_be_asked_for(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, command: str, nnp: bool
) -> None:
    """All but write: the agent has the listener before the hand needs them."""
    made = notifying(bundle(["true"]), path, IMPORTANT)
    made.process["noNewPrivileges"] = nnp
    with agent(path):
        if command == "run":
            assert minirunc.run(made) == (0, "", "")
        else:
            id = minirunc.create(made)
            minirunc.ok("start", id)
            minirunc.wait_for_status(id, "stopped")
            minirunc.ok("delete", id)
    assert len(made.linux["seccomp"]["syscalls"]) == 1


MORE = "rseq prlimit64 readlink getrandom prctl newfstatat fstatat getgid setgid setuid"  # of busybox


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("default", ["ERRNO", "KILL_PROCESS"])
def test_profile_need_allow_little(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, uid: int, nnp: bool, default: str
) -> None:
    """write, read, close and execve, not sendmsg: what needs rights was done before."""
    made = notifying(bundle(["true"]), path)
    made.linux["seccomp"] |= profile(
        default, rule(f"write read close execve {START} {MORE}", "ALLOW"), rule("getpid", "NOTIFY")
    )
    made.process["user"] = {"uid": uid, "gid": uid}
    made.process["noNewPrivileges"] = nnp
    with agent(path):
        assert minirunc.run(made) == (0, "", "")
        id = minirunc.create(made)
        minirunc.ok("start", id)
        minirunc.wait_for_status(id, "stopped")
        minirunc.ok("delete", id)


ANSWERS = "where SCMP_ACT_NOTIFY is used: "
DENIED = [
    ("write", "ERRNO", f"write must be allowed {ANSWERS}the listener is had by it"),
    ("write", "KILL", f"write must be allowed {ANSWERS}the listener is had by it"),
    ("read", "ERRNO", f"read must be allowed, or left to the agent, {ANSWERS}what to execute is had by it"),
    ("read", "TRACE", f"read must be allowed, or left to the agent, {ANSWERS}what to execute is had by it"),
]


@pytest.mark.parametrize(("name", "action", "why"), DENIED)
def test_profile_that_would_hang_is_refused(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, name: str, action: str, why: str
) -> None:
    """By what the filter as a whole says to the call; the agent was not asked for anything."""
    made = notifying(bundle(["true"]), path)
    made.linux["seccomp"]["syscalls"].append(rule(name, action))
    with agent(path) as asked:
        assert failed(minirunc, made) == f"config.json: linux.seccomp: {why}"
    assert asked.messages == []


def test_write_may_not_be_asked_for(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """In runc's words, before anything is made."""
    why = "linux.seccomp.syscalls[0].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall"
    assert failed(minirunc, notifying(bundle(["true"]), path, "mkdir write")) == f"config.json: {why}"


def test_agent_that_refuses_read_does_not_hang(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """The process is not started."""
    made = notifying(bundle("echo started"), path, "read")
    with agent(path, down):
        result = minirunc.run(made)
    assert result.status in (1, 255)
    assert "started" not in result.out


# --- where the agent is ---


def test_agents_socket_may_be_abstract_or_far_away(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """Or have a path that no address has room for."""
    deep = tmp_path / ("ü" * 60) / ("x" * 200)
    deep.mkdir(parents=True)
    for address in (f"@minirunc-{minirunc.token}", str(deep / ("a" * 80))):
        with agent(address, down) as asked:
            assert minirunc.run(notifying(bundle("mkdir /dev/shm/x"), address)) == (1, "", DOWN)
            assert len(asked.messages) == 1


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


CONNECT_NUMBER = 42 if os.uname().machine == "x86_64" else 203
CONNECT = "unable to start container process: failed to connect with seccomp agent specified in the seccomp profile: "
ABSENT: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "no such file or directory"),
    "a file": (lambda path: path.touch(), "connection refused"),
    "left": (stale, "connection refused"),
    "a directory": (lambda path: path.mkdir(), "connection refused"),
}


@pytest.mark.parametrize("case", ABSENT)
@pytest.mark.parametrize("command", ["run", "create"])
def test_agent_that_is_not_there_is_told(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, case: str, command: str
) -> None:
    """The container is undone."""
    make, why = ABSENT[case]
    make(path)
    made = notifying(bundle(["true"]), path)
    made.write()
    result = minirunc(command, "--bundle", made.path, minirunc.id())
    assert (result.status, result.out) == (1, "")
    assert f"minirunc {command} failed: {CONNECT}{path}: {why}" in result.err
    assert leftovers.state_directories(minirunc.root) == set()
    assert leftovers.cgroups(minirunc.token) == []


def test_abstract_agent_that_is_not_there_is_told(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """By its name."""
    assert failed(minirunc, notifying(bundle(["true"]), "@nobody")) == f"{CONNECT}@nobody: connection refused"
    long = "@" + "x" * 108
    assert failed(minirunc, notifying(bundle(["true"]), long)) == f"{CONNECT}{long}: AF_UNIX path too long"


def test_exec_without_agent_fails(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """The container goes on."""
    with agent(path):
        id = minirunc.start(notifying(bundle(["sleep", "1000"]), path))
    result = minirunc("exec", id, "true")
    assert result.status == 255
    assert f"exec failed: {CONNECT}{path}: connection refused" in result.err
    assert minirunc.status(id) == "running"
    minirunc.ok("delete", "--force", id)


@pytest.fixture
def full(path: Path) -> Iterator[Path]:
    """A socket whose queue is full: who listens there takes nobody."""
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
        listening.bind(str(path))
        listening.listen(0)
        waiting.connect(str(path))
        yield path


def test_agent_that_takes_nobody_is_not_waited_for_for_ever(full: Path) -> None:
    """EAGAIN, when the time is over."""
    with pytest.raises(BlockingIOError):
        handover.connected(str(full), 1)


def test_runtime_killed_while_it_waits_for_the_agent_leaves_no_process(
    minirunc: Runtime, bundle: Callable[..., Bundle], full: Path
) -> None:
    """What is on disk is `delete --force`'s."""
    made = notifying(bundle(["true"]), full)
    made.write()
    id = minirunc.id()
    run = minirunc.popen("run", "--bundle", made.path, id)
    wait_until(lambda: blocked(run.pid), "it waits")
    (hand,) = hands_of(run.pid)
    run.kill()
    run.wait()
    wait_until(lambda: not Path(f"/proc/{hand}").exists() or "(zombie)" in status_of(hand), "the hand left")
    minirunc.ok("delete", "--force", id)


def blocked(pid: int) -> bool:
    """Whether it is in connect(2)."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(CONNECT_NUMBER)


def hands_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "(zombie)"


def test_agent_that_ends_is_no_such_call(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """ENOSYS for who asks, at once: nobody else holds the listener."""
    made = notifying(bundle("read x; mkdir /dev/shm/x"), path)
    made.write()
    with agent(path) as asked:
        run = minirunc.popen("run", "--bundle", made.path, minirunc.id())
        wait_until(lambda: asked.messages, "it has the listener")
    _, err = run.communicate("\n", timeout=60)
    assert (run.returncode, err) == (1, "mkdir: can't create directory '/dev/shm/x': Function not implemented\n")


def test_agent_that_ends_before_start_does_not_hang_it(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path
) -> None:
    """The process asks it for the read it waits in: answered by nobody, it ends."""
    made = notifying(bundle(["true"]), path, "read")
    done: list[Asked] = []

    def first(asked: Asked) -> None:
        done.append(asked)

    asked = Agent(path, first)
    id = minirunc.create(made)
    wait_until(lambda: len(done) >= 2, "it was asked for both reads")
    asked.close()
    minirunc("start", id)
    minirunc.ok("delete", "--force", id)
    assert not asked.failed


# Executes a command below a filter that allows all and has a listener, which a child keeps open (seccomp(2), EBUSY).
LISTENED = """
import ctypes, os, signal, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
program = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(SECCOMP, 1, 8, program) > 2, os.strerror(ctypes.get_errno())
if os.fork() == 0:
    libc.prctl(1, signal.SIGKILL)
    signal.pause()
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_second_listener_of_one_process_is_told(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """The kernel has one for a process: below an engine that has an agent of its own there is none to be had."""
    number = syscalls.number("seccomp")
    minirunc.prefix = ["/usr/bin/python3", "-IS", "-c", LISTENED.replace("SECCOMP", str(number))]
    with agent(path) as asked:
        why = failed(minirunc, notifying(bundle(["true"]), path))
        assert minirunc.run(bundle(["true"])).status == 0
    assert asked.messages == []
    assert "error loading seccomp filter into kernel: seccomp(1, 12, " in why
    assert why.endswith("device or resource busy: another filter around this process has a listener, too")


# --- whether anybody is asked at all ---


def test_path_without_a_rule_is_ignored(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """Nobody need be there, and who is there is not told."""
    made = filtered(bundle("mkdir /dev/shm/x"), profile("ALLOW", listenerPath=str(path), listenerMetadata="x"))
    assert minirunc.run(made) == (0, "", "")
    with agent(path) as asked:
        assert minirunc.run(made) == (0, "", "")
    assert asked.messages == []


def test_filter_is_compiled_once_for_all_agents(minirunc: Runtime, bundle: Callable[..., Bundle], path: Path) -> None:
    """What engines put into metadata may differ with each container."""
    for number in range(3):
        with agent(f"{path}{number}") as asked:
            made = notifying(bundle(["true"]), f"{path}{number}", listenerMetadata=str(number))
            assert minirunc.run(made) == (0, "", "")
        assert asked.messages[0]["metadata"] == str(number)
    assert len(os.listdir(minirunc.root / ":seccomp")) == 1


def test_ordinary_users_agent(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """He may not trace the hand, which is not dumpable: it sends the listener, or tells that it may not."""
    with ordinary_user(minirunc) as home:
        path = home / "agent"
        made = notifying(given(bundle("mkdir /dev/shm/x"), home), path)
        with agent(path, down) as asked:
            os.chown(path, USER, USER)
            for made.process["noNewPrivileges"] in (True, False):
                assert minirunc.run(made) == (1, "", DOWN)
            assert len(asked.messages) == 2
            made.linux["seccomp"]["syscalls"].append(rule("sendmsg", "ERRNO"))
            why = failed(minirunc, made)
        assert why.startswith("unable to start container process: pidfd_getfd(")
        assert why.endswith(": allow sendmsg in linux.seccomp, or run with CAP_SYS_PTRACE")


# --- flags ---

PATIENT = """
trap 'echo caught' USR1
mkdir /dev/shm/x
"""


@pytest.mark.observes("linux.seccomp.flags[]")
@pytest.mark.parametrize("flags", [["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], None], ids=["killable", ""])
def test_wait_killable_recv_is_not_interrupted(
    minirunc: Runtime, bundle: Callable[..., Bundle], path: Path, flags: list[str] | None
) -> None:
    """Once the agent has the call, a signal does not end it, as it does without the flag."""
    made = notifying(bundle(), path)
    give_python(
        made,
        "import os, signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\ntry:\n os.mkdir('/dev/shm/x')\n"
        "except OSError as error:\n print(error.strerror)\n",
    )
    if flags:
        made.linux["seccomp"]["flags"] = flags
    valid = []

    def answer(asked: Asked) -> int:
        if not valid:
            os.kill(asked.pid, signal.SIGUSR1)
            pending = f"/proc/{asked.pid}/status"
            if flags:
                wait_until(lambda: "SigPnd:\t0000000000000000" not in shared(pending), "it is pending")
            else:
                wait_until(lambda: not asked.is_valid(), "it was interrupted")
            valid.append(asked.is_valid())
        return -errno.ENETDOWN

    with agent(path, answer):
        result = minirunc.run(made, before=["--debug"])
    assert valid == [bool(flags)]
    assert (result.status, result.out) == (0, "Network is down\n" if flags else "Interrupted system call\n")
    assert f'msg="seccomp filter flags: {40 if flags else 12}"' in result.err


def shared(status: str) -> str:
    """The pending signals of thread and process as one."""
    lines = Path(status).read_text().splitlines()
    bits = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return f"SigPnd:\t{bits[0] | bits[1]:016x}"
