"""`mounts add` and `mounts remove` (crun's): other mounts in a container that exists.

    outside    bound sources are opened: a detached copy of the host's mounts, sent to the hand
    hand       joins the container's namespaces, as for an exec, and makes new file systems there
               finds the target below the container's root, attaches by fd, looks again: as at birth (config/mounts)

If one cannot be had those before it are taken away again. The stored configuration stays as it was.
"""

import posix
import resource

from minirunc.base.errors import Error, SyscallError
from minirunc.config import Config, load_mounts
from minirunc.config.linux import namespaces
from minirunc.config.mounts import Mount, attach, target
from minirunc.container import enter, life, status
from minirunc.container.status import CREATED, PAUSED, RUNNING
from minirunc.container.store import State, Store
from minirunc.kernel import inroot, procfs
from minirunc.kernel.constants import AT_FDCWD, CLONE_NEWUSER, MNT_DETACH, O_CLOEXEC, O_DIRECTORY, O_PATH
from minirunc.kernel.hand import Hand

EINVAL, ELOOP = 22, 40
_PATIENCE_S = 10.0  # with another process that starts, updates or deletes the container


def change(store: Store, text: bytes, name: str, *, add: bool) -> None:
    """Add or remove the mounts of a JSON array in the form of config.json's; `name` says in errors where it is from.

    Raises StateError for a container that does not run or wait, Error or ConfigError for what cannot be done.
    """
    status.require(store, store.load(), CREATED, RUNNING, PAUSED)  # at once: while it is made, its maker has the lock
    lock = store.lock(_PATIENCE_S)
    try:
        state = store.load()
        status.require(store, state, CREATED, RUNNING, PAUSED)
        config = life.config_of(store)
        if config.linux.namespace("mount") is None:
            raise Error(f"container {store.id} has no mount namespace of its own: mount below {state.rootfs}")
        mounts = load_mounts(text, name, config)
        hand = Hand()
        try:
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.prlimit(hand.pid, resource.RLIMIT_NOFILE, (most, most))  # all that are added are open at once
            place = _enter(hand, state, config)
            if add:
                _add(mounts, place)
            else:
                for index in reversed(range(len(mounts))):  # what was added last may be in what came before
                    _remove(index, mounts[index], place)
        finally:
            hand.kill()
    finally:
        posix.close(lock)


def _enter(hand: Hand, state: State, config: Config) -> target.Place:
    """Into the container's namespaces; not into its cgroup, which may be frozen or full; to a procfs of our own."""
    enter.join(hand, state.pid, config.linux.namespaces)
    enter.check_joined(state)
    with hand.batch() as do:
        root = do.openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC)
        do.umask(0o022)
    proc = procfs.private(hand, int(root))
    with hand.batch() as do:
        do.fchdir(proc)  # to name a mount by its fd, also when no further one can be had
        do.close(proc)
    userns = bool(namespaces.flags(config.linux.namespaces) & CLONE_NEWUSER)
    place = target.Place(hand, int(root), state.bundle, state.rootfs, "", userns)
    place.live = True
    place.of_host_cgroups = not namespaces.is_new(config.linux.namespaces, "cgroup")
    place.label = config.linux.mount_label
    place.context = config.annotations.get("run.oci.mount_context_type", place.context)
    return place


def _add(mounts: list[Mount], place: target.Place) -> None:
    """Each is open until all are there, to be taken back by its fd: by name somebody inside may have moved it."""
    try:
        for index, mount in enumerate(mounts):
            attach.one(index, mount, place)
        with place.hand.batch() as do:
            attach.finish(place, do)
    except BaseException:
        for tree in filter(None, map(int, reversed(place.attached))):  # 0: the batch did not come to make it
            try:
                _detach(tree, place)
            except Error:
                pass  # it was not attached, or somebody inside was quicker; the first error is told
        raise
    finally:
        for namespace in place.user_namespaces.values():
            posix.close(namespace)


def _remove(index: int, mount: Mount, place: target.Place) -> None:
    """Over no link: one that was turned meanwhile could have a mask or a read-only mount of the container's go."""
    destination = target.clean(mount.destination)
    is_link = False
    try:
        found = inroot.open_itself(place.hand, place.root, destination)
        is_link = inroot.kind_and_mode(place.hand, found) & target.KIND == target.LINK
        _detach(found, place)
    except SyscallError as error:
        no_mount = error.call == "umount2" and error.errno == EINVAL
        if error.errno == ELOOP or (no_mount and is_link):
            error.message += f": {destination} leads over a link; name the mount as /proc/1/mountinfo inside does"
        elif no_mount:
            error.message += ": there is no mount of the container's own to be taken away"
        error.add_note(f'error unmounting "{mount.destination}" (mounts[{index}])')
        raise


def _detach(found: int, place: target.Place) -> None:
    """Let go of the mount that this fd is the root of: umount2(2) takes a path, so one of the procfs of ours."""
    with place.hand.batch() as do:
        do.umount2(f"self/fd/{found}", MNT_DETACH)
        do.close(found)
