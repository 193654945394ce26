"""linux.memoryPolicy: from which NUMA nodes a process has its memory, set inside by set_mempolicy(2)."""

from minirunc.base import files
from minirunc.base.errors import ConfigError, SyscallError
from minirunc.base.ranges import numbers
from minirunc.base.record import Record
from minirunc.config import none_of
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

EINVAL = 22

# linux/mempolicy.h
MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
_NO_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
_ANY_NODES = ("MPOL_PREFERRED",)
_EITHER = {"MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"}
_MOST = 1023  # the kernel's MAX_NUMNODES is 1024 at most
_WHERE = "linux.memoryPolicy"


class MemoryPolicy(Record):
    mode: str = ""
    nodes: str = ""  # a list: "0-3,7"
    flags: list[str] = []


def check(config: "Config") -> None:
    """What needs no look at the machine: whether it has such nodes the kernel says when they are set."""
    policy = config.linux.memory_policy
    if policy is None:
        return
    if policy.mode not in MODES:
        raise none_of(MODES, f"{_WHERE}.mode", f'invalid memory policy mode "{policy.mode}"')
    try:
        count = len(numbers(policy.nodes, _MOST))
    except ValueError as bad:
        raise ConfigError(f"{_WHERE}.nodes", f'invalid memory policy nodes "{policy.nodes}": {bad}') from None
    for index, flag in enumerate(policy.flags):
        if flag not in FLAGS:
            raise none_of(FLAGS, f"{_WHERE}.flags[{index}]", f'invalid memory policy flag "{flag}"')
    if set(policy.flags) >= _EITHER:
        raise ConfigError(f"{_WHERE}.flags", f"{' and '.join(sorted(_EITHER))} exclude each other")
    if policy.mode in _NO_NODES and count:
        why = f"memory policy mode requires 0 nodes but got {count}: linux.memoryPolicy.mode is {policy.mode}"
        raise ConfigError(f"{_WHERE}.nodes", why)
    if policy.mode not in (*_NO_NODES, *_ANY_NODES) and not count:
        why = f"memory policy mode requires at least one node but got 0: linux.memoryPolicy.mode is {policy.mode}"
        raise ConfigError(f"{_WHERE}.nodes", why)


def apply(policy: MemoryPolicy, hand: Hand) -> None:
    """For this process and all that come of it. Raises ConfigError for what the machine has not."""
    mode = MODES[policy.mode]
    for flag in policy.flags:
        mode |= FLAGS[flag]
    mask = 0
    for node in numbers(policy.nodes, _MOST):
        mask |= 1 << node
    try:
        with hand.batch() as do:
            do.set_mempolicy(mode, mask.to_bytes(mask.bit_length() // 64 * 8 + 8, "little"))
    except SyscallError as error:
        if error.errno != EINVAL:
            raise
        raise ConfigError(_WHERE, _explained(policy)) from None


def _explained(policy: MemoryPolicy) -> str:
    """The kernel's EINVAL, which it has for no node that is there as for a mode and flags that do not go together."""
    what = f'set_mempolicy({"|".join((policy.mode, *policy.flags))}, nodes "{policy.nodes}"): invalid argument'
    try:
        there = files.read("/sys/devices/system/node/has_memory").decode().strip()
    except OSError:
        there = ""
    asked = set(numbers(policy.nodes, _MOST))
    if asked and there and not asked & set(numbers(there, _MOST)):
        return f"{what}: this machine has memory on no such node, only on {there}"
    return f"{what}: this kernel has no such mode, not with these flags, or linux.resources.cpu.mems no such node"
