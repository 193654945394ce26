"""linux.memoryPolicy: from which NUMA nodes memory comes, by set_mempolicy(2). Not supported yet."""

from minirunc.base.record import Record
from minirunc.config import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


class MemoryPolicy(Record):
    mode: str = ""
    nodes: str = ""  # a list: "0-3,7"
    flags: list[str] = []


def check(config: "Config") -> None:
    if config.linux.memory_policy is not None:
        raise unsupported("linux.memoryPolicy")
