"""The state directory <root>/<id>/: state.json (how to find and undo the container), config.json (the bundle's, as it
was), exec.fifo (there as long as the process waits for `start`). Status is derived from the kernel, never believed.

state.json is written aside and renamed. It is there before the first side effect, with pid 0 and who makes it.
Who makes, starts, updates or deletes the container holds a lock on the directory; the others only read.
"""

import posix
from time import gmtime, monotonic, sleep, time_ns

from minirunc.base import files, jsontext
from minirunc.base.errors import Error, SecurityError, StateError
from minirunc.kernel import procfs

FIFO = "exec.fifo"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")

_REMOVE = ": remove the container with `delete --force`"

# What state.json holds, as a class (no Record: `state` and `kill` are called too often for its import).
_MEMBERS: dict[str, tuple[str, type]] = {
    "id": ("id", str),
    "pid": ("pid", int),
    "pid_start": ("pidStart", int),
    "creator": ("creator", int),
    "boot_id": ("bootId", str),
    "bundle": ("bundle", str),
    "rootfs": ("rootfs", str),
    "created": ("created", str),
    "cgroup": ("cgroup", str),
    "cgroup_inode": ("cgroupInode", int),
    "cgroup_made": ("cgroupMade", list),
    "unit": ("unit", str),
    "rdt_made": ("rdtMade", list),
    "annotations": ("annotations", dict),
    "namespaces": ("namespaces", list),
    "hooks": ("hooks", list),
}


_LATER = {"unit": "", "cgroupInode": 0}  # what older versions did not write


class State:
    """What state.json holds."""

    __slots__ = tuple(_MEMBERS)

    id: str
    pid: int  # in the runtime's pid namespace; 0 while it is being made
    pid_start: int  # clock ticks after boot, proc(5) stat field 22; of `creator` while pid is 0
    creator: int  # pid of the runtime that makes it, for telling `creating` from a birth that was killed
    boot_id: str
    bundle: str
    rootfs: str
    created: str  # RFC 3339 with nanoseconds, UTC
    cgroup: str  # path below the hierarchy's root; "" where it has none
    cgroup_inode: int  # its number as a file, which no other has had since boot; 0 while it is made
    cgroup_made: list[str]  # levels of `cgroup` that the birth had to make
    unit: str  # of systemd, whose cgroup it is; "" where the file system driver made it
    rdt_made: list[str]  # groups below the root of resctrl that it made
    annotations: dict[str, str]
    namespaces: list[str]  # types of those that are not the runtime's
    hooks: list[str]  # kinds there are any of, as attributes of config.hooks.Hooks

    @classmethod
    def parse(cls, value: object, where: str) -> "State":
        """The state of a JSON value; raises Error naming the file and what is wrong in it."""
        self = cls()
        for name, (key, kind) in _MEMBERS.items():
            member = value.get(key, _LATER.get(key)) if isinstance(value, dict) else None
            if type(member) is not kind or (kind in (list, dict) and not _all_text(member)):
                raise Error(f"{where}: {key} is not what minirunc writes{_REMOVE}")
            setattr(self, name, member)
        for path in (self.bundle, self.rootfs, self.cgroup, *self.cgroup_made, *self.rdt_made):
            if path and not _is_path(path):
                raise Error(f"{where}: {path!r} is not a path that minirunc writes{_REMOVE}")
        if "/" in self.unit:
            raise Error(f"{where}: {self.unit!r} is not the name of a unit{_REMOVE}")
        return self

    def text(self) -> str:
        """As JSON."""
        return jsontext.dumps({key: getattr(self, name) for name, (key, _) in _MEMBERS.items()})


def _is_path(text: str) -> bool:
    """Absolute, without `..`, and one that a system call takes."""
    try:
        return text[0] == "/" and b"\0" not in text.encode("utf-8", "surrogateescape") and "/../" not in f"{text}/"
    except UnicodeEncodeError:
        return False


def _all_text(members: object) -> bool:
    """Whether a list or an object holds strings alone."""
    values = members.values() if isinstance(members, dict) else members if isinstance(members, list) else ()
    return all(isinstance(value, str) for value in values)


class Absent(StateError):
    """There is no such container, or no more."""


def check_id(container_id: str) -> None:
    """Refuse an id that is not a plain name: it becomes a directory below the root and the cgroup's name."""
    if not container_id:
        raise Error("container id cannot be empty")
    if container_id in (".", "..") or not _LETTERS.issuperset(container_id):
        raise Error(f"invalid container ID format: {container_id!r}: letters, digits and _ + - . are allowed")


class Store:
    """One container's state directory."""

    __slots__ = ("_claim", "directory", "id", "root")

    def __init__(self, root: str, container_id: str) -> None:
        check_id(container_id)
        self.id = container_id
        self.root = root
        self.directory = f"{root}/{container_id}"
        self._claim = -1

    def path(self, name: str) -> str:
        """The host path of one of its files."""
        return f"{self.directory}/{name}"

    def check_free(self) -> None:
        """Raise StateError if the id is in use."""
        try:
            posix.stat(self.directory, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        except PermissionError:
            raise self._unmade("permission denied") from None
        raise StateError(f"container with given ID already exists: {self.id}")

    def claim(self) -> None:
        """Make the directory and hold its lock; raises StateError if the id is in use."""
        try:
            self._check_root()
            while not self._made():
                self.check_free()  # if it does not raise, the other one is gone again
        except OSError as error:
            raise self._unmade(posix.strerror(error.errno or 0).lower()) from None
        self._claim = self.lock()

    def _check_root(self) -> None:
        """Refuse a root where anybody could put another directory in the place of ours."""
        try:
            mode = posix.stat(self.root).st_mode
        except FileNotFoundError:
            return  # it is made for its user alone
        if mode & 0o1002 == 0o002:
            raise SecurityError(f"the state directory {self.root} may be written by everybody: chmod o-w it")

    def _unmade(self, why: str) -> Error:
        hint = "; give a --root of your own, or set XDG_RUNTIME_DIR" if posix.geteuid() != 0 else ""
        return Error(f"cannot make the state directory {self.directory}: {why}{hint}")

    def _made(self) -> bool:
        try:
            try:
                posix.mkdir(self.directory, 0o711)
            except FileNotFoundError:
                make_root(self.root)
                posix.mkdir(self.directory, 0o711)
        except FileExistsError:
            return False
        return True

    def release(self) -> None:
        """Let go of the lock that `claim` took."""
        if self._claim >= 0:
            posix.close(self._claim)
            self._claim = -1

    def is_claimed(self) -> bool:
        """Whether the directory is still the one that `claim` made: `delete --force` may have been quicker."""
        return self._claim >= 0 and self.is_locked_by(self._claim)

    def write(self, name: str, data: bytes) -> None:
        """Write a file aside and rename it into place."""
        aside = self.path(f".{name}")
        fd = posix.open(aside, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o600)
        try:
            while data:
                data = data[posix.write(fd, data) :]
        finally:
            posix.close(fd)
        posix.rename(aside, self.path(name))

    def read(self, name: str, *, anybodys: bool = False) -> bytes:
        """What a file holds; raises Absent if there is no such container.

        SecurityError for a directory that others may have written, as pids, cgroup and hooks are taken from it, unless
        it is only to be shown (`anybodys`).
        """
        try:
            directory = posix.open(
                self.directory, posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
            )
            try:
                found = posix.fstat(directory)
                if not anybodys and (found.st_mode & 0o022 or found.st_uid not in (0, posix.geteuid())):
                    raise SecurityError(f"{self.directory} may have been written by others than its user")
                return files.read(name, flags=posix.O_NOFOLLOW, dir_fd=directory)
            finally:
                posix.close(directory)
        except (FileNotFoundError, NotADirectoryError):
            raise Absent(f"container does not exist: {self.id}") from None
        except OSError as error:
            error.filename = self.path(name)
            raise

    def save(self, state: State) -> None:
        """Write state.json."""
        self.write("state.json", state.text().encode())

    def load(self, *, anybodys: bool = False) -> State:
        """Read state.json; raises Absent if there is no such container, Error if it cannot be understood."""
        path = self.path("state.json")
        state = State.parse(jsontext.loads(self.read("state.json", anybodys=anybodys), path), path)
        if state.id != self.id:
            raise Error(f"{path}: is of container {state.id!r}{_REMOVE}")
        return state

    def exists(self, name: str = "") -> bool:
        """Whether the directory, or one of its files, is there."""
        try:
            posix.stat(self.path(name), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def remove(self) -> None:
        """Remove the directory with all its files; state.json goes last, so that a killed delete can be repeated."""
        try:
            names = posix.listdir(self.directory)
        except FileNotFoundError:
            return
        for name in sorted(names, key=lambda name: name == "state.json"):
            try:
                posix.unlink(self.path(name))
            except IsADirectoryError:
                from minirunc.base.seams import rmtree

                rmtree(self.path(name))
            except FileNotFoundError:
                continue
        try:
            posix.rmdir(self.directory)
        except FileNotFoundError:
            pass

    def lock(self, patience_s: float = 0) -> int:
        """Take the lock; returns its fd. Raises StateError if another process keeps it, Absent if it removed all."""
        try:
            fd = posix.open(self.directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise Absent(f"container does not exist: {self.id}") from None
        try:
            end = monotonic() + patience_s
            while not _locked(fd):
                if monotonic() >= end:
                    doing = "created, started, updated or deleted"
                    raise StateError(f"container {self.id} is being {doing} by another process")
                sleep(0.005)
            if not self.is_locked_by(fd):
                raise Absent(f"container does not exist: {self.id}")
        except BaseException:
            posix.close(fd)
            raise
        return fd

    def is_locked_by(self, fd: int) -> bool:
        """Whether the directory is still the one that `lock` gave this fd of."""
        try:
            return posix.stat(self.directory, follow_symlinks=False).st_ino == posix.fstat(fd).st_ino
        except FileNotFoundError:
            return False


def _locked(fd: int) -> bool:
    from fcntl import LOCK_EX, LOCK_NB, flock  # many commands do not lock

    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make_root(root: str) -> None:
    parts = root.split("/")
    for i in range(2, len(parts) + 1):
        try:
            posix.mkdir("/".join(parts[:i]), 0o700 if i == len(parts) else 0o755)
        except FileExistsError:
            continue


def containers(root: str) -> list[str]:
    """The ids below the root, sorted."""
    with posix.scandir(root) as entries:
        found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(name for name in found if _LETTERS.issuperset(name))  # the others are no containers


def now() -> str:
    """RFC 3339 with nanoseconds, UTC."""
    ns = time_ns()
    t = gmtime(ns // 1_000_000_000)
    fraction = f"{ns % 1_000_000_000:09d}".rstrip("0")
    return f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}" + (f".{fraction}Z" if fraction else "Z")


def boot_id() -> str:
    """Changes with each boot: a pid and its start time alone may come again."""
    return procfs.read("sys/kernel/random/boot_id").rstrip("\n")
