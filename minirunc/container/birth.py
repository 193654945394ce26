"""The order of a birth: from a bundle to a process that waits for `start`, or runs.

    outside   read and check config.json; claim the id; spawn the hand; make the cgroup
    hand      join namespaces, clone3 into the new ones and the cgroup; outside, meanwhile: the seccomp filter
    outside   id maps; network devices; hooks
    inside    mounts, devices, pivot_root, masks, terminal; find the program
    outside   limits of the process; save the state
    inside    the last batch: wait, drop, close, execve

Whatever kills us, `delete --force` finds what to undo: state.json names the cgroup before it is made, and the hand
leaves when its control socket closes.
"""

import posix

from minirunc.base import files, log
from minirunc.base.errors import ConfigError, Error, SyscallError
from minirunc.base.settings import CGROUPFS
from minirunc.config import Config, load, root, warnings
from minirunc.config.linux import devices, masked_paths, namespaces, readonly_paths, rootfs_propagation
from minirunc.config.mounts import attach, target
from minirunc.config.process import user
from minirunc.container import clone, drivers, handover, hooks, launch
from minirunc.container.status import CREATING, RUNNING, STOPPED
from minirunc.container.store import FIFO, State, Store, boot_id, now
from minirunc.kernel import cgroupfs, procfs
from minirunc.kernel.constants import CLONE_NEWNS, CLONE_NEWUSER
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.net_devices import Moved
    from minirunc.config.linux.seccomp import Filter
    from minirunc.container.notify import Proxy


class Options:
    """What a birth is asked for beside the bundle."""

    __slots__ = (
        "bundle", "cgroup_manager", "config", "console_socket", "manager", "no_new_keyring",
        "no_pivot", "preserve_fds", "rootless", "takes_terminal", "told", "waits",
    )  # fmt: skip

    def __init__(
        self,
        bundle: str,
        *,
        config: str = "",
        waits: bool = True,
        takes_terminal: bool = False,
        console_socket: bool = False,
        preserve_fds: int = 0,
        told: "list[str] | None" = None,
        manager: str = "",
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        rootless: str = "auto",
        cgroup_manager: str = CGROUPFS,
    ) -> None:
        self.bundle = bundle  # absolute
        self.config = config or f"{bundle}/config.json"
        self.waits = waits  # for `start`, in the state created
        self.takes_terminal = takes_terminal  # somebody will take the pty's master
        self.console_socket = console_socket  # it is wanted there
        self.preserve_fds = preserve_fds  # fds 3 and up that the process keeps, activated sockets among them
        self.told = told or []  # variables of a service manager's for the process; ..._PID= is its own
        self.manager = manager  # where it tells that it is ready: NOTIFY_SOCKET
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.rootless = rootless  # whether it may do without a cgroup: --rootless
        self.cgroup_manager = cgroup_manager


class Birth:
    """One birth on its way; what it has made is undone if it fails."""

    __slots__ = (
        "cgroup", "config", "fifo", "filter", "hand", "held", "kinds", "master", "moved", "options", "program", "proxy",
        "root", "state", "store",
    )  # fmt: skip

    def __init__(self, root_directory: str, container_id: str, options: Options) -> None:
        self.store = Store(root_directory, container_id)
        self.options = options
        text = _read_config(options)
        self.config: Config = load(text)
        for line in warnings(self.config):
            log.warning(line)
        handover.check_terminal(self.config.process, options)
        if options.no_pivot:
            rootfs_propagation.check_no_pivot(self.config.linux.rootfs_propagation)
        hooks.check(self.config.hooks, waits=options.waits)
        if self.config.annotations:
            user.keep_groups(self.config.annotations, self.config.process.user)
        self.kinds = namespaces.flags(self.config.linux.namespaces)
        self.store.check_free()  # before the cgroup, which is in use by then, too
        self.filter: Filter | None = None
        self.state = self._intent()
        self.cgroup = -1  # its directory
        self.root = -1
        self.master: int | None = None
        self.fifo: int | None = None
        self.moved: Moved | None = None
        self.held: dict[str, int] = {}  # an ordinary user's: its namespaces, for hooks
        self.proxy: Proxy | None = None  # to `options.manager`, for who waits for the process
        self.store.claim()
        try:
            self.store.save(self.state)
            self.store.write("config.json", text)
            if options.manager:
                from minirunc.container import notify  # a module that few containers need

                self.proxy = notify.prepare(self.config, self.store, options)
            self.hand = Hand(options.preserve_fds)
            try:
                self._make_cgroup()
            except BaseException:
                self.hand.kill()
                raise
        except BaseException:
            self._undo_outside()
            raise
        try:
            self._build()
        except BaseException as error:
            self._undo(error)
            raise

    def _intent(self) -> State:
        rootfs = root.on_host(self.config.root, self.options.bundle)
        own = procfs.stat(posix.getpid())
        state = State()
        state.id = self.store.id
        state.pid = 0
        state.pid_start = own.start if own else 0
        state.creator = posix.getpid()
        state.boot_id = boot_id()
        state.bundle = self.options.bundle
        state.rootfs = rootfs
        state.created = now()
        drivers.intend(state, self.config, self.options.cgroup_manager, self.options.rootless)
        state.rdt_made = []
        if self.config.linux.intel_rdt:
            from minirunc.config.linux import intel_rdt  # a module that few containers need

            state.rdt_made = intel_rdt.intent(self.config.linux.intel_rdt, state.id)
        state.annotations = self.config.annotations
        state.namespaces = [namespace.type for namespace in self.config.linux.namespaces]
        state.hooks = hooks.kinds(self.config.hooks)
        return state

    def _make_cgroup(self) -> None:
        wanted = self.state.cgroup
        self.cgroup = drivers.make(self.state, self.config, self.options.rootless, self.hand.pid)
        if self.state.cgroup != wanted:  # it is done without
            self.store.save(self.state)

    def _cgroup_on_host(self) -> str:
        return cgroupfs.mount_point()[0] + self.state.cgroup if self.state.cgroup else ""

    def _build(self) -> None:
        """One line a step."""
        config, hand = self.config, self.hand
        try:
            log.debug("nsexec container setup: joining and making the namespaces")  # runc's words: tools look for them
            fifo = self.store.path(FIFO) if self.options.waits else ""
            self.fifo = clone.enter(hand, config, self._cgroup_on_host(), fifo, self._find_filter)
            if self.state.unit:
                drivers.limit_to_one(self.state, config, self.cgroup)
            if config.linux.intel_rdt:
                from minirunc.config.linux import intel_rdt

                intel_rdt.apply(config.linux.intel_rdt, self.state.id, hand.pid, self.state.rdt_made)
            log.debug("child process in init(): the hand is inside")
            if self.options.told:
                pid = self.pid_inside()
                config.process.env += [f"{line}{pid}" if line.endswith("_PID=") else line for line in self.options.told]
            if config.linux.net_devices:
                from minirunc.config.linux import net_devices

                self.moved = net_devices.apply(config.linux.net_devices, hand.pid)
            if any(mount.type in ("cgroup", "cgroup2") and "ro" not in mount.options for mount in config.mounts):
                from minirunc.container import rootless

                rootless.delegate(config, self.cgroup)  # now that it has been entered, which takes its owner's rights
            if config.annotations.get("run.oci.delegate-cgroup"):
                from minirunc.container import rootless

                rootless.enter_below(config, self.cgroup, hand.pid)
            place = self._mount()
            self._hooks_before_pivot()
            self._change_root()
            # What most containers do not have is imported only for those that do: each module is 0.1 ms.
            if config.linux.sysctl:
                from minirunc.config.linux import sysctl

                sysctl.apply(config.linux.sysctl, self.root, hand)
            if config.process.terminal:
                from minirunc.container import console

                own = self._mounts_own() or "/dev" in place.tree.own
                self.master = console.make(hand, place.tree, config.process, dev_console=own)
            self.program = launch.prepare(hand, self.root, config.process, make_cwd=True, seccomp=self.filter)
            self._last_attributes(place)
        except SyscallError as error:
            error.add_note("unable to start container process: error during container init")
            raise
        except ConfigError:
            raise
        except Error as error:
            error.add_note("unable to start container process")
            raise

    def _find_filter(self) -> None:
        self.filter = launch.filter_of(self.config, self.store)

    def _mounts_own(self) -> bool:
        return namespaces.is_new(self.config.linux.namespaces, "mount")

    def _mounts_in_callers(self) -> bool:
        """Whether there is something to mount, and no mount namespace for it."""
        config = self.config
        return bool(config.mounts or config.root.readonly) and config.linux.namespace("mount") is None

    def _mount(self) -> target.Place:
        """The root file system and all that is mounted and made below it, still from the host's root."""
        config, hand = self.config, self.hand
        own = self._mounts_own()
        propagation = rootfs_propagation.FLAGS[config.linux.rootfs_propagation]
        if self._mounts_in_callers():
            from minirunc.container import host_mounts

            self.root = host_mounts.prepare(self.state.rootfs, hand, self.store)
        else:
            self.root = root.prepare(self.state.rootfs, propagation, hand, mounted=own)
        userns = bool(self.kinds & CLONE_NEWUSER)
        cgroup = self._cgroup_on_host()
        place = target.Place(hand, self.root, self.options.bundle, self.state.rootfs, cgroup, userns)
        place.label = config.linux.mount_label
        place.slave = self._mounts_in_callers()
        place.of_host_cgroups = not namespaces.is_new(config.linux.namespaces, "cgroup")
        place.context = config.annotations.get("run.oci.mount_context_type", place.context)
        attach.apply(config.mounts, place)
        joined_or_new = bool(self.kinds & CLONE_NEWNS)
        if (joined_or_new or "/dev" in place.tree.own) and not attach.is_bound(config.mounts, "/dev"):
            devices.apply(config.linux.devices, place.tree, hand, bind=userns)
        if joined_or_new:
            readonly_paths.apply(config.linux.readonly_paths, place.tree, hand)
            masked_paths.apply(config.linux.masked_paths, place.tree, hand, place.label_option())
        return place

    def _hooks_before_pivot(self) -> None:
        listed = self.config.hooks
        if listed is None:
            return
        told = hooks.Told(self.state, CREATING, self.hand.pid)
        hooks.run_outside("prestart", listed.prestart, told)
        hooks.run_outside("createRuntime", listed.create_runtime, told)
        if posix.geteuid() != 0 and (listed.create_container or (listed.start_container and not self.options.waits)):
            self.held = namespaces.hold(self.config.linux.namespaces, self.hand)
        if listed.create_container:
            from minirunc.container import enter

            told = hooks.Told(self.state, CREATING, self.pid_inside())
            enter.run_create_container_hooks(self.config, told, self.hand, self.root, self.held)

    def pid_inside(self) -> int:
        """The process's pid as its own pid namespace counts it."""
        with self.hand.batch() as do:
            pid = do.getpid()
        return int(pid)

    def _change_root(self) -> None:
        hand = self.hand
        if not self._mounts_own():
            root.change(self.root, hand)
        elif self.options.no_pivot:
            root.move(self.root, self.state.rootfs, hand)
        else:
            with hand.batch() as do:
                root.pivot(self.root, do)

    def _last_attributes(self, place: target.Place) -> None:
        """Of the file system, in which nothing is made from here on, and of the process."""
        launch.inherit(self.config.linux, self.hand)
        umask = self.config.process.user.umask
        with self.hand.batch() as do:
            if self.kinds & CLONE_NEWNS:
                rootfs_propagation.apply(self.config.linux.rootfs_propagation, do)
            if self.kinds & CLONE_NEWNS or self._mounts_in_callers():
                attach.finish(place, do)
                root.finish(self.config.root, self.root, do)
            do.umask(0o022 if umask is None else umask)
            if not self.options.no_new_keyring:
                ring = launch.join_keyring(do, self.store.id)
        if not self.options.no_new_keyring:
            launch.check_keyring(ring)

    def commit(self, console_socket: str = "", pidfd_socket: str = "", pid_file: str = "") -> State:
        """Save the state, then release the hand: it waits for `start`, or becomes the container's process.

        The terminal is handed over before, the pid file written after; a failure up to the end undoes all.
        """
        started = procfs.stat(self.hand.pid)
        self.state.pid = self.hand.pid
        self.state.pid_start = started.start if started else 0
        try:
            if self.master is not None:
                self.master = handover.give_terminal(self.master, console_socket)
            if pidfd_socket:
                handover.send_pidfd(pidfd_socket, b"standard", self.hand.pid)
            receiver = self.config.annotations.get("run.oci.pidfd_receiver")
            if receiver:
                handover.send_pidfd(receiver, b" ", self.hand.pid, self.state.bundle)
            self.store.save(self.state)
            launch.confine(self.hand, self.config.process, self.program, self.fifo, (self.state, CREATING))
            if self.fifo is None:
                self._start_container_hooks()
            log.debug("init: closing the pipe to signal completion: the last batch is sent")
            launch.finish(self.hand, self.config.process, self.program, self.fifo, self.options.preserve_fds)
            if pid_file:
                handover.write_pid_file(pid_file, self.hand.pid)
        except BaseException as error:
            self._undo(error)
            raise
        self.hand.close()
        for fd in self.held.values():
            posix.close(fd)
        if self.moved:
            self.moved.close()
        if self.cgroup >= 0:
            posix.close(self.cgroup)
        self.store.release()
        return self.state

    def _start_container_hooks(self) -> None:
        """Where nobody will call `start`."""
        if self.config.hooks and self.config.hooks.start_container:
            from minirunc.container import enter

            pid = procfs.ns_pid(self.hand.pid)  # a filter may be on that forbids the hand to say it
            enter.run_start_container_hooks(self.state, self.config, pid, self.filter, self.held)

    def run_poststart(self) -> None:
        """After the process was released; a failure ends the container (runtime-spec 1.3)."""
        if self.config.hooks:
            told = hooks.Told(self.state, RUNNING, self.state.pid)
            hooks.run_outside("poststart", self.config.hooks.poststart, told)

    def _undo(self, error: BaseException) -> None:
        """Nothing is left of a birth that failed."""
        for fd in self.held.values():
            posix.close(fd)
        if self.master is not None:
            posix.close(self.master)
        if self.cgroup >= 0 and isinstance(error, Error):
            from minirunc.container import begun  # something went wrong

            limited = bool(self.config.linux.resources.memory)
            begun.say_of_birth(error, self.state, self.cgroup, self.hand.pid, limited=limited)
        if self.moved:
            self.moved.undo()
        self.hand.kill()
        self._undo_outside()
        if self.config.hooks:
            hooks.run_poststop(self.config.hooks.poststop, hooks.Told(self.state, STOPPED, 0))

    def _undo_outside(self) -> None:
        if self.cgroup >= 0:
            posix.close(self.cgroup)
        if self.store.is_claimed():  # else `delete --force` was quicker, and somebody else may have the id by now
            if "mount" not in self.state.namespaces:
                from minirunc.container import host_mounts

                host_mounts.undo(self.store, failed=True)
            drivers.undo(self.state, made=self.cgroup >= 0)
            if self.state.rdt_made:
                from minirunc.config.linux import intel_rdt

                intel_rdt.undo(self.state.rdt_made, "")
            self.store.remove()
        self.store.release()


def _read_config(options: Options) -> bytes:
    try:
        return files.read_plain(options.config)
    except FileNotFoundError:
        directory, _, name = options.config.rpartition("/")
        raise Error(f"JSON specification file {name} not found in {directory}") from None
