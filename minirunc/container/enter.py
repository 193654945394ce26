"""The order of an exec: a new process into a running container.

outside   spawn the hand; it joins the namespaces by the pidfd of the container's process, with its own memory
          owned by our user namespace, so that nobody inside may ptrace it (CVE-2016-9962)
inside    clone3 into the container's cgroup; the same last steps as a birth
"""

import posix

from minirunc.base import log
from minirunc.base.errors import Error, StateError, SyscallError
from minirunc.config import Config
from minirunc.config.hooks import Hook
from minirunc.config.linux import Linux, namespaces
from minirunc.config.linux.namespaces import Namespace
from minirunc.config.process import Process, user
from minirunc.container import handover, hooks, launch
from minirunc.container.status import CREATED, RUNNING, open_cgroup
from minirunc.container.store import State
from minirunc.kernel import cgroupfs, inroot, procfs
from minirunc.kernel.constants import (
    AT_FDCWD,
    CLONE_INTO_CGROUP,
    CLONE_NEWCGROUP,
    CLONE_NEWUSER,
    CLONE_PARENT,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    O_RDONLY,
)
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.seccomp import Filter

EPERM, ENOENT, ESRCH, EACCES, EBUSY, ENOSYS = 1, 2, 3, 13, 16, 38
_STOPPED = "cannot exec in a stopped container"


class Options:
    """What an exec is asked for beside the process itself."""

    __slots__ = ("console_socket", "detach", "ignore_paused", "preserve_fds", "seccomp", "sub_cgroup")

    def __init__(
        self,
        *,
        console_socket: str = "",
        detach: bool = False,
        preserve_fds: int = 0,
        sub_cgroup: str = "",
        ignore_paused: bool = False,
        seccomp: "Filter | None" = None,
    ) -> None:
        self.console_socket = console_socket
        self.detach = detach
        self.preserve_fds = preserve_fds  # fds 3 and up that the process keeps
        self.sub_cgroup = sub_cgroup  # below the container's
        self.ignore_paused = ignore_paused  # wait until the cgroup is thawed
        self.seccomp = seccomp  # the container's


def join(
    hand: Hand,
    pid: int,
    listed: list[Namespace],
    cgroups: list[str] | None = None,
    unit: str = "",
    held: dict[str, int] | None = None,
) -> None:
    """Put the hand into the namespaces of `pid`, and into the first of `cgroups` that takes it; they are `unit`'s.

    `held` are these namespaces as namespaces.hold has them. Where the container has no mount namespace of its own, its
    root is what chroot(2) made it.
    """
    kinds = namespaces.flags(listed)
    # Who is in a cgroup namespace cannot go to a cgroup from outside of it where cgroup2 is mounted with nsdelegate, as
    # systemd does: so the container's own is entered after its cgroup.
    late = CLONE_NEWCGROUP if namespaces.is_new(listed, "cgroup") else 0
    fds = {kind: hand.send_fd(fd) for kind, fd in (held or {}).items()}
    with hand.batch() as do:
        # The cgroup's directory is looked up outside: it may be out of reach from inside.
        found = [do.tolerate(do.openat(AT_FDCWD, path, O_DIRECTORY | O_CLOEXEC)) for path in cgroups or []]
        process = do.pidfd_open(pid)
        if late:
            own = fds.get("cgroup") or do.openat(AT_FDCWD, f"/proc/{pid}/ns/cgroup", O_RDONLY | O_CLOEXEC)
        if not namespaces.is_new(listed, "mount"):
            root = do.openat(AT_FDCWD, f"/proc/{pid}/root", O_PATH | O_DIRECTORY | O_CLOEXEC)
        if kinds:
            if fds:
                for kind in sorted(fds, key="user".__ne__):  # first what gives the rights to enter the others
                    if namespaces.FLAGS[kind] != late:
                        do.setns(fds[kind], namespaces.FLAGS[kind])
            elif kinds & ~late:
                do.setns(process, kinds & ~late)
            if kinds & CLONE_NEWUSER:
                user.hide(do)
        if not namespaces.is_new(listed, "mount"):
            do.fchdir(root)
            do.chroot(".")
    _clone(hand, cgroups, [int(fd) for fd in found], unit)
    with hand.batch() as do:
        if late:
            do.setns(own, late)
        do.close_range(hand.control + 1)
        if kinds & CLONE_NEWUSER:
            user.be_root(do)
        do.setsid()


def _join(
    hand: Hand, state: State, listed: list[Namespace], cgroups: list[str] | None, held: dict[str, int] | None = None
) -> None:
    try:
        join(hand, state.pid, listed, cgroups, state.unit, held)
    except SyscallError as error:
        if error.errno == ESRCH:
            raise StateError(_STOPPED) from None
        if error.errno in (EPERM, EACCES) and not held and posix.geteuid() != 0:  # it is still the hand, and hidden
            error.add_note("an ordinary user cannot enter what waits for `start`")
        raise
    check_joined(state)


def _join_rdt(hand: Hand, state: State, linux: Linux) -> None:
    if linux.intel_rdt:
        from minirunc.config.linux import intel_rdt  # a module that few containers need

        intel_rdt.join(linux.intel_rdt, state.id, hand.pid)


def check_joined(state: State) -> None:
    """Raise StateError if the container's process ended before it was joined, and another one may have its pid."""
    found = procfs.stat(state.pid)
    if found is None or found.start != state.pid_start:
        raise StateError(_STOPPED)


def _clone(hand: Hand, paths: list[str] | None, cgroups: list[int], unit: str) -> None:
    if not paths:
        with hand.batch() as do:
            do.forks(do.clone3(CLONE_PARENT))
        return
    errno = 0
    for cgroup, path in zip(cgroups, paths, strict=True):
        errno = -cgroup
        if cgroup >= 0:
            with hand.batch() as do:
                child = do.tolerate(do.forks(do.clone3(CLONE_PARENT | CLONE_INTO_CGROUP, cgroup=cgroup)))
            if int(child) > 0:
                return
            errno = -int(child)
            if errno in (EACCES, ENOENT) and _moved(hand, path, unit):
                return
        if errno not in (ENOENT, EBUSY):
            break
    if errno == ENOSYS:
        raise SyscallError("clone3", "CLONE_PARENT|CLONE_INTO_CGROUP", errno)
    hint = "; call from within the cgroup that is delegated to you" if errno == EACCES and posix.geteuid() != 0 else ""
    raise Error(f"error adding pid {hand.pid} to cgroups: {paths[0]}: {posix.strerror(errno).lower()}{hint}")


def _moved(hand: Hand, path: str, unit: str) -> bool:
    """Put there from outside: the cgroup is the container's user's, and the hand has no rights outside any more; or it
    is outside of the cgroup namespace that the hand had to join (nsdelegate). What we may not do ourselves, as we are
    not in the part of the hierarchy that is ours, systemd does for its `unit`.
    """
    with hand.batch() as do:
        do.forks(do.clone3(CLONE_PARENT))
    try:
        cgroup = cgroupfs.open_directory(path)
    except OSError:
        return False
    try:
        cgroupfs.write(cgroup, "cgroup.procs", str(hand.pid))
    except (PermissionError, FileNotFoundError):
        if not unit:
            return False
        from minirunc.container import drivers

        drivers.attach(unit, path, hand.pid)
    finally:
        posix.close(cgroup)
    return True


def _cgroups(state: State, sub_cgroup: str) -> "list[str] | None":
    """Where the process may go: the container's cgroup, or where its first process went meanwhile (systemd inside)."""
    if not state.cgroup:
        if sub_cgroup:
            raise Error(f"--cgroup {sub_cgroup}: container {state.id} has no cgroup of its own")
        return None
    root, _ = cgroupfs.mount_point()
    if sub_cgroup:
        return [root + _below(state.cgroup, sub_cgroup)]
    own = root + state.cgroup
    moved = cgroupfs.path_of(state.pid)
    return [own] if moved == state.cgroup else [own, root + moved]


def _check_thawed(path: str) -> None:
    """In a frozen cgroup a process would not begin; this or one above may stand still while the container runs."""
    try:
        cgroup = cgroupfs.open_directory(path)
        try:
            frozen = cgroupfs.flag(cgroup, "cgroup.events", "frozen")
        finally:
            posix.close(cgroup)
    except OSError:  # told when it is joined
        return
    if frozen:
        from minirunc.cgroup import fs  # most are not

        root, _ = cgroupfs.mount_point()
        above = root + (fs.frozen(path.removeprefix(root)) or path)
        raise StateError(f"cannot exec in a paused container (use --ignore-paused to override): {above} is frozen")


def _below(cgroup: str, sub: str) -> str:
    parts: list[str] = []
    for part in sub.split("/"):
        if part == "..":
            if not parts:
                raise Error(f"bad sub cgroup path: {sub}: it leaves the container's cgroup")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join([cgroup, *parts])


class Entry:
    """An exec on its way: the hand inside, ready to become the process, and the terminal's master if it has one."""

    __slots__ = ("hand", "master", "options", "process", "program", "state")

    def __init__(self, state: State, linux: Linux, process: Process, options: Options) -> None:
        self.state = state
        self.options = options
        self.process = process
        self.master: int | None = None
        self.hand = Hand(options.preserve_fds)
        try:
            self._enter(state, linux)
        except BaseException as error:
            if isinstance(error, Error):
                self._say_if_killed(error)
                error.add_note("unable to start container process")
            self._undo()
            raise

    def _enter(self, state: State, linux: Linux) -> None:
        hand, process = self.hand, self.process
        log.debug("nsexec container setup: joining the namespaces")
        user.keep_groups(state.annotations, process.user)
        affinity = process.exec_cpu_affinity
        cgroups = _cgroups(state, self.options.sub_cgroup)
        if cgroups and not self.options.ignore_paused:
            _check_thawed(cgroups[0])
        if affinity:
            from minirunc.config.process import exec_cpu_affinity

            exec_cpu_affinity.begin(affinity, hand.pid)
            _join(hand, state, linux.namespaces, cgroups)
            exec_cpu_affinity.apply(affinity.final, hand.pid)
        else:
            _join(hand, state, linux.namespaces, cgroups)
        _join_rdt(hand, state, linux)
        log.debug("child process in init(): the hand is inside")
        launch.inherit(linux, hand)
        with hand.batch() as do:
            root = do.openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC)
            if not affinity or not (affinity.initial or affinity.final):
                launch.reset_cpus(do)
        if process.terminal:
            from minirunc.container import console  # a module that most execs do not need

            self.master = console.make(hand, inroot.Tree(int(root)), process)
        self.program = launch.prepare(hand, int(root), process, make_cwd=False, seccomp=self.options.seccomp)
        with hand.batch() as do:
            ring = launch.join_keyring(do, state.id)  # now that a label for it is set
            if process.user.umask is not None:
                do.umask(process.user.umask)
        # denied: the container may have been made with --no-new-keyring, for want of one
        launch.check_keyring(ring, but_for=(EPERM, EACCES))

    def commit(self, console_socket: str = "", pidfd_socket: str = "", pid_file: str = "") -> None:
        """Hand over what the caller asked for and let the hand become the process; the pid file comes last."""
        try:
            if self.master is not None:
                self.master = handover.give_terminal(self.master, console_socket)
            if pidfd_socket:
                handover.send_pidfd(pidfd_socket, b"setns", self.hand.pid)
            log.debug(f"setns_init: about to exec {self.program.path}")
            launch.confine(self.hand, self.process, self.program, None, (self.state, RUNNING))
            launch.finish(self.hand, self.process, self.program, None, self.options.preserve_fds)
            if pid_file:
                handover.write_pid_file(pid_file, self.hand.pid)
        except BaseException:
            self._undo()
            raise
        self.hand.close()

    def _say_if_killed(self, error: Error) -> None:
        """runc's guess, with figures: it was killed, and others in the cgroup were for want of memory, or it was it."""
        from minirunc.cgroup import oom  # something went wrong
        from minirunc.kernel import hand_gone

        if not self.state.cgroup or not hand_gone.was_killed(self.hand.pid):
            return
        try:
            cgroup = open_cgroup(self.state)
        except OSError:
            return
        if oom.killed(cgroup):
            error.add_note(f"possibly OOM-killed: {oom.figures(cgroup)}")
        posix.close(cgroup)

    def _undo(self) -> None:
        self.hand.kill()
        if self.master is not None:
            posix.close(self.master)


def run_create_container_hooks(
    config: Config, told: hooks.Told, process: Hand, root: int, held: dict[str, int]
) -> None:
    """In the namespaces of the process, with its rights, before it changes its root; raises Error.

    `root` is its new root's fd: the hooks are there, as in runc, though the path may be out of reach for its user.
    `held`: of namespaces.hold.
    """

    def go(hand: Hand, hook: Hook) -> None:
        join(hand, process.pid, config.linux.namespaces, held=held)
        inside = hand.send_fd(ours)
        with hand.batch() as do:
            do.fchdir(inside)
            do.close(inside)
        hooks.execute(hand, hook, None)

    ours = process.receive_fd(root)
    try:
        for index, hook in enumerate(config.hooks.create_container if config.hooks else []):
            hooks.run("createContainer", index, hook, told, go)
    finally:
        posix.close(ours)


def run_start_container_hooks(
    state: State, config: Config, pid_inside: int, seccomp: "Filter | None", held: dict[str, int] | None = None
) -> None:
    """In the container, by programs of the container: with the user, rights, limits, filter, cgroup of its process.

    `held`: of namespaces.hold, where the caller has them.
    """

    def go(hand: Hand, hook: Hook) -> None:
        process = _as_process(hook, config.process)
        _join(hand, state, config.linux.namespaces, _cgroups(state, ""), held)
        _join_rdt(hand, state, config.linux)
        launch.inherit(config.linux, hand)
        umask = process.user.umask
        with hand.batch() as do:
            root = do.openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC)
            do.umask(0o022 if umask is None else umask)
            launch.reset_cpus(do)
            ring = launch.join_keyring(do, state.id)  # else it has the keys of who called
        launch.check_keyring(ring, but_for=(EPERM, EACCES))
        program = launch.prepare(hand, int(root), process, make_cwd=False, seccomp=seccomp)
        program.argv = hooks.vector(hook.args or [hook.path])
        if hook.env is not None:
            program.envp = hooks.vector(hook.env)
        launch.confine(hand, process, program, None, (state, CREATED))
        launch.finish(hand, process, program, None, 0)

    user.keep_groups(config.annotations, config.process.user)
    told = hooks.Told(state, CREATED, pid_inside)
    for index, hook in enumerate(config.hooks.start_container if config.hooks else []):
        hooks.run("startContainer", index, hook, told, go)


def _as_process(hook: Hook, containers: Process) -> Process:
    """A process like the container's, but for what it executes."""
    process = Process.__new__(Process)
    for entry in Process.fields.values():
        setattr(process, entry[0], getattr(containers, entry[0]))
    process.args = [hook.path]
    return process
