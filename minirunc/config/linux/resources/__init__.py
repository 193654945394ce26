"""linux.resources: the limits of the container's cgroup; a controller a module, with its table of files."""

import sys

from minirunc.base.record import Record
from minirunc.config import check_present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirunc.config.linux.resources.block_io import BlockIO
    from minirunc.config.linux.resources.cpu import Cpu
    from minirunc.config.linux.resources.devices import DeviceRule
    from minirunc.config.linux.resources.hugepage_limits import HugepageLimit
    from minirunc.config.linux.resources.memory import Memory
    from minirunc.config.linux.resources.network import Network
    from minirunc.config.linux.resources.pids import Pids
    from minirunc.config.linux.resources.rdma import Rdma

# In the order of writing: what unified says comes last, so it overrides.
_CONTROLLERS = ("pids", "memory", "block_io", "cpu", "hugepage_limits", "rdma", "unified")


class Resources(Record):
    NAMES = {"block_io": "blockIO"}
    devices: "list[DeviceRule]" = []
    memory: "Memory | None"
    cpu: "Cpu | None"
    pids: "Pids | None"
    block_io: "BlockIO | None"
    hugepage_limits: "list[HugepageLimit]" = []
    network: "Network | None"
    rdma: "dict[str, Rdma]" = {}  # by device: mlx5_0
    unified: dict[str, str] = {}  # cgroup v2 file: value


def check(resources: Resources) -> None:
    """Also for the resources that `update` is given. Raises ConfigError."""
    fields = ("devices", "memory", "cpu", "block_io", "hugepage_limits", "rdma", "unified")
    check_present(resources, __name__, fields, resources)


def limits(resources: Resources, has: "Callable[[str], bool]") -> list[tuple[str, str, str]]:
    """What to write into the cgroup, in order: (JSON path, file, value).

    `has(file)` says whether the cgroup has a file; asked only for those that a kernel may lack though the
    controller is there.
    """
    lines = []
    for name in _CONTROLLERS:
        record = getattr(resources, name)
        if record:
            module = f"{__name__}.{name}"
            __import__(module)
            where = "linux.resources." + next(key for key, entry in Resources.fields.items() if entry[0] == name)
            for file, value in sys.modules[module].cgroup_files(record):
                if _is_there(file, value, has):
                    lines.append((where, file, value))
    return lines


def properties(
    resources: Resources, version: int, has: "Callable[[str], bool]", *, devices: bool = True
) -> list[tuple[str, str, object]]:
    """The limits as properties of a unit, for systemd `version`: (name, D-Bus signature, value).

    `has` as for limits(), whose lines unit_properties.kept() makes fit beside these. An update leaves `devices` alone.
    """
    from minirunc.config.linux.resources import unit_properties

    found = unit_properties.of(limits(resources, has), version)
    if devices:
        from minirunc.config.linux.resources import devices as rules

        found += rules.unit_properties(resources.devices)
    return found


def _is_there(file: str, value: str, has: "Callable[[str], bool]") -> bool:
    """Swap may be off, huge page reservation is newer, and a weight goes to BFQ where that is in use."""
    if file == "io.weight":
        return not has("io.bfq.weight")
    if file == "io.bfq.weight" or file.endswith(".rsvd.max"):
        return has(file)
    if file == "memory.swap.max" and value in ("0", "max"):
        return has(file)
    return True
