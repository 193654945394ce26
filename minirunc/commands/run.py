"""`run`: create, start, wait, delete in one process; or, detached, create and start."""

import posix

from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.container import foreground, handover, life
from minirunc.container.birth import Birth, Options
from minirunc.container.status import memory_limited
from minirunc.kernel import procfs

_KILLED = 128 + 9


def born(
    settings: Settings,
    container_id: str,
    *,
    bundle: str,
    config: str,
    console_socket: str,
    waits: bool,
    foreground: bool = False,
    preserve_fds: int,
    no_pivot: bool,
    no_new_keyring: bool,
) -> Birth:
    """What create and run begin with."""
    sockets = handover.listen_fds()
    preserve_fds += sockets
    handover.check_preserved(preserve_fds)
    options = Options(
        handover.absolute(bundle or "."),
        config=handover.absolute(config) if config not in ("", "config.json") else "",
        waits=waits,
        takes_terminal=bool(console_socket) or foreground,
        console_socket=bool(console_socket),
        preserve_fds=preserve_fds,
        told=handover.activated(sockets) + (handover.watchdog() if foreground else []),
        manager=handover.notify_socket(),
        no_pivot=no_pivot,
        no_new_keyring=no_new_keyring,
        rootless=settings.rootless,
        cgroup_manager=settings.cgroup_manager,
    )
    return Birth(settings.root, container_id, options)


def run(
    settings: Settings,
    container_id: str,
    *,
    bundle: str,
    config: str,
    console_socket: str,
    pidfd_socket: str,
    pid_file: str,
    no_pivot: bool,
    no_new_keyring: bool,
    preserve_fds: int,
    detach: bool,
    keep: bool,
    no_subreaper: bool,
) -> int:
    """The exit status of the container's process; detached 0, at once or when a service manager knows it is ready."""
    if console_socket and not detach:
        raise Error("cannot use console socket if minirunc will not detach or allocate tty")
    others: set[int] | None = None  # children of ours that are not the container's, where nothing else tells
    with foreground.Signals():
        birth = born(
            settings,
            container_id,
            bundle=bundle,
            config=config,
            console_socket=console_socket,
            waits=False,
            foreground=not detach,
            preserve_fds=preserve_fds,
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
        )
        if not detach and not no_subreaper and "pid" not in birth.state.namespaces:
            foreground.become_subreaper()
            if not birth.state.cgroup:
                from minirunc.container import members

                others = members.children()
        state = birth.commit(console_socket, pidfd_socket, pid_file)
        try:
            if memory_limited(state):
                from minirunc.container import begun

                begun.check(state)
            birth.run_poststart()
        except Error:
            posix.kill(state.pid, 9)
            posix.waitpid(state.pid, 0)
            life.end(birth.store, state)
            raise
        if not detach:
            return _attended(birth, others, keep=keep)
    if birth.proxy:  # a signal ends us: the process is not ours
        birth.proxy.until_ready(procfs.pidfd(state.pid), state.pid)
    return 0


def _attended(birth: Birth, others: set[int] | None, *, keep: bool) -> int:
    """Wait for the process and remove what was made for it; its exit status."""
    state = birth.state
    try:
        status = foreground.wait(state.pid, birth.master, birth.proxy)
        if status == _KILLED and state.cgroup:
            from minirunc.container import begun

            begun.warn(state)
        return status
    finally:
        if others is not None and not keep:
            from minirunc.container import members

            members.end_adopted(others)
        if not keep:
            life.end(birth.store, state)
