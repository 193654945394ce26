"""Where state is kept without --root: /run/minirunc, or below $XDG_RUNTIME_DIR for who is not really root."""

import sys
from posix import chmod, environ, geteuid, mkdir

from minirunc.base.errors import Error

SYSTEM = "/run/minirunc"


def default_root() -> str:
    """The directory; $XDG_RUNTIME_DIR counts in a user namespace, too, unless it was entered as root."""
    runtime_dir = environ.get(b"XDG_RUNTIME_DIR", b"")
    if not runtime_dir or (geteuid() == 0 and _is_real_root()):
        return SYSTEM
    return f"{runtime_dir.decode(sys.getfilesystemencoding(), 'surrogateescape')}/minirunc"


def make_own(root: str) -> None:
    """Make the default root of who is not root; its sticky bit keeps it from being cleaned away.

    Source: XDG Base Directory Specification, $XDG_RUNTIME_DIR.
    """
    if root == SYSTEM or root != default_root():
        return
    try:
        try:
            mkdir(root, 0o700)
        except FileExistsError:
            pass
        chmod(root, 0o1700)
    except OSError as problem:
        reason = str(problem.strerror).lower()
        raise Error(f"cannot use the state directory in $XDG_RUNTIME_DIR: {root}: {reason}") from None


def _is_real_root() -> bool:
    """Root of the machine, or of a user namespace that was entered as root, like a container's."""
    if environ.get(b"USER") == b"root":
        return True
    try:
        with open("/proc/self/uid_map") as uid_map:
            return uid_map.read().split() == ["0", "0", "4294967295"]
    except OSError:
        return True  # no /proc: nothing tells us apart from root
