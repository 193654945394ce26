"""linux.resources.unified: cgroup v2 files by name, written last, so that they override the other limits."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources


# A container whose cgroup is frozen, or that has been killed, is never born; who else is moved into it ends with it.
_OWN = ("cgroup.freeze", "cgroup.kill", "cgroup.procs", "cgroup.threads")


def check(resources: "Resources") -> None:
    """A name with a slash would lead out of the cgroup."""
    for name in resources.unified:
        if "/" in name or name in ("", ".", ".."):
            why = f'unified resource "{name}" must be a file name (no slashes)'
            raise ConfigError("linux.resources.unified", why)
        if name in _OWN:
            raise ConfigError(f'linux.resources.unified["{name}"]', "is no limit: the runtime alone writes it")


def cgroup_files(unified: dict[str, str]) -> list[tuple[str, str]]:
    """A line at a time: files like io.max take one a write."""
    return [(name, line) for name, value in unified.items() for line in value.splitlines() or [""]]
