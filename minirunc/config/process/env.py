"""process.env: the environment, `NAME=value` each; given to execve."""

from minirunc.base.errors import ConfigError

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


def home(passwd: bytes | None, uid: int) -> str:
    """The user's home directory by the container's /etc/passwd (passwd(5)), read by fd and parsed here; else "/"."""
    for line in (passwd or b"").decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"
