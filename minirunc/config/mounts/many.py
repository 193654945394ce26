"""mounts, hundreds of them: those of the usual kinds are sent by the dozen, each as its own calls in their order.

    bind, new      a form for each combination of options: source and target opened, mounted, looked at again
    a call fails   it ends the series; what is before it is done, this mount goes the long way, which succeeds or
                   explains, and the next series begins behind it

What attach.py does, in the same order, with the same checks; a target is judged right after it was mounted on, as there
for new file systems. Imported only where there are many.
"""

import posix

from minirunc.base.errors import Error, SecurityError
from minirunc.config.mounts import Mount, attach, target
from minirunc.config.mounts.options import Options, attributes, chosen_flags, parse_options
from minirunc.config.mounts.target import Job, Place
from minirunc.kernel import inroot
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MS_BIND,
    MS_RDONLY,
    MS_REC,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    STATX_BASIC_STATS,
    STATX_MNT_ID,
)
from minirunc.kernel.forms import Blank, Form, Part, Series
from minirunc.kernel.syscalls import Fd, Out, Result, Words, failure

EAGAIN = 11
_SOURCE, _IN_ROOT, _ABOVE, _LAST = Blank("source"), Blank("in_root"), Blank("above"), Blank("last")
_MOST = 64  # in a series: it has files open until it ends
_UNUSUAL = ("cgroup", "cgroup2", "mqueue", "proc", "sysfs")  # with rules of their own
_LONG = 1000  # characters of a path that is not usual any more
_NEW_FILE = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | O_NOFOLLOW | O_CLOEXEC


class _Kind:
    """How mounts of the same options are made, from one root: their form and where it says what."""

    __slots__ = ("again", "form", "made", "mode", "moved", "options", "place", "rooms", "stays", "tree")

    def __init__(self, mount: Mount, options: Options, root: int, place: Place, source_kind: int) -> None:
        self.options = options
        self.place = place
        self.rooms = tree_stat, stat, fs, found = Out(256), Out(256), Out(120), Out(256)
        mode = any(word.startswith("mode=") for word in options.data)
        self.stays = not options.bind and mount.type == "tmpfs" and not mode
        self.again: Fd = -1
        self.made: Fd = -1
        with Form(place.hand, (_SOURCE, _IN_ROOT, _ABOVE, _LAST)) as do:
            self.tree = self._bound(do) if options.bind else self._new(mount, do)
            do.statx(self.tree, "", AT_EMPTY_PATH, STATX_MNT_ID, tree_stat)
            if source_kind:
                self._make(root, source_kind, do)
            onto = inroot.openat2(do, root, _IN_ROOT)
            do.statx(onto, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, stat)
            do.fstatfs(onto, fs)
            self.moved = attach.move(self.tree, onto, do)
            do.close(onto)  # so that the second look needs no more files than what could not have failed so
            if root == place.root:  # below a mount of our own nobody can move it
                self.again = do.tolerate(inroot.openat2(do, root, _IN_ROOT))
                do.tolerate(do.statx(self.again, "", AT_EMPTY_PATH, STATX_MNT_ID, found))
                do.tolerate(do.close(self.again))
            attach.settle(self.tree, options, do)
            if not self.stays:
                do.close(self.tree)
        self.form = do

    def _bound(self, do: Form) -> Fd:
        options = self.options
        recursive = AT_RECURSIVE if options.recursive else 0
        tree = do.open_tree(AT_FDCWD, _SOURCE, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive)
        if options.flags & ~(MS_BIND | MS_REC) or options.cleared:
            do.mount_setattr(tree, "", AT_EMPTY_PATH, Words(*chosen_flags(options), 0, 0))
        return tree

    def _new(self, mount: Mount, do: Form) -> Fd:
        fs = do.fsopen(mount.type, FSOPEN_CLOEXEC)
        attach.configure(fs, Job(mount), self.place, do)
        tree = do.fsmount(fs, FSMOUNT_CLOEXEC, attributes(self.options.flags))
        do.close(fs)
        return tree

    def _make(self, root: int, source_kind: int, do: Form) -> None:
        """The target, if only its last part is missing."""
        parent = do.tolerate(inroot.openat2(do, root, _ABOVE, O_PATH | O_DIRECTORY))
        if source_kind == target.DIRECTORY:
            self.made = do.tolerate(do.mkdirat(parent, _LAST, 0o755))
        else:
            do.tolerate(do.close(do.tolerate(do.openat(parent, _LAST, _NEW_FILE, 0o644))))
        do.tolerate(do.close(parent))


class _Many:
    """The mounts on their way: what waits to be sent, and what is known of options and sources seen before."""

    __slots__ = ("_kinds", "_left", "_most", "_plain", "_root", "_waiting", "place", "series", "todo")

    def __init__(self, mounts: list[Mount], place: Place) -> None:
        self.todo = list(enumerate(mounts))[::-1]  # the next is the last
        self.place = place
        self.series = Series(place.hand)
        self._waiting: list[tuple[int, Mount, str, _Kind]] = []
        self._most = _MOST
        self._left: list[tuple[int, int]] = []  # tmpfs: the fd, and the mode its directory had, to be given to it
        self._plain: dict[tuple[str, ...], Options | None] = {}
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        stat = Out(256)
        with place.hand.batch() as do:
            do.statx(place.root, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, stat)
        self._root = target.identity(stat.data)

    def all(self) -> None:
        """Mount them in order."""
        while self.todo or self._waiting:
            if not self.todo or len(self._waiting) >= self._most:
                self._send()
            elif not self._add(*self.todo[-1]):
                if self._waiting:
                    self._send()
                else:
                    attach.one(*self.todo.pop(), self.place)
        self._tidy()

    def _add(self, index: int, mount: Mount) -> bool:
        """Have the next one sent with others; False if it is not of the usual kinds, or there is no room."""
        options = self._usual(mount)
        destination = mount.destination
        if options is None or len(destination) > _LONG or len(mount.source) > _LONG:
            return False
        try:
            clean = target.clean(destination)
        except Error:  # said once more the long way, with the mount's name
            return False
        if clean in attach.KEPT or clean.startswith("/proc/"):
            return False
        source = mount.source
        if options.bind and not source.startswith("/"):
            source = f"{self.place.bundle}/{source}"
        if self.place.userns and source.rstrip("/") == "/sys":
            return False  # not only the uppermost mount of it is made read-only (CVE-2023-25809)
        root, in_root = self.place.tree.at(clean)
        kind = self._kind(mount, options, root, source)
        above, _, last = in_root.lstrip("/").rpartition("/")
        if not self.series.add(kind.form, source, in_root, above or ".", last):
            return False
        self._waiting.append((index, mount, clean, kind))
        self.place.mounted(clean)
        self.todo.pop()
        return True

    def _usual(self, mount: Mount) -> Options | None:
        """Its options, if it is a bind mount or a file system without extras."""
        if mount.uid_mappings or mount.gid_mappings:
            return None
        key = mount.type, *mount.options
        if key not in self._plain:
            options = parse_options(mount.options)
            extras = options.idmap, options.remount, options.tmpcopyup, options.copy_symlink, options.src_nofollow
            usual = not any(extras) and not options.dest_nofollow and not self.place.slave
            if not options.bind:
                short = all(len(word) <= attach.LONGEST for word in options.data)
                late = mount.type == "tmpfs" and options.flags & MS_RDONLY  # it becomes so in the end
                usual = usual and mount.type not in _UNUSUAL and not late and short
            self._plain[key] = options if usual else None
        return self._plain[key]

    def _kind(self, mount: Mount, options: Options, root: int, source: str) -> _Kind:
        source_kind = target.DIRECTORY if not options.bind else self._look(source)
        key = root, source_kind, "" if options.bind else mount.source, mount.type, *mount.options
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(mount, options, root, self.place, source_kind)
        return kind

    def _look(self, source: str) -> int:
        """What to make where its target is missing, as far as it can be told from here; 0 if not."""
        if source.startswith(self.place.rootfs):  # what is mounted there is not to be seen from here
            return 0
        try:
            return posix.stat(source).st_mode & target.KIND
        except OSError:
            return 0

    def _send(self) -> None:
        """Send what waits; a mount that fails is done the long way, and the rest is to do again."""
        waiting, series, place = self._waiting, self.series, self.place
        self._waiting, self.series = [], Series(place.hand)
        self._tidy()
        series.send()
        for (index, mount, clean, kind), part in zip(waiting, series.parts, strict=True):
            if part is series.failed:
                break
            try:
                self._judge(mount, clean, kind, part)
            except Error as error:
                attach.note(error, index, mount)
                raise
        if series.failed is None:
            self._most = min(2 * self._most, _MOST)
            return
        self._most = max(1, self._most // 4)
        at = series.parts.index(series.failed)
        self.todo += [(index, mount) for index, mount, _, _ in waiting[:at:-1]]
        index, mount, _, kind = waiting[at]
        place.used += series.failed.left_open()
        call = len(series.failed.values) - 1
        assert isinstance(kind.moved, Result)
        if call > kind.moved.index:  # it stands there, but is not as it is to be
            name, args, _, _ = kind.form.entries[call]
            wrong = failure(name, args, -series.failed.values[call])
            attach.note(wrong, index, mount)
            raise wrong
        self._tidy()
        attach.one(index, mount, place)

    def _tidy(self) -> None:
        """Close what is not needed any more; give each tmpfs the mode of what it covers."""
        if not self._left and not self.place.used:
            return
        with self.place.hand.batch() as do:
            attach.close_used(self.place, do)
            for tree, mode in self._left:
                if mode >= 0:
                    do.fchmodat(tree, ".", mode)
                do.close(tree)
        self._left.clear()

    def _judge(self, mount: Mount, clean: str, kind: _Kind, part: Part) -> None:
        """Raise Error if it stands where it may not, SecurityError if it is not found there."""
        tree_stat, stat, fs, found = kind.rooms
        values = part.values
        covered = part.out(stat)
        target.refuse(mount.destination, covered, self._root, part.out(fs))
        if not isinstance(kind.again, int):
            ours = part.out(tree_stat)[144:152]
            there = part.out(found)[144:152]
            if values[kind.again.index] == -EAGAIN:
                there = self._found(clean)
            if ours != there:
                raise SecurityError(f"{clean} was replaced while it was mounted")
        if kind.stays:
            made = not isinstance(kind.made, int) and values[kind.made.index] == 0
            mode = -1 if made else int.from_bytes(covered[28:30], "little") & 0o7777
            assert not isinstance(kind.tree, int)
            self._left.append((values[kind.tree.index], mode))

    def _found(self, clean: str) -> bytes:
        """The second look once more, where a rename raced with it: the mount's id."""
        stat = Out(256)
        again = inroot.find(self.place.hand, self.place.root, clean)
        with self.place.hand.batch() as do:
            do.tolerate(do.statx(again, "", AT_EMPTY_PATH, STATX_MNT_ID, stat))
            do.tolerate(do.close(again))
        return stat.data[144:152]


def apply(mounts: list[Mount], place: Place) -> None:
    """Mount them in order."""
    _Many(mounts, place).all()
