"""linux.resources: the limits of the container's cgroup; a controller a module, with its table of files."""

from minirunc.base.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.resources.block_io import BlockIO
    from minirunc.config.linux.resources.cpu import Cpu
    from minirunc.config.linux.resources.devices import DeviceRule
    from minirunc.config.linux.resources.hugepage_limits import HugepageLimit
    from minirunc.config.linux.resources.memory import Memory
    from minirunc.config.linux.resources.network import Network
    from minirunc.config.linux.resources.pids import Pids
    from minirunc.config.linux.resources.rdma import Rdma


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
