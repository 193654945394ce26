"""What resctrl tells of a container's group: the members of `intel_rdt` in `events`, as runc has them.

Source: Documentation/filesystems/resctrl.rst "Info directory", "Resource alloc and monitor groups".
"""

from minirunc.base.errors import Error
from minirunc.config.linux import intel_rdt
from minirunc.kernel.resctrlfs import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.intel_rdt import IntelRdt

Members = dict[str, object]

_L3 = ("cbm_mask", "min_cbm_bits", "num_closids")
_MB = ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids")
_MBM = ("mbm_total_bytes", "mbm_local_bytes")
_CMT = ("llc_occupancy",)


def stats(rdt: "IntelRdt", container_id: str) -> Members:
    """What may be used of caches and memory bandwidth, and what is; by what this machine has.

    Nothing where somebody has removed the group: `delete` does that, too, before the cgroup goes.
    """
    group, monitored = intel_rdt.measured(rdt, container_id)
    with Tree() as tree:
        try:
            root = tree.read("/schemata").strip().split("\n")
            own = tree.read(f"{group}/schemata").strip().split("\n")
            found: Members = {}
            if tree.has("/info/L3"):
                found["l3_cache_info"] = _info(tree, "/info/L3", _L3)
                found["l3_cache_schema_root"], found["l3_cache_schema"] = _line(root, "L3"), _line(own, "L3")
            if tree.has("/info/MB"):
                found["mem_bw_info"] = _info(tree, "/info/MB", _MB)
                found["mem_bw_schema_root"], found["mem_bw_schema"] = _line(root, "MB"), _line(own, "MB")
            found["schemata"] = own
            found = {name: value for name, value in found.items() if value != ""}
            if tree.has("/info/L3_MON"):
                found |= _monitored(tree, monitored)
            return found
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Error(f"unable to get container Intel RDT stats: {group}: {tree.why(error)}") from None


def _line(schemata: list[str], kind: str) -> str:
    """The line of a resource, the last where there are several (L3CODE and L3DATA)."""
    return next((line.strip() for line in reversed(schemata) if kind in line), "")


def _info(tree: Tree, directory: str, names: tuple[str, ...]) -> Members:
    """Numbers, and the mask, which is text; a 0 is left out."""
    texts = {name: tree.read(f"{directory}/{name}").strip() for name in names if tree.has(f"{directory}/{name}")}
    found = {name: text if name == "cbm_mask" else int(text) for name, text in texts.items()}
    return {name: value for name, value in found.items() if value}


def _monitored(tree: Tree, group: str) -> Members:
    """A row a cache domain."""
    features = tree.read("/info/L3_MON/mon_features").split()
    found: Members = {}
    for member, names in (("mbm_stats", _MBM), ("cmt_stats", _CMT)):
        if set(names) & set(features):
            domains = [f"{group}/mon_data/{name}" for name in tree.directories(f"{group}/mon_data")]
            found[member] = [{name: _count(tree, f"{domain}/{name}") for name in names} for domain in domains]
    return found


def _count(tree: Tree, path: str) -> int:
    """What was counted; 0 where that cannot be told at the moment ("Unavailable") or never."""
    text = tree.read(path).strip() if tree.has(path) else ""
    return int(text) if text.isdigit() else 0
