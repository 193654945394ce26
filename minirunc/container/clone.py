"""From the host's namespaces into the container's: join those given by path, clone3 into the new ones and the cgroup.

hand, outside     opens cgroup and fifo, loads the device program; setns
clone3            the child is our own (CLONE_PARENT), in all new namespaces and its cgroup at once
Python, outside   writes the id maps and clock offsets of the new ones
"""

import posix

from minirunc.base.errors import Error, SyscallError
from minirunc.config import Config, hostname
from minirunc.config.linux import namespaces
from minirunc.config.linux.resources import devices
from minirunc.config.process import user
from minirunc.container import launch
from minirunc.kernel import bpf, cgroupfs, procfs
from minirunc.kernel.constants import (
    AT_FDCWD,
    CGROUP2_SUPER_MAGIC,
    CLONE_INTO_CGROUP,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_PARENT,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NONBLOCK,
    O_RDWR,
    PR_SET_DUMPABLE,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EPERM = 1
F_SETFL = 4


def enter(
    hand: Hand, config: Config, cgroup_on_host: str, fifo_on_host: str, meanwhile: "Callable[[], None]"
) -> int | None:
    """Bring the hand inside; returns its fd of the fifo, which is made if a path is given.

    Without a path of a cgroup it stays in the caller's. `meanwhile` is called while the kernel makes the namespaces.
    """
    cgroup, program, fifo = _open(hand, config, cgroup_on_host, fifo_on_host)
    listed = config.linux.namespaces
    namespaces.join(listed, hand)
    kinds = namespaces.flags(listed)
    if kinds & CLONE_NEWUSER and not namespaces.is_new(listed, "user"):
        with hand.batch() as do:
            user.hide(do)
        from minirunc.config.linux import gid_mappings, uid_mappings  # modules that most containers do not need

        config.linux.uid_mappings = uid_mappings.joined(config.linux.uid_mappings, hand.pid)
        config.linux.gid_mappings = gid_mappings.joined(config.linux.gid_mappings, hand.pid)
    new = namespaces.flags(listed, new=True)
    flags = new & ~(CLONE_NEWTIME | CLONE_NEWCGROUP) | CLONE_PARENT
    if kinds & CLONE_NEWUSER:
        flags &= ~CLONE_NEWIPC  # `_settle` makes it
    # From the cgroup namespace of others the cgroup may be out of reach (mount option nsdelegate).
    moved = cgroup >= 0 and bool(kinds & ~new & CLONE_NEWCGROUP)
    if cgroup >= 0 and not moved:
        flags |= CLONE_INTO_CGROUP
    try:
        if new & CLONE_NEWTIME:
            flags = _new_time(hand, config, cgroup, flags)
        with hand.batch(meanwhile) as do:
            if program >= 0:
                bpf.attach(do, cgroup, program)
            do.forks(do.clone3(flags, cgroup=cgroup if flags & CLONE_INTO_CGROUP else 0))
    except SyscallError as error:
        if error.call in ("clone3", "unshare"):
            from minirunc.container import rootless

            error.message += rootless.why_no_namespaces(error.errno, new)
        raise
    if moved:
        _move(cgroup_on_host, hand.pid)
    if flags & CLONE_NEWUSER:
        _map_ids(hand, config)
    with hand.batch() as do:
        do.tolerate(do.close(cgroup))
        do.tolerate(do.close(program))
        _settle(do, config, kinds, new)
    return fifo


def _settle(do: Batch, config: Config, kinds: int, new: int) -> None:
    """The first steps inside: what the namespaces are to hold."""
    if kinds & CLONE_NEWUSER:
        user.be_root(do)
        if new & CLONE_NEWIPC:
            do.unshare(CLONE_NEWIPC)  # now: /dev/mqueue belongs to who makes it (mq_overview(7)), and to nobody else
    do.umask(0)  # modes are meant as they are given
    do.setsid()
    if new & CLONE_NEWCGROUP:
        do.unshare(CLONE_NEWCGROUP)  # now: clone3 would have taken our cgroup as its root
    hostname.apply(config.hostname, do)
    if config.domainname:
        from minirunc.config import domainname

        domainname.apply(config.domainname, do)
    launch.reset_cpus(do)
    if new & CLONE_NEWNET:
        namespaces.loopback_up(do)


def _move(cgroup_on_host: str, pid: int) -> None:
    cgroup = cgroupfs.open_directory(cgroup_on_host)
    try:
        cgroupfs.write(cgroup, "cgroup.procs", str(pid))
    finally:
        posix.close(cgroup)


def _open(hand: Hand, config: Config, cgroup_on_host: str, fifo_on_host: str) -> tuple[int, int, int | None]:
    magic = Out(120)
    cgroup: Fd = -1
    program: Fd = -1
    with hand.batch() as do:
        if cgroup_on_host:
            cgroup = do.openat(AT_FDCWD, cgroup_on_host, O_DIRECTORY | O_CLOEXEC)
            do.fstatfs(cgroup, magic)
            program = do.tolerate(bpf.load(do, bpf.device_program(devices.rules(config.linux.resources.devices))))
        if fifo_on_host:
            posix.mkfifo(fifo_on_host, 0o600)
            fifo = do.openat(AT_FDCWD, fifo_on_host, O_RDWR | O_CLOEXEC | O_NONBLOCK)
            do.fcntl(fifo, F_SETFL, O_RDWR)  # opened without waiting, read with
    if cgroup_on_host and int.from_bytes(magic.data[:8], "little") != CGROUP2_SUPER_MAGIC:
        raise Error(f"{cgroup_on_host} is not on a cgroup2 file system")
    # Who is not root of the host has no device to give, and bpf(2) is not his to call.
    if int(program) < 0 and cgroup_on_host and not (int(program) == -EPERM and not procfs.is_host_root()):
        raise SyscallError("bpf", "BPF_PROG_LOAD, the device program", -int(program))
    return int(cgroup), int(program), int(fifo) if fifo_on_host else None


def _new_time(hand: Hand, config: Config, cgroup: int, flags: int) -> int:
    """Clock offsets are set before the first process enters, by the owner of the new user namespace if there is one.

    Returns the flags that are left for the last clone3.
    """
    own = bool(flags & CLONE_NEWUSER)
    if own:
        with hand.batch() as do:
            first = flags & (CLONE_PARENT | CLONE_INTO_CGROUP | CLONE_NEWUSER)
            do.forks(do.clone3(first, cgroup=max(cgroup, 0)))
        _map_ids(hand, config)
        with hand.batch() as do:
            user.be_root(do)
        flags &= ~(CLONE_NEWUSER | CLONE_INTO_CGROUP)  # it is there
    with hand.batch() as do:
        do.unshare(CLONE_NEWTIME)
    from minirunc.config.linux import time_offsets

    if own:
        _reachable(hand, now=True)
    time_offsets.apply(config.linux.time_offsets, hand.pid)
    if own:
        _reachable(hand, now=False)
    return flags


def _map_ids(hand: Hand, config: Config) -> None:
    from minirunc.config.linux import gid_mappings, uid_mappings

    _reachable(hand, now=True)
    uid_mappings.apply(config.linux.uid_mappings, hand.pid)
    gid_mappings.apply(config.linux.gid_mappings, hand.pid)
    _reachable(hand, now=False)


def _reachable(hand: Hand, *, now: bool) -> None:
    """Whether an ordinary user may write to the /proc/PID of his hand: that of who is not dumpable is root's.

    For a new user namespace alone: nobody but that user can reach the hand, as nobody is inside yet.
    """
    if posix.geteuid() != 0:
        with hand.batch() as do:
            do.prctl(PR_SET_DUMPABLE, int(now), 0, 0, 0)
