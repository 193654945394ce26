"""The file system driver: linux.cgroupsPath to a cgroup of the container's own, limits, freeze, kill, removal.

Source: Documentation/admin-guide/cgroup-v2.rst. Made before the container's process, which clone3 puts into it.
"""

import posix
from select import POLLPRI, poll
from time import monotonic, sleep

from minirunc.base import files
from minirunc.base.errors import ConfigError, Error, StateError
from minirunc.kernel import cgroupfs, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EPERM, ENOENT, ENODEV, EROFS, EOPNOTSUPP = 1, 2, 19, 30, 95

_FREEZE_S = 1.0  # until they stand still; who does not by then is in a system call, and forks nobody

GONE = (2, 19)  # ENOENT, ENODEV: what a cgroup's file answers when the cgroup was removed


def path_for(cgroups_path: str, container_id: str, *, in_own: bool = False) -> str:
    """The cgroup's path below the hierarchy's root: absolute as given, else beside the runtime's own cgroup.

    `..` does not climb out of either: engines let their users name the cgroup. With `in_own` below the own one, if that
    alone is delegated to its user.
    """
    beside = "" if cgroups_path.startswith("/") else _beside(in_own=in_own)
    parts: list[str] = []
    for part in (cgroups_path or container_id).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        what = "the cgroup the runtime's own is in" if beside else "the root of the cgroup hierarchy"
        raise ConfigError("linux.cgroupsPath", f"is {what}; name a cgroup below it")
    return f"{beside}/{'/'.join(parts)}"


def _beside(*, in_own: bool) -> str:
    """Where a relative path begins."""
    own = cgroupfs.own_path()
    above = own.rpartition("/")[0]
    if in_own:
        root, _ = cgroupfs.mount_point()
        writable = [posix.access(f"{root}{path}/cgroup.procs", posix.W_OK) for path in (above, own)]
        if writable == [False, True]:
            return own
    return above


def leaf(path: str, ours: list[int]) -> str:
    """The cgroup that the processes `ours` have to go to, alone as they are in our own, so that `path` has controllers.

    "" where that is not so: it is not below, others are there (and not ours to move), or there is no such rule
    (cgroup-v2.rst, "No Internal Process Constraint").
    """
    root, _ = cgroupfs.mount_point()
    own = cgroupfs.own_path().rstrip("/")
    if not path.startswith(f"{own}/"):
        return ""
    try:
        posix.stat(f"{root}{own}/cgroup.type")  # what the root of all has not
        alone = {int(pid) for pid in files.read(f"{root}{own}/cgroup.procs").split()} <= {*ours}
    except OSError:
        return ""
    return f"{own}/minirunc-caller" if alone else ""


def move_to(path: str, pids: list[int]) -> None:
    """Move processes to a cgroup, made where it is missing."""
    root, _ = cgroupfs.mount_point()
    try:
        posix.mkdir(root + path, 0o755)
    except FileExistsError:
        pass
    cgroup = _open(path)
    try:
        for pid in pids:
            cgroupfs.write(cgroup, "cgroup.procs", str(pid))
    finally:
        posix.close(cgroup)


def missing_levels(path: str) -> list[str]:
    """The levels of `path` that do not exist yet, outermost first: what a birth will make and a delete removes.

    Raises StateError if the whole path is there and in use: it is somebody else's, and not to be put on record as ours.
    """
    root, _ = cgroupfs.mount_point()
    levels = _levels(path)
    if above := frozen(path):
        raise StateError(f"container's cgroup unexpectedly frozen: nothing would begin to run: {root}{above} is frozen")
    for i, level in enumerate(levels):
        try:
            posix.stat(root + level, follow_symlinks=False)
        except FileNotFoundError:
            return levels[i:]
    try:
        cgroup = cgroupfs.open_directory(root + path)
    except FileNotFoundError:
        return levels[-1:]
    try:
        _check_unused(cgroup)
    except OSError as error:
        if error.errno != ENODEV:  # it is just being removed
            raise
        return levels[-1:]
    finally:
        posix.close(cgroup)
    return []


def _levels(path: str) -> list[str]:
    """The cgroups on the way to `path`, outermost first, itself last."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[: i + 1]) for i in range(len(parts))]


def exists(path: str) -> bool:
    """Whether there is such a cgroup."""
    try:
        posix.stat(cgroupfs.mount_point()[0] + path, follow_symlinks=False)
    except OSError:
        return False
    return True


def create(path: str, threads_do: "Callable[[], bool]", *, in_use: bool = False) -> int:
    """Make the cgroup, each level's controllers enabled for the next; returns an fd of its directory.

    `threads_do` tells whether it may be a threaded one, as is all that has a controller below a cgroup with processes.
    With `in_use` it is there already, our process in it: systemd's scope.
    """
    root, _ = cgroupfs.mount_point()
    here = cgroupfs.open_directory(root)
    try:
        for name in path.strip("/").split("/"):
            _enable_controllers(here, threads_do)
            fresh = cgroupfs.make(here, name)
            below = cgroupfs.child(here, name)
            posix.close(here)
            here = below
            if fresh and cgroupfs.read(here, "cgroup.type") == "domain invalid":
                cgroupfs.write(here, "cgroup.type", "threaded")  # else it takes no process
        if not fresh and not in_use:
            _check_unused(here)
    except OSError as error:
        posix.close(here)
        hint = "; remount it read-write, or use --cgroup-manager disabled" if error.errno == EROFS else ""
        error.add_note(f"unable to apply cgroup configuration: cgroup {root}{path}{hint}")
        raise
    except BaseException:
        posix.close(here)
        raise
    return here


def _enable_controllers(cgroup: int, threads_do: "Callable[[], bool] | None" = None) -> None:
    """Let the children of `cgroup` have all its controllers; one that refuses is missed when a limit needs it.

    With processes in it those alone are to be had that threaded cgroups may have, and make one of each child: that is
    for who asks for no others (cgroup-v2.rst, "Threads").
    """
    wanted = set(cgroupfs.read(cgroup, "cgroup.controllers").split())
    wanted -= set(cgroupfs.read(cgroup, "cgroup.subtree_control").split())
    if not wanted:
        return
    if (
        threads_do
        and cgroupfs.read(cgroup, "cgroup.procs")
        and cgroupfs.has(cgroup, "cgroup.type")
        and not threads_do()
    ):
        return
    try:
        cgroupfs.write(cgroup, "cgroup.subtree_control", " ".join("+" + name for name in wanted))
    except OSError:
        for name in wanted:
            try:
                cgroupfs.write(cgroup, "cgroup.subtree_control", "+" + name)
            except OSError:
                continue


def _check_unused(cgroup: int) -> None:
    """A cgroup that was there before is taken only if nobody is in it (two containers in one would share their end)."""
    if count := len(cgroupfs.processes(cgroup)):
        raise StateError(f"container's cgroup is not empty: {count} process(es) found")


def enter_below(cgroup: int, name: str, pid: int) -> int:
    """Make a cgroup below and move the process `pid` there from `cgroup`; returns an fd of it, to be closed.

    Only then may controllers be enabled for it: cgroup-v2.rst, "No Internal Process Constraint".
    """
    way = [posix.dup(cgroup)]
    try:
        for part in name.split("/"):
            if part not in ("", "."):
                cgroupfs.make(way[-1], part)
                way.append(cgroupfs.child(way[-1], part))
        cgroupfs.write(way[-1], "cgroup.procs", str(pid))
        for above in way[:-1]:
            _enable_controllers(above)
        return posix.dup(way[-1])
    except OSError as error:
        error.add_note(f"unable to apply cgroup configuration: run.oci.delegate-cgroup {name}")
        raise
    finally:
        for fd in way:
            posix.close(fd)


def limit(cgroup: int, where: str, file: str, value: str) -> None:
    """Set one limit; `where` is its JSON path. Raises ConfigError naming controller, host mode and what to do."""
    try:
        cgroupfs.write(cgroup, file, value)
    except OSError as error:
        if error.errno in (ENOENT, EPERM):
            from minirunc.cgroup import lacking

            raise ConfigError(where, lacking.why(cgroup, where, file)) from None
        why = posix.strerror(error.errno or 0).lower()
        raise ConfigError(where, f"unable to set {file} to {value!r}: {why}") from None


def frozen(path: str) -> str:
    """The outermost cgroup on the way to `path`, itself included, whose freezer is on; "" if none is.

    What is below a frozen cgroup stands still, whatever its own file says (cgroup-v2.rst, "cgroup.freeze").
    """
    root, _ = cgroupfs.mount_point()
    for level in _levels(path):
        try:
            if files.read(f"{root}{level}/cgroup.freeze") == b"1\n":
                return level
        except OSError:  # it is not there, or no more
            break
    return ""


def pause(path: str, timeout_s: float = 10) -> None:
    """Freeze all its processes and wait until they are; if they do not, it is thawed again."""
    cgroup = _open(path)
    try:
        cgroupfs.write(cgroup, "cgroup.freeze", "1")
        if not _wait(cgroup, "frozen", 1, timeout_s, while_freeze="1"):
            _check_alone(cgroup, path, "1", "thawed")
            cgroupfs.write(cgroup, "cgroup.freeze", "0")
            raise Error(f"the cgroup {path} did not freeze within {timeout_s:g} seconds: {_who(cgroup)}")
    finally:
        posix.close(cgroup)


def resume(path: str, timeout_s: float = 10) -> None:
    """Let its processes run again and wait until they do. Raises StateError if a cgroup above keeps them frozen."""
    cgroup = _open(path)
    try:
        cgroupfs.write(cgroup, "cgroup.freeze", "0")
        above = frozen(path)
        if above not in ("", path):
            raise StateError(f"the cgroup {path} is thawed, but {above} above it is frozen: thaw that one")
        if not _wait(cgroup, "frozen", 0, timeout_s, while_freeze="0"):
            _check_alone(cgroup, path, "0", "frozen")
            raise Error(f"the cgroup {path} did not thaw within {timeout_s:g} seconds")
    finally:
        posix.close(cgroup)


def _check_alone(cgroup: int, path: str, wrote: str, done: str) -> None:
    """Raise StateError if another process has done the contrary of what we wait for: it would not come."""
    if cgroupfs.read(cgroup, "cgroup.freeze") != wrote:
        raise StateError(f"the cgroup {path} was {done} by another process meanwhile")


def _open(path: str) -> int:
    return cgroupfs.open_directory(cgroupfs.mount_point()[0] + path)


def _who(cgroup: int) -> str:
    """Its processes as a person would look for them: pid, name, state as in ps(1)."""
    return ", ".join(map(procfs.described, cgroupfs.processes(cgroup))) or "no process"


def _wait(cgroup: int, key: str, value: int, timeout_s: float, while_freeze: str = "") -> bool:
    """Wait for `key value` in cgroup.events; the kernel announces a change by POLLPRI.

    Not longer than cgroup.freeze is `while_freeze`, if given.
    """
    fd = posix.open("cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=cgroup)
    try:
        watch = poll()
        watch.register(fd, POLLPRI)
        end = monotonic() + timeout_s
        while True:
            text = posix.pread(fd, 4096, 0).decode()
            if f"{key} {value}\n" in text:
                return True
            left = end - monotonic()
            if left <= 0 or (while_freeze and cgroupfs.read(cgroup, "cgroup.freeze") != while_freeze):
                return False
            watch.poll(min(left, 0.1) * 1000)
    finally:
        posix.close(fd)


def kill(cgroup: int) -> None:
    """SIGKILL to everything in it, frozen or not."""
    try:
        cgroupfs.write(cgroup, "cgroup.kill", "1")
    except OSError as error:
        if error.errno not in (ENOENT, EOPNOTSUPP):  # before Linux 5.14; in a threaded cgroup
            raise
        cgroupfs.write(cgroup, "cgroup.freeze", "1")  # so that it makes no more meanwhile
        _wait(cgroup, "frozen", 1, _FREEZE_S)
        for pid in cgroupfs.processes(cgroup):
            try:
                posix.kill(pid, 9)
            except ProcessLookupError:
                continue
        cgroupfs.write(cgroup, "cgroup.freeze", "0")


def destroy(path: str, made: list[str], timeout_s: float = 10, *, leave: bool = False) -> None:
    """End what is in the cgroup and remove it, then those of the levels above that the container `made`.

    With `leave` it is left, empty.
    """
    try:
        above = _open(path.rpartition("/")[0])
    except FileNotFoundError:
        return
    try:
        (_empty if leave else _remove)(above, path, monotonic() + timeout_s)
    finally:
        posix.close(above)
    remove_levels(made)


def remove_levels(made: list[str]) -> None:
    """Remove the levels a birth made, innermost first, as long as nobody uses them."""
    if not made:
        return
    root, _ = cgroupfs.mount_point()
    for level in reversed(made):
        try:
            posix.rmdir(root + level)
        except FileNotFoundError:
            continue
        except OSError:
            break


def _empty(parent: int, path: str, end: float) -> bool:
    """End what is in the cgroup until the time `end`; False if it is gone. Raises Error naming what is still there."""
    cgroup = -1
    try:
        cgroup = cgroupfs.child(parent, path.rpartition("/")[2])
        kill(cgroup)
        empty = _wait(cgroup, "populated", 0, end - monotonic())
        if not empty or monotonic() > end:
            survivors = procfs.survivors(cgroupfs.processes(cgroup))
            raise Error(f"unable to remove cgroup {path}: SIGKILL has not ended {survivors}")
    except OSError as error:
        if error.errno not in GONE:  # somebody else removed it
            raise
        return False
    finally:
        if cgroup >= 0:
            posix.close(cgroup)
    return True


def _remove(parent: int, path: str, end: float) -> None:
    name = path.rpartition("/")[2]
    pause = 0.0005
    while True:
        try:
            cgroupfs.remove(parent, name)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if not cgroupfs.has(parent, name):  # a read-only hierarchy says so before it looks
                return
            if error.errno != 16:
                raise
        if not _empty(parent, path, end):
            continue
        sleep(pause)  # an emptied cgroup stays busy until its last zombie is reaped
        pause = min(2 * pause, 0.05)
