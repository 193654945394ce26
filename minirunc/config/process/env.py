"""process.env: the environment, `NAME=value` each; given to execve."""

import posix

from minirunc.base.errors import ConfigError
from minirunc.kernel import inroot
from minirunc.kernel.constants import O_NONBLOCK
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

_KIND, _REGULAR = 0o170000, 0o100000
_LONGEST = 1 << 20  # bytes of it that are read


def check(process: "Process") -> None:
    for index, entry in enumerate(process.env):
        if entry.find("=") <= 0:
            why = "name cannot be empty" if entry.startswith("=") else "missing '='"
            raise ConfigError(f"process.env[{index}]", f"invalid environment variable: {why}")


def complete(env: list[str], home: str) -> list[str]:
    """The environment as the process gets it: the last of a name wins, in the place of the first; HOME always set."""
    values: dict[str, str] = {}
    for item in env:
        values[item.partition("=")[0]] = item
    if values.get("HOME", "HOME=") == "HOME=":
        values["HOME"] = f"HOME={home}"
    return list(values.values())


def open_passwd(env: list[str], root: int, do: Batch) -> Fd:
    """What the container has as /etc/passwd, as a mere path; negative if HOME is given, or if there is none."""
    given = [item for item in env if item.startswith("HOME=")]
    if given and given[-1] != "HOME=":
        return -1
    return do.tolerate(inroot.openat2(do, root, "/etc/passwd"))


def read_passwd(passwd: int, hand: Hand) -> bytes:
    """What it holds, if it is a plain file; nothing else is opened, as that alone may do something or wait.

    What has no size is not read either: reading /proc/kmsg takes from the host's log.
    """
    if passwd < 0:
        return b""
    fd = hand.receive_fd(passwd)
    try:
        found = posix.fstat(fd)
        if found.st_mode & _KIND != _REGULAR or not found.st_size:
            return b""
        opened = posix.open(f"/proc/self/fd/{fd}", posix.O_RDONLY | posix.O_CLOEXEC | O_NONBLOCK)
        try:
            return posix.read(opened, min(found.st_size, _LONGEST))
        finally:
            posix.close(opened)
    except OSError:
        return b""
    finally:
        posix.close(fd)


def home(passwd: bytes, uid: int) -> str:
    """The user's home directory by the container's /etc/passwd (passwd(5)), read by fd and parsed here; else "/"."""
    for line in passwd.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"
