"""SCMP_ACT_NOTIFY: a filter that is on before the last batch, and its listener, which the seccomp agent gets.

    Python                                the hand                               agent
      connect -------------------------------------------------------------------->
      batch: close, drop, filter ------>  the filter is on from here
                                     <--  the listener, where sendmsg(2) is allowed
                                     <--  results, by write(2)
      pidfd_getfd(2), where it is not
      ContainerProcessState and the listener ------------------------------------->
      last batch ---------------------->  read(2), which the agent may be asked for as for all that follows:
                                          close, read the byte of `start`, execve

Everything that has rights is done before, so that the profile need allow write, read and execve alone.
Sources: seccomp_unotify(2), runtime-spec config-linux.md "The Container Process State".
"""

import posix
from struct import pack

from minirunc.base import jsontext
from minirunc.base.errors import ConfigError, Error, SecurityError, SyscallError
from minirunc.config.linux import seccomp
from minirunc.config.linux.seccomp import Agent, Filter
from minirunc.config.process import Process
from minirunc.container import handover, hooks, launch
from minirunc.container.launch import Program
from minirunc.container.store import State
from minirunc.kernel import procfs
from minirunc.kernel.hand import Hand
from minirunc.kernel.hand_code import BUFFER, SIZE
from minirunc.kernel.seccomp import SECCOMP_RET_ACTION, answer
from minirunc.kernel.syscalls import Out, local, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

EPERM, EAGAIN, EBUSY = 1, 11, 16
_F_DUPFD_CLOEXEC, _F_SETFD, _FD_CLOEXEC = 1030, 2, 1
_SOL_SOCKET, _SCM_RIGHTS, _NOSIGNAL = 1, 1, 0x4000
_WAIT_S = 10  # for an agent whose queue is full
_LISTENER = "anon_inode:seccomp notify"


def confine(hand: Hand, process: Process, program: Program, wait_on: int | None, about: tuple[State, str]) -> None:
    """Put the filter on and give its listener away. Raises ConfigError, Error."""
    wanted = program.filter
    assert wanted
    assert wanted.agent
    try:
        by_message = _check(wanted, hand.control)
        if wait_on is not None:
            hand.shrink()
        free = _prepare(hand, wait_on)
        connection = _connected(wanted.agent)
        try:
            listener = _loaded(hand, process, program, free if by_message else -1)
            try:
                _send(connection, wanted.agent, _message(hand.pid, wanted.agent, about), listener)
            finally:
                posix.close(listener)
        finally:
            connection.close()
    except Error as error:
        if not isinstance(error, ConfigError):
            error.add_note("unable to start container process")
        raise


def finish(hand: Hand, process: Process, program: Program, wait_on: int | None) -> None:
    """Send the last batch of a hand that is confined."""
    do = hand.batch()
    do.tolerate(do.close(program.listener))  # else nobody hears of it when the agent ends
    if wait_on is not None:
        do.tolerate(do.close(hand.control))
        do.read(wait_on, Out(1), 1)
    do.tolerate(do.execve(program.path, program.argv, program.envp))
    launch.say_why(do, process.args[0])
    try:
        hand.finish(do)
    except Error as error:
        error.message += "; the seccomp agent may have refused its read"
        raise


def _check(filter_: Filter, control: int) -> bool:
    """Raise ConfigError if the hand could not answer or be answered; returns whether it can send a file.

    Else it would wait for ever, or we would.
    """
    said = {}
    for name, size in (("write", SIZE), ("read", SIZE), ("sendmsg", 0)):
        found = answer(filter_.program, number(name), control, BUFFER, size)
        said[name] = None if found is None else found & SECCOMP_RET_ACTION
    passes = (seccomp.ACTIONS["SCMP_ACT_ALLOW"], seccomp.ACTIONS["SCMP_ACT_LOG"])
    notify = seccomp.ACTIONS["SCMP_ACT_NOTIFY"]
    if said["write"] == notify:
        raise ConfigError("linux.seccomp", "SCMP_ACT_NOTIFY cannot be used for the write syscall")
    if said["write"] not in passes:
        raise ConfigError(
            "linux.seccomp", "write must be allowed where SCMP_ACT_NOTIFY is used: the listener is had by it"
        )
    if said["read"] not in (*passes, notify):
        why = "read must be allowed, or left to the agent, where SCMP_ACT_NOTIFY is used: what to execute is had by it"
        raise ConfigError("linux.seccomp", why)
    return said["sendmsg"] in passes


def _prepare(hand: Hand, wait_on: int | None) -> int:
    """Close what is not needed any more, mark what is; returns the fd that the listener will have."""
    with hand.batch() as do:
        if wait_on is not None:
            do.close_range(hand.control + 1, wait_on - 1)
            launch.can_be_ended(do)
        do.close_range((hand.control if wait_on is None else wait_on) + 1)
        do.fcntl(hand.control, _F_SETFD, _FD_CLOEXEC)
        free = do.fcntl(hand.control, _F_DUPFD_CLOEXEC, 0)
        do.close(free)
    return int(free)


def _loaded(hand: Hand, process: Process, program: Program, expected: int) -> int:
    """Drop what is to be dropped, put the filter on; returns our copy of the listener.

    It comes by message if its number is `expected`, else we take it, which needs the right to trace the hand.
    """
    assert program.filter
    pidfd = procfs.pidfd(hand.pid)  # of who answers to us afterwards
    try:
        do = hand.batch()
        launch.drop(do, process, program)
        inside = seccomp.apply(program.filter, do)
        if expected >= 0:
            ours = hand.receive_fd(expected, do)
        else:
            hand.execute(do)
            ours = int(local().pidfd_getfd(pidfd, int(inside)))
    except SyscallError as error:
        if error.call == "seccomp":
            error.add_note("error loading seccomp filter into kernel")
            if error.errno == EBUSY:
                error.message += ": another filter around this process has a listener, too"
        if error.call == "pidfd_getfd" and error.errno == EPERM:
            error.message += ": allow sendmsg in linux.seccomp, or run with CAP_SYS_PTRACE"
        raise
    finally:
        posix.close(pidfd)
    program.listener = int(inside)
    if posix.readlink(f"/proc/self/fd/{ours}") != _LISTENER:
        posix.close(ours)
        raise SecurityError("the hand's listener is none of a filter")
    return ours


def _connected(agent: Agent) -> "socket":
    path = f"\0{agent.path[1:]}" if agent.path.startswith("@") else agent.path
    try:
        connection = handover.connected(path, _WAIT_S)
    except OSError as error:
        why = _why(error)
        raise Error(
            f"failed to connect with seccomp agent specified in the seccomp profile: {agent.path}: {why}"
        ) from None
    return connection


def _send(connection: "socket", agent: Agent, message: bytes, listener: int) -> None:
    """All of it, the fd with its beginning."""
    try:
        sent = connection.sendmsg([message], [(_SOL_SOCKET, _SCM_RIGHTS, pack("<i", listener))], _NOSIGNAL)
        while sent < len(message):
            sent += connection.send(message[sent:], _NOSIGNAL)
    except OSError as error:
        raise Error(f"cannot send seccomp fd to {agent.path}: {_why(error)}") from None


def _why(error: OSError) -> str:
    if error.errno == EAGAIN:
        return f"no answer within {_WAIT_S} s"
    return posix.strerror(error.errno).lower() if error.errno else str(error)


def _message(pid: int, agent: Agent, about: tuple[State, str]) -> bytes:
    """A ContainerProcessState; pids are as we see them."""
    state, status = about
    value: dict[str, object] = {"ociVersion": hooks.OCI_VERSION, "fds": ["seccompFd"], "pid": pid}
    if agent.metadata:
        value["metadata"] = agent.metadata
    value["state"] = hooks.state_value(state, status, state.pid)
    return jsontext.dumps(value).encode("utf-8", "surrogateescape")
