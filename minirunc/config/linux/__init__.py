"""linux: what only a Linux container has."""

from minirunc.base.record import EMPTY, Record
from minirunc.config import IDMapping, check_present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config
    from minirunc.config.linux.devices import Device
    from minirunc.config.linux.intel_rdt import IntelRdt
    from minirunc.config.linux.memory_policy import MemoryPolicy
    from minirunc.config.linux.namespaces import Namespace
    from minirunc.config.linux.net_devices import NetDevice
    from minirunc.config.linux.personality import Personality
    from minirunc.config.linux.resources import Resources
    from minirunc.config.linux.seccomp import Seccomp
    from minirunc.config.linux.time_offsets import TimeOffset


class Linux(Record):
    namespaces: "list[Namespace]" = []
    uid_mappings: list[IDMapping] = []
    gid_mappings: list[IDMapping] = []
    time_offsets: "dict[str, TimeOffset]" = {}  # by clock: boottime, monotonic
    devices: "list[Device]" = []
    net_devices: "dict[str, NetDevice]" = {}  # by the host's name of it
    cgroups_path: str = ""
    resources: "Resources" = EMPTY
    rootfs_propagation: str = ""
    seccomp: "Seccomp | None"
    sysctl: dict[str, str] = {}
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""
    intel_rdt: "IntelRdt | None"
    memory_policy: "MemoryPolicy | None"
    personality: "Personality | None"

    def namespace(self, kind: str) -> "Namespace | None":
        """The entry of a kind of namespace ("uts"), or None where the container shares the host's."""
        for namespace in self.namespaces:
            if namespace.type == kind:
                return namespace
        return None


def check(config: "Config") -> None:
    """Each field in turn. Raises ConfigError."""
    from minirunc.config.linux import resources

    fields = (
        "namespaces", "uid_mappings", "gid_mappings", "time_offsets", "masked_paths", "readonly_paths",
        "sysctl", "rootfs_propagation", "devices", "net_devices", "cgroups_path", "seccomp", "mount_label",
        "personality", "intel_rdt", "memory_policy",
    )  # fmt: skip
    check_present(config.linux, __name__, fields, config)
    resources.check(config.linux.resources)


def warnings(config: "Config") -> list[str]:
    """What is accepted though it will not be as asked, in words for the log."""
    messages = []
    if config.linux.personality is not None and config.linux.personality.flags:
        messages.append(f"ignoring personality flags: {' '.join(config.linux.personality.flags)}")
    memory = config.linux.resources.memory
    if memory is not None and (memory.kernel is not None or memory.kernel_tcp is not None):
        messages.append("Kernel memory settings are ignored and will be removed")
    return messages
