"""process.env: the environment, `NAME=value` each; given to execve."""

from minirunc.base.errors import ConfigError
from minirunc.kernel import inroot
from minirunc.kernel.constants import O_NOCTTY, O_NONBLOCK
from minirunc.kernel.hand import Batch
from minirunc.kernel.syscalls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


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
    """The container's /etc/passwd, if HOME has to be looked up there; negative if not, or if there is none."""
    given = [item for item in env if item.startswith("HOME=")]
    if given and given[-1] != "HOME=":
        return -1
    # A fifo in its place must not hold us, a terminal not become ours.
    return do.tolerate(inroot.openat2(do, root, "/etc/passwd", O_NONBLOCK | O_NOCTTY))


def home(passwd: bytes, uid: int) -> str:
    """The user's home directory by the container's /etc/passwd (passwd(5)), read by fd and parsed here; else "/"."""
    for line in passwd.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"
