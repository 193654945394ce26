"""linux: what only a Linux container has."""

from minirunc.base.record import EMPTY, Record
from minirunc.config import IDMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.devices import Device
    from minirunc.config.linux.namespaces import Namespace
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
    net_devices: dict[str, object] = {}
    cgroups_path: str = ""
    resources: "Resources" = EMPTY
    rootfs_propagation: str = ""
    seccomp: "Seccomp | None"
    sysctl: dict[str, str] = {}
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""
    intel_rdt: dict[str, object] | None
    memory_policy: dict[str, object] | None
    personality: "Personality | None"

    def namespace(self, kind: str) -> "Namespace | None":
        """The entry of a kind of namespace ("uts"), or None where the container shares the host's."""
        for namespace in self.namespaces:
            if namespace.type == kind:
                return namespace
        return None
