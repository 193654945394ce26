"""mounts[].options: runc's and crun's option words and what each means to mount(2) and mount_setattr(2)."""

from minirunc.kernel.constants import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_RELATIME,
    MOUNT_ATTR_STRICTATIME,
    MS_BIND,
    MS_DIRSYNC,
    MS_I_VERSION,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_NOSYMFOLLOW,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    MS_SHARED,
    MS_SILENT,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
)

# word: (it sets the flag rather than clears it, flag of mount(2))
# `acl` is no word: the kernel takes MS_POSIXACL from itself only, file systems know it as data.
WORDS = {
    "async": (False, MS_SYNCHRONOUS),
    "atime": (False, MS_NOATIME),
    "bind": (True, MS_BIND),
    "defaults": (True, 0),
    "dev": (False, MS_NODEV),
    "diratime": (False, MS_NODIRATIME),
    "dirsync": (True, MS_DIRSYNC),
    "exec": (False, MS_NOEXEC),
    "iversion": (True, MS_I_VERSION),
    "lazytime": (True, MS_LAZYTIME),
    "loud": (False, MS_SILENT),
    "mand": (True, MS_MANDLOCK),
    "noatime": (True, MS_NOATIME),
    "nodev": (True, MS_NODEV),
    "nodiratime": (True, MS_NODIRATIME),
    "noexec": (True, MS_NOEXEC),
    "noiversion": (False, MS_I_VERSION),
    "nolazytime": (False, MS_LAZYTIME),
    "nomand": (False, MS_MANDLOCK),
    "norelatime": (False, MS_RELATIME),
    "nostrictatime": (False, MS_STRICTATIME),
    "nosuid": (True, MS_NOSUID),
    "nosymfollow": (True, MS_NOSYMFOLLOW),
    "rbind": (True, MS_BIND | MS_REC),
    "relatime": (True, MS_RELATIME),
    "remount": (True, MS_REMOUNT),
    "ro": (True, MS_RDONLY),
    "rw": (False, MS_RDONLY),
    "silent": (True, MS_SILENT),
    "strictatime": (True, MS_STRICTATIME),
    "suid": (False, MS_NOSUID),
    "symfollow": (False, MS_NOSYMFOLLOW),
    "sync": (True, MS_SYNCHRONOUS),
}

# crun's: said of the file system, of which the mounts below have their own, so that nothing recursive is left of them
OF_THE_FILE_SYSTEM = {f"r{word}": WORDS[word] for word in ("async", "dirsync", "mand", "nomand", "sync")}

# word: flags of a mount(2) of their own, after the mount; linux.rootfsPropagation has the same words
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}

# word: (it sets the attribute, attribute of mount_setattr(2) for the whole tree)
RECURSIVE = {
    "ratime": (False, MOUNT_ATTR_NOATIME),
    "rdev": (False, MOUNT_ATTR_NODEV),
    "rdiratime": (False, MOUNT_ATTR_NODIRATIME),
    "rexec": (False, MOUNT_ATTR_NOEXEC),
    "rnoatime": (True, MOUNT_ATTR_NOATIME),
    "rnodev": (True, MOUNT_ATTR_NODEV),
    "rnodiratime": (True, MOUNT_ATTR_NODIRATIME),
    "rnoexec": (True, MOUNT_ATTR_NOEXEC),
    "rnorelatime": (False, MOUNT_ATTR_RELATIME),
    "rnostrictatime": (False, MOUNT_ATTR_STRICTATIME),
    "rnosuid": (True, MOUNT_ATTR_NOSUID),
    "rnosymfollow": (True, MOUNT_ATTR_NOSYMFOLLOW),
    "rrelatime": (True, MOUNT_ATTR_RELATIME),
    "rro": (True, MOUNT_ATTR_RDONLY),
    "rrw": (False, MOUNT_ATTR_RDONLY),
    "rstrictatime": (True, MOUNT_ATTR_STRICTATIME),
    "rsuid": (False, MOUNT_ATTR_NOSUID),
    "rsymfollow": (False, MOUNT_ATTR_NOSYMFOLLOW),
}

# The atime attributes are a choice, not bits: the kernel wants all of them cleared to set one.
_ATIME_WORDS = {"ratime", "rnoatime", "rnorelatime", "rnostrictatime", "rrelatime", "rstrictatime"}

# word: the attribute of Options it sets; the first is runc's and crun's, the others are crun's
EXTENSIONS = {
    "tmpcopyup": "tmpcopyup",
    "copy-symlink": "copy_symlink",
    "src-nofollow": "src_nofollow",
    "dest-nofollow": "dest_nofollow",
}
IDMAP = ("idmap", "ridmap")


class Options:
    """The words of one mount, resolved in their order."""

    __slots__ = (
        "bind", "cleared", "copy_symlink", "data", "dest_nofollow", "flags", "idmap", "propagation", "rec_clear",
        "rec_set", "recursive", "remount", "src_nofollow", "tmpcopyup",
    )  # fmt: skip

    def __init__(self) -> None:
        self.flags = 0  # MS_*, with MS_BIND, MS_REC and MS_REMOUNT
        self.cleared = 0  # MS_* cleared by name: on a bind mount, not to be taken from the source
        self.propagation: list[int] = []  # MS_*, one mount(2) each, in order
        self.rec_set = 0  # MOUNT_ATTR_* for mount_setattr(AT_RECURSIVE)
        self.rec_clear = 0
        self.data: list[str] = []  # left to the file system
        self.tmpcopyup = False
        self.copy_symlink = False  # a source that is a link is made anew, not bound
        self.src_nofollow = False  # ... is bound itself
        self.dest_nofollow = False  # a target that is a link is mounted on itself
        self.idmap = ""  # "idmap", "ridmap", and with "=" crun's explicit mapping
        self.bind = False
        self.recursive = False
        self.remount = False


def parse_options(words: list[str]) -> Options:
    """Flags, attributes and data of option words. A later word wins over an earlier one: `ro,rw` is `rw`."""
    options = Options()
    for word in words:
        if word in WORDS or word in OF_THE_FILE_SYSTEM:
            sets, flag = WORDS.get(word) or OF_THE_FILE_SYSTEM[word]
            if sets:
                options.flags |= flag
                options.cleared &= ~flag
            else:
                options.flags &= ~flag
                options.cleared |= flag
        elif word in PROPAGATION:
            options.propagation.append(PROPAGATION[word])
        elif word in RECURSIVE:
            _recursive(options, word)
        elif word in EXTENSIONS:
            setattr(options, EXTENSIONS[word], True)
        elif word.partition("=")[0] in IDMAP:
            options.idmap = word
        elif word:
            options.data += word.split(",")
    options.bind = bool(options.flags & MS_BIND)
    options.recursive = bool(options.flags & MS_REC)
    options.remount = bool(options.flags & MS_REMOUNT)
    return options


def _recursive(options: Options, word: str) -> None:
    sets, attribute = RECURSIVE[word]
    if word in _ATIME_WORDS:
        chosen = options.rec_set & MOUNT_ATTR__ATIME if options.rec_clear & MOUNT_ATTR__ATIME else None
        if sets:
            chosen = attribute
        elif attribute and chosen in (None, attribute):
            chosen = MOUNT_ATTR_RELATIME  # the kernel's default
        if chosen is not None:
            options.rec_clear |= MOUNT_ATTR__ATIME
            options.rec_set = options.rec_set & ~MOUNT_ATTR__ATIME | chosen
    elif sets:
        options.rec_set |= attribute
        options.rec_clear &= ~attribute
    else:
        options.rec_clear |= attribute
        options.rec_set &= ~attribute


_ATTRIBUTES = (
    (MS_RDONLY, MOUNT_ATTR_RDONLY),
    (MS_NOSUID, MOUNT_ATTR_NOSUID),
    (MS_NODEV, MOUNT_ATTR_NODEV),
    (MS_NOEXEC, MOUNT_ATTR_NOEXEC),
    (MS_NODIRATIME, MOUNT_ATTR_NODIRATIME),
    (MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW),
    (MS_NOATIME, MOUNT_ATTR_NOATIME),
    (MS_STRICTATIME, MOUNT_ATTR_STRICTATIME),
)
CLEARABLE = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW


def attributes(flags: int) -> int:
    """MOUNT_ATTR_* of MS_*."""
    bits = 0
    for flag, attribute in _ATTRIBUTES:
        if flags & flag:
            bits |= attribute
    if bits & MOUNT_ATTR_STRICTATIME:  # one of three for mount_setattr(2); for mount(2) it wins
        bits &= ~MOUNT_ATTR_NOATIME
    return bits


def chosen_flags(options: Options) -> tuple[int, int]:
    """MOUNT_ATTR_* that a bind mount is to have, and those that it has or has not by that."""
    atime = 0
    if options.flags & (MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME):
        atime = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME
    return attributes(options.flags), CLEARABLE | atime
