"""How a system call is spelled out in errors and traces: its arguments as strace(1) would show them. Cold code."""

from posix import uname

from minirunc.kernel import constants, procfs
from minirunc.kernel.syscalls import SINCE, Arg, Out, Result, Words

EPERM, ENOSYS = 1, 38

# call: (argument's place, prefix of its flags' names); a place in Words is (place, index)
_FLAGS: dict[str, tuple[tuple[int, str], ...]] = {
    "close_range": ((2, "CLOSE_RANGE_"),),
    "fsmount": ((2, "MOUNT_ATTR_"),),
    "mount": ((3, "MS_"),),
    "move_mount": ((4, "MOVE_MOUNT_"),),
    "open_tree": ((2, "OPEN_TREE_ AT_"),),
    "openat": ((2, "O_"),),
    "prctl": ((0, "PR_"),),
    "setns": ((1, "CLONE_"),),
    "umount2": ((1, "MNT_"),),
    "unshare": ((0, "CLONE_"),),
}
_WORD_FLAGS: dict[str, dict[int, str]] = {
    "clone3": {0: "CLONE_"},
    "mount_setattr": {0: "MOUNT_ATTR_", 1: "MOUNT_ATTR_", 2: "MS_"},
    "openat2": {0: "O_", 2: "RESOLVE_"},
}
_EXACT = ("prctl",)
_MODES = {"fchmod": 1, "fchmodat": 2, "mkdirat": 2, "mknodat": 2, "openat": 3, "umask": 0}  # shown octal


def _names(value: int, prefixes: str, exact: bool = False) -> str:
    known = [
        (number, name)
        for name, number in vars(constants).items()
        if isinstance(number, int) and any(name.startswith(prefix) for prefix in prefixes.split())
    ]
    if exact:
        return next((name for number, name in known if number == value), str(value))
    found: list[str] = []
    rest = value
    for number, name in sorted(known, reverse=True):
        if number > 0 and rest & number == number:
            found.append(name)
            rest &= ~number
    if rest or not found:
        found.append(hex(rest) if rest else "0")
    return "|".join(found)


def _one(name: str, place: int, arg: Arg) -> str:
    prefixes = dict(_FLAGS.get(name, ())).get(place)
    if isinstance(arg, int):
        if prefixes:
            return _names(arg, prefixes, name in _EXACT)
        if _MODES.get(name) == place:
            return f"{arg:#o}" if arg else "0"
        return "AT_FDCWD" if arg == constants.AT_FDCWD else str(arg)
    if isinstance(arg, str):
        shown = arg if arg.isprintable() else arg.encode("unicode_escape").decode()  # an error is one line
        return f'"{shown}"'
    if isinstance(arg, bytes):
        text = arg.removesuffix(b"\0")
        return f'"{text.decode()}"' if text.isascii() and text.decode().isprintable() else f"{len(arg)} bytes"
    if isinstance(arg, Result):
        return str(arg.value) if arg.value else f"<result {arg.index}>"
    if isinstance(arg, Out):
        return f"<{arg.size} bytes>"
    if isinstance(arg, Words):
        masks = _WORD_FLAGS.get(name, {})
        items = [_names(item, masks[i]) if i in masks and isinstance(item, int) else _one("", 0, item)
                 for i, item in enumerate(arg.items)]  # fmt: skip
        return "{" + ", ".join(items) + "}"
    return "NULL"


def arguments(name: str, args: tuple[Arg, ...]) -> str:
    """The arguments of one call, comma separated, flags by name."""
    return ", ".join(_one(name, place, arg) for place, arg in enumerate(args))


def hint(name: str, errno: int) -> str:
    """Why a call is not there, or denied though it needs no privilege: ": needs Linux 5.6 or newer"; empty for others.

    Engines put their containers, and an engine in one of them, below filters that do not know the newer calls.
    """
    if errno == EPERM:
        return ": a seccomp filter around minirunc may be what denies it" if name in SINCE and _filtered() else ""
    if errno != ENOSYS:
        return ""
    wanted, release = SINCE.get(name, "2.6"), uname().release
    if _version(release) < _version(wanted):
        return f": needs Linux {wanted} or newer, this is {release}"
    return f": {'a seccomp filter around minirunc blocks it' if _filtered() else 'this kernel was built without it'}"


def _filtered() -> bool:
    return "\nSeccomp:\t2\n" in procfs.read("self/status")


def _version(release: str) -> list[int]:
    """The first two numbers."""
    numbers = [part.partition("-")[0] for part in release.split(".")[:2]]
    return [int(number) if number.isdigit() else 0 for number in numbers]
