"""`exec`: one more process in a running container, from the bundle's process and options, or from --process."""

import posix

from minirunc.base import files
from minirunc.base.errors import ConfigError, Error, StateError
from minirunc.base.settings import Settings
from minirunc.config import load_process
from minirunc.config import process as process_checks
from minirunc.config.process import Process
from minirunc.config.process.capabilities import Capabilities
from minirunc.container import enter, foreground, handover, launch, life
from minirunc.container.status import CREATING, PAUSED, STOPPED, status
from minirunc.container.store import Store

_NO_ID = 2**32 - 1  # setuid(2) and its kin take it for "leave as it is"
# where a wrong value stands, and the option that brought it there
_OPTIONS = {
    "process.cwd": "--cwd",
    "process.env": "--env",
    "process.apparmorProfile": "--apparmor",
    "process.selinuxLabel": "--process-label",
}


def exec_(
    settings: Settings,
    container_id: str,
    *command: str,
    console_socket: str,
    pidfd_socket: str,
    cwd: str,
    env: list[str],
    tty: bool,
    user: str,
    additional_gids: list[int],
    process: str,
    detach: bool,
    pid_file: str,
    process_label: str,
    apparmor: str,
    no_new_privs: bool | None,
    cap: list[str],
    preserve_fds: int,
    cgroup: list[str],
    ignore_paused: bool,
) -> int:
    """The exit status of the process; 0 at once if detached."""
    store = Store(settings.root, container_id)
    state = store.load()
    now = status(store, state)
    if now == STOPPED:
        raise StateError("cannot exec in a stopped container")
    if now == PAUSED and not ignore_paused:
        raise StateError("cannot exec in a paused container (use --ignore-paused to override)")
    if now == CREATING:
        raise StateError("cannot exec in a container that is being created")
    config = life.config_of(store)
    if process:
        wanted = load_process(_read(process), process, terminal=tty)
        _complete(wanted, config.process)
    else:
        wanted = config.process
        wanted.console_size = None
        wanted.terminal = tty
        wanted.args = list(command)
        if not command:
            raise Error("exec args cannot be empty")
        _override(wanted, cwd, env, user, additional_gids)
        wanted.apparmor_profile = apparmor or wanted.apparmor_profile
        wanted.selinux_label = process_label or wanted.selinux_label
        if no_new_privs is not None:
            wanted.no_new_privileges = no_new_privs
        _add_capabilities(wanted, cap)
        _check(wanted)
    _check_terminal(wanted, detach, console_socket)
    handover.check_preserved(preserve_fds)
    options = enter.Options(
        console_socket=console_socket,
        detach=detach,
        preserve_fds=preserve_fds,
        sub_cgroup=_sub_cgroup(cgroup),
        ignore_paused=ignore_paused,
    )
    options.seccomp = launch.filter_of(config, store)
    with foreground.Signals():
        entered = enter.Entry(state, config.linux, wanted, options)
        entered.commit(console_socket, pidfd_socket, pid_file)
        if detach:
            return 0
        return foreground.wait(entered.hand.pid, entered.master)


def _read(path: str) -> bytes:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)  # it may well be a pipe
        return files.read_open(fd, path, most=files.LARGEST)
    except OSError as error:
        raise Error(f"open {path}: {posix.strerror(error.errno or 0).lower()}") from None


def _complete(process: Process, containers: Process) -> None:
    """What a process file leaves out is as in the container's own process (as runc has it)."""
    process.capabilities = process.capabilities or containers.capabilities
    process.rlimits = process.rlimits or containers.rlimits
    process.io_priority = process.io_priority or containers.io_priority
    process.scheduler = process.scheduler or containers.scheduler
    process.exec_cpu_affinity = process.exec_cpu_affinity or containers.exec_cpu_affinity
    process.apparmor_profile = process.apparmor_profile or containers.apparmor_profile
    process.selinux_label = process.selinux_label or containers.selinux_label
    if process.user.umask is None:
        process.user.umask = containers.user.umask


def _check(process: Process) -> None:
    """config.json passed at birth: what is wrong now was said by an option."""
    try:
        process_checks.check(process)
    except ConfigError as wrong:
        option = _OPTIONS.get(wrong.where.partition("[")[0])
        if option:
            wrong.message = f"{option}: {wrong.why}"
        raise


def _override(process: Process, cwd: str, env: list[str], user: str, additional_gids: list[int]) -> None:
    if cwd:
        process.cwd = cwd
    process.env = process.env + env
    if user:
        uid, colon, gid = user.partition(":")
        process.user.uid = _number("uid", uid)
        if colon:
            process.user.gid = _number("gid", gid)
    for group in additional_gids:
        if not 0 <= group < _NO_ID:
            raise Error(f"additional-gids must be a positive number {group}")
    process.user.additional_gids = process.user.additional_gids + additional_gids


def _number(what: str, text: str) -> int:
    """Digits only, and an id that exists (CVE-2026-30892)."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _NO_ID):
        raise Error(f"bad {what}: parsing {text[:40]!r}: expected a number from 0 to {_NO_ID - 1}")
    return int(text)


def _add_capabilities(process: Process, names: list[str]) -> None:
    """To the bounding, effective and permitted sets; never inheritable (CVE-2022-29162), ambient only what is that."""
    if not names:
        return
    sets = process.capabilities = process.capabilities or Capabilities()
    for name in names:
        for listed in (sets.bounding, sets.effective, sets.permitted):
            if name not in listed:
                listed.append(name)
        if name in sets.inheritable and name not in sets.ambient:
            sets.ambient.append(name)


def _check_terminal(process: Process, detach: bool, console_socket: str) -> None:
    if process.terminal and detach and not console_socket:
        raise Error("cannot allocate tty if minirunc will detach without setting console socket")
    if console_socket and not (process.terminal and detach):
        raise Error("cannot use console socket if minirunc will not detach or allocate tty")


def _sub_cgroup(given: list[str]) -> str:
    """cgroup v2 has one hierarchy: a path, without controllers before a colon."""
    if len(given) > 1:
        raise Error("--cgroup can be given once on cgroup v2")
    if given and ":" in given[0]:
        raise Error(f"--cgroup {given[0]}: a controller can be named on cgroup v1 only")
    return given[0] if given else ""
