"""linux.resources.unified: cgroup v2 files by name, written last, so that they override the other limits."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources import Resources


def check(resources: "Resources") -> None:
    """A name with a slash would lead out of the cgroup."""
    for name in resources.unified:
        if "/" in name or name in ("", ".", ".."):
            why = f'unified resource "{name}" must be a file name (no slashes)'
            raise ConfigError("linux.resources.unified", why)


def cgroup_files(unified: dict[str, str]) -> list[tuple[str, str]]:
    """A line at a time: files like io.max take one a write."""
    return [(name, line) for name, value in unified.items() for line in value.splitlines() or [""]]
