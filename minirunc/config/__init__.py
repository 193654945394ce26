"""config.json: read once, as a whole, into records.

    config.json --jsontext.loads--> value --Config.parse--> records --check--> Config

A field's module lies where its JSON path says (`linux.sysctl` is config/linux/sysctl.py) and is imported when
the field is met. It holds its record, `check` (is it a value we can honour; it changes nothing) and `apply`.
"""

from minirunc.base import jsontext
from minirunc.base.errors import ConfigError
from minirunc.base.record import EMPTY, Record, UInt32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.hooks import Hooks
    from minirunc.config.linux import Linux
    from minirunc.config.mounts import Mount
    from minirunc.config.process import Process
    from minirunc.config.root import Root


class IDMapping(Record):
    """A range of ids, shared by linux.uidMappings, linux.gidMappings and those of mounts."""

    NAMES = {"container_id": "containerID", "host_id": "hostID"}
    container_id: UInt32
    host_id: UInt32
    size: UInt32


class Config(Record):
    oci_version: str
    root: "Root"
    process: "Process"
    hostname: str = ""
    domainname: str = ""
    mounts: "list[Mount]" = []
    hooks: "Hooks | None"
    annotations: dict[str, str] = {}
    linux: "Linux" = EMPTY


def load(text: str | bytes, name: str = "config.json") -> Config:
    """The records of a config.json, checked. Raises Error for broken JSON, ConfigError for a wrong value."""
    value = jsontext.loads(text, name)
    if value is None:
        raise ConfigError("", "config cannot be null")
    return Config.parse(value)


def load_process(text: str | bytes, name: str = "process.json") -> "Process":
    """The process of `exec --process FILE`, checked."""
    from minirunc.config.process import Process

    return Process.parse(jsontext.loads(text, name))
