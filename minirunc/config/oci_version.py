"""ociVersion: which runtime-spec the bundle is of, in SemVer 2.0.0; any 1.x is taken, as 1.x only adds."""

from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    """runc looks at it not at all; what is no 1.x means something else by its fields, or is no bundle of ours."""
    version = config.oci_version
    core = version.partition("+")[0].partition("-")[0]
    if core[:2] != "1." or not all(part.isascii() and part.isdigit() for part in core.split(".")):
        raise ConfigError("ociVersion", f'expected a version 1.x of the runtime-spec, like "1.3.0", got "{version}"')
