"""linux.intelRdt: cache and memory bandwidth of a resctrl group. Not supported yet."""

from minirunc.base.record import Record
from minirunc.config import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


class IntelRdt(Record):
    NAMES = {"clos_id": "closID"}
    clos_id: str = ""
    schemata: list[str] = []
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_monitoring: bool = False


def check(config: "Config") -> None:
    if config.linux.intel_rdt is not None:
        raise unsupported("linux.intelRdt")
