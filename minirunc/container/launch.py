"""The last steps that a birth and an exec share: from a hand inside, still with all capabilities, to the execve.

    prepare   what can fail, fails here: directory, program, HOME, labels, limits, the bounding set; the program is
              looked for with the user's rights, which are given back
    finish    one last batch: wait for `start`, drop, close, filter, execve; nobody listens any more

Dropped last, because who has fewer capabilities than an attacker inside could be ptraced by him.
"""

import posix
from struct import pack, unpack_from

from minirunc.base import log
from minirunc.base.errors import Error, SecurityError, SyscallError
from minirunc.config.process import (
    Process,
    capabilities,
    cwd,
    env,
    oom_score_adj,
    rlimits,
    user,
)
from minirunc.kernel import inroot, procfs
from minirunc.kernel.constants import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    PR_SET_NO_NEW_PRIVS,
    STATX_BASIC_STATS,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.hand_code import LEAVE, SIZE, machine
from minirunc.kernel.syscalls import Fd, Out, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config
    from minirunc.config.linux import Linux
    from minirunc.config.linux.seccomp import Filter
    from minirunc.container.store import State, Store

# What execve(2) may answer when the file itself was found: the hand says so by itself, nobody else is there to.
_EXECVE_ERRORS = (1, 2, 5, 7, 8, 11, 12, 13, 14, 20, 21, 22, 23, 24, 26, 36, 40, 80)

# What seccomp(2) may answer to a filter that was compiled, and an errno that neither of the two gives.
_SECCOMP_ERRORS = (1, 12, 13, 22, 38)
_EBADF = 9
_CAP_SYS_ADMIN = 1 << 21

EPERM, ERANGE, ENOSYS = 1, 34, 38
KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SETPERM = 1, 5
_KEYRING_MODE = 0x3F0B0000  # all for who holds it; its user may view, read and, what is not the default, find it
_ALL_CPUS = b"\xff" * 1024  # 8192, as many as a kernel can be built for; it takes those it has
# struct sigaction of a handler that does not return: handler, flags (SA_RESTORER), restorer, mask
_LEAVE = pack("<4Q", LEAVE[machine()], 0x04000000, LEAVE[machine()], 0)
_ENDING = (1, 2, 3, 15)  # HUP, INT, QUIT, TERM: they end a container that waits for `start`, as they end runc's


class Program:
    """What is to be executed, and with which rights: the outcome of prepare."""

    __slots__ = ("argv", "available", "env", "envp", "filter", "listener", "path")

    def __init__(self, path: str, argv: Words | int, env: list[str], envp: Words | int, available: int) -> None:
        self.path = path
        self.filter: Filter | None = None  # of system calls
        self.argv = argv  # as execve(2) takes it
        self.env = env
        self.envp = envp
        self.available = available  # permitted capabilities of the hand, a bit each
        self.listener = -1  # of the filter's, once that is on


def filter_of(config: "Config", store: "Store") -> "Filter | None":
    """The filter that each process of the container has, if it has one."""
    if not config.linux.seccomp and "run.oci.seccomp_bpf_data" not in config.annotations:
        return None
    from minirunc.container import filters

    return filters.compiled(config, store)


def prepare(hand: Hand, root: int, process: Process, *, make_cwd: bool, seccomp: "Filter | None" = None) -> Program:
    """Find and check all the process needs; `root` is the container's root directory as the hand has it open."""
    oom_score_adj.apply(process.oom_score_adj, hand.pid)
    streams = [Out(256), Out(256), Out(256)]
    held = Out(24)
    with hand.batch() as do:
        for fd, room in enumerate(streams):
            do.tolerate(do.statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, room))
        capabilities.held(do, held)
        entered = do.tolerate(do.chdir(process.cwd))
        passwd = env.open_passwd(process.env, root, do)
    found = inroot.settled(hand, root, "/etc/passwd", passwd)
    home = env.home(env.read_passwd(found, hand), process.user.uid)
    variables = env.complete(process.env, home)
    late = not cwd.apply(process.cwd, int(entered), hand, root, make=make_cwd)
    available = capabilities.held_mask(held)
    for line in capabilities.warnings(process.capabilities, available):
        log.warning(line)
    # Before the limits, which bind the hand, too.
    fits = SIZE // 2 - (len(seccomp.program) if seccomp else 0)
    argv, envp = _arguments(hand, process, variables, fits)
    if process.apparmor_profile or process.selinux_label:
        _ask_for_labels(hand, root, process)
    path = _try_as_user(hand, process, variables, available, late, streams)
    if process.scheduler:
        from minirunc.config.process import scheduler  # modules that most processes do not need

        scheduler.apply(process.scheduler, hand)
    if process.io_priority:
        from minirunc.config.process import io_priority

        io_priority.apply(process.io_priority, hand)
    program = Program(path, argv, variables, envp, available)
    program.filter = seccomp
    return program


def inherit(linux: "Linux", hand: Hand) -> None:
    """What linux.* says of every process in the container, and not of the container."""
    if linux.personality:
        from minirunc.config.linux import personality  # modules that few containers need

        personality.apply(linux.personality, hand)
    if linux.memory_policy:
        from minirunc.config.linux import memory_policy

        memory_policy.apply(linux.memory_policy, hand)


def _ask_for_labels(hand: Hand, root: int, process: Process) -> None:
    """The execve at the end brings them; asked for while somebody listens, and before the limits, which bind the hand.

    Nothing takes them back: the hand makes no other execve.
    """
    proc = procfs.private(hand, root)
    if process.apparmor_profile:
        from minirunc.config.process import apparmor_profile  # modules that few processes need

        apparmor_profile.apply(process.apparmor_profile, proc, hand)
    if process.selinux_label:
        from minirunc.config.process import selinux_label

        selinux_label.apply(process.selinux_label, proc, hand)
    with hand.batch() as do:
        do.close(proc)


def reset_cpus(do: Batch) -> None:
    """All CPUs that the cgroup allows, now and later, not those that the caller was bound to; as in runc 1.5."""
    do.tolerate(do.sched_setaffinity(0, _ALL_CPUS))


def join_keyring(do: Batch, container_id: str) -> Fd:
    """A session keyring of the container's, not its caller's: made by a birth, found by exec; for check_keyring."""
    ring = do.tolerate(do.keyctl(KEYCTL_JOIN_SESSION_KEYRING, f"_ses.{container_id}"))
    do.tolerate(do.keyctl(KEYCTL_SETPERM, ring, _KEYRING_MODE))
    return ring


def check_keyring(ring: Fd, but_for: tuple[int, ...] = ()) -> None:
    """Raise SyscallError if the caller's keys are still there: only a kernel without keys may refuse (as in runc)."""
    if int(ring) < 0 and -int(ring) not in (ENOSYS, *but_for):
        error = SyscallError("keyctl", "KEYCTL_JOIN_SESSION_KEYRING", -int(ring))
        error.add_note("unable to join the session keyring (create --no-new-keyring keeps the caller's)")
        raise error


def _own_streams(rooms: list[Out], uid: int, do: Batch) -> None:
    """Give the standard streams to the process's user, so that it can open /dev/stdout; not /dev/null, it is shared."""
    for fd, room in enumerate(rooms):
        device = unpack_from("<2I", room.data, 128)
        known = unpack_from("<I", room.data)[0]  # stx_mask: 0 where statx(2) failed
        if known and device != (1, 3) and unpack_from("<I", room.data, 20)[0] != uid:
            do.tolerate(do.fchown(fd, uid, -1))


def _candidates(program: str, variables: list[str]) -> list[str]:
    """The paths to look at for args[0]: itself if it has a slash, else one a directory of the container's PATH."""
    if "/" in program:
        return [program]
    search = next((value[5:] for value in variables if value.startswith("PATH=")), "")
    return [f"{directory or '.'}/{program}" for directory in search.split(":")] if search else []


def _try_as_user(
    hand: Hand, process: Process, variables: list[str], held: int, enter_late: bool, streams: list[Out]
) -> str:
    """The program's path, found out with the user's ids and effective capabilities."""
    room = Out(256)
    effective = capabilities.effective(process.capabilities) & held
    looks: list[tuple[str, Out, Fd, Fd]] = []
    entered: Fd = 0
    try:
        with hand.batch() as do:
            _own_streams(streams, process.user.uid, do)
            groups = user.assume(process.user, do)
            capabilities.set_effective(do, effective, held)
            if enter_late:
                entered = do.tolerate(do.chdir(process.cwd))
            here = do.tolerate(do.getcwd(room))
            for path in _candidates(process.args[0], variables):
                out = Out(256)
                found = do.tolerate(do.statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, out))
                looks.append((path, out, found, do.tolerate(do.faccessat2(AT_FDCWD, path, 1, AT_EACCESS))))
            user.give_back(do)
            capabilities.set_effective(do, held, held)
            dropped = capabilities.drop_bounding(do, process.capabilities)
            limits = rlimits.apply(process.rlimits, do)
    except SyscallError as error:
        if error.call.startswith("set"):
            error.add_note("unable to setup user")
        if error.call == "setgroups" and posix.geteuid() != 0:
            error.add_note("cannot set any additional groups in a rootless container that maps its own gid alone")
        raise
    user.check_groups(groups, hand.pid)
    capabilities.check_bounding(dropped, hand)
    rlimits.finish(process.rlimits, limits, hand.pid)
    if int(entered) < 0:
        raise cwd.failed(process.cwd, -int(entered))
    _check_reachable(int(here), room, hand)
    return _choose(process.args[0], looks)


def _check_reachable(length: int, room: Out, hand: Hand) -> None:
    """Raise SecurityError if getcwd(2), which gave `length`, says that the working directory is not below the root.

    A long path is asked for again: room for every path in the largest batch were 12 KiB more charged to the container.
    """
    if length == -ERANGE:
        room = Out(4096)
        with hand.batch() as do:
            do.getcwd(room)
    elif length < 0:
        raise SyscallError("getcwd", "", -length)
    if not room.text().startswith(b"/"):
        raise SecurityError(
            "current working directory is outside of container mount namespace root"
            " -- possible container breakout detected"
        )


def _choose(program: str, looks: "list[tuple[str, Out, Fd, Fd]]") -> str:
    """The first path that is a file one may execute; raises Error in the words callers look for."""
    for path, out, found, access in looks:
        for call, result in (("statx", found), ("faccessat2", access)):
            if int(result) in (-EPERM, -ENOSYS):  # says nothing of the file
                raise SyscallError(call, f'"{path}"', -int(result))
        is_directory = int.from_bytes(out.data[28:30], "little") & 0o170000 == 0o040000
        why = ""
        if int(found) < 0:
            why = f"stat {path}: {posix.strerror(-int(found)).lower()}"
        elif is_directory:
            why = "is a directory"
        elif int(access) < 0:
            why = posix.strerror(-int(access)).lower()
        if not why:
            return path
        if "/" in program:
            raise Error(f'exec: "{program}": {why}')
    raise Error(f'exec: "{program}": executable file not found in $PATH')


def confine(hand: Hand, process: Process, program: Program, wait_on: int | None, about: "tuple[State, str]") -> None:
    """If an agent is to be asked, put the filter on and give its listener away; `about` is the container's state."""
    if program.filter and program.filter.agent:
        from minirunc.container import listener  # a module that few containers need

        listener.confine(hand, process, program, wait_on, about)


def finish(hand: Hand, process: Process, program: Program, wait_on: int | None, keep: int) -> None:
    """Send the last batch: wait for the byte of `start`, drop, close all but the streams and `keep` fds, execve."""
    if program.filter and program.filter.agent:
        from minirunc.container import listener

        listener.finish(hand, process, program, wait_on)
        return
    if wait_on is not None:
        hand.shrink()  # what it holds while it waits is charged to the container
    do = hand.batch()
    if wait_on is not None:
        # Nothing is held while it waits but the streams and what it waits on (CVE-2024-21626).
        do.close_range(3 + keep, wait_on - 1)
        do.close_range(wait_on + 1)
        can_be_ended(do)
        do.read(wait_on, Out(1), 1)
    drop(do, process, program)
    do.close_range(3 + keep)  # the control socket too: what goes wrong now the hand says itself
    if program.filter:
        _filter(do, program.filter)
    executed = do.tolerate(do.execve(program.path, program.argv, program.envp))
    if program.filter:
        do.on_failure(_EBADF, executed)
    say_why(do, process.args[0])
    hand.finish(do)


def can_be_ended(do: Batch) -> None:
    """Init of a pid namespace is sent only what it has a handler for (pid_namespaces(7))."""
    for number in _ENDING:
        do.rt_sigaction(number, _LEAVE)


def drop(do: Batch, process: Process, program: Program) -> None:
    """User, capabilities and no_new_privs as the process has them, but for what the filter takes to be loaded."""
    user.apply(process.user, do)
    # execve(2) computes anew what is permitted and in effect, so that what the filter takes is not the process's.
    for_filter = _CAP_SYS_ADMIN if program.filter and not process.no_new_privileges else 0
    capabilities.apply(process.capabilities, do, program.available, for_filter)
    if process.no_new_privileges:
        do.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _filter(do: Batch, wanted: "Filter") -> None:
    """Load the filter last, so that the profile need allow nothing but execve; the execve is never without it.

    It is made only if the last failure was EBADF: that of the first call here, not the filter's.
    """
    from minirunc.config.linux import seccomp

    do.tolerate(do.close(-1))
    do.tolerate(seccomp.apply(wanted, do))
    for errno in _SECCOMP_ERRORS:
        why = f"error loading seccomp filter into kernel: {posix.strerror(errno).lower()}\n"
        do.on_failure(errno, do.tolerate(do.write(2, why.encode())))
        do.on_failure(errno, do.exit_group(255))


def _arguments(hand: Hand, process: Process, variables: list[str], room: int) -> tuple[Words | int, Words | int]:
    """argv and envp for the last batch; where they have not room in it, the addresses of both in the hand's memory."""
    argv = [text.encode("utf-8", "surrogateescape") for text in process.args]
    envp = [text.encode("utf-8", "surrogateescape") for text in variables]
    if sum(map(len, argv)) + sum(map(len, envp)) + 16 * (len(argv) + len(envp)) < room:
        return Words(*argv, 0), Words(*envp, 0)
    from resource import RLIMIT_STACK, getrlimit  # most are far away from the kernel's limits

    from minirunc.config.process import args

    stack = [limit.soft for limit in process.rlimits if limit.type == "RLIMIT_STACK"]
    args.check_size(argv, envp, stack[0] if stack else getrlimit(RLIMIT_STACK)[0])
    return _loaded(hand, argv), _loaded(hand, envp)


def _loaded(hand: Hand, strings: list[bytes]) -> int:
    """The strings and the pointers to them put into memory of their own."""
    address = hand.load(b"\0".join(strings) + b"\0")
    pointers: list[int] = []
    for text in strings:
        pointers.append(address)
        address += len(text) + 1
    return hand.load(pack(f"<{len(pointers) + 1}Q", *pointers, 0))


def say_why(do: Batch, name: str) -> None:
    """One raw line on the process's stderr, as runc's init prints it, then an exit status."""
    for errno in _EXECVE_ERRORS:
        line = f"exec {name}: {posix.strerror(errno).lower()}\n".encode("utf-8", "surrogateescape")
        do.on_failure(errno, do.tolerate(do.write(2, line)))
    do.exit_group(255)
