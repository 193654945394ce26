"""linux.seccomp: the system call filter. Only a filter that allows everything is accepted so far."""

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record, UInt32, UInt64
from minirunc.config import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

_ACTIONS = (
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
)  # fmt: skip


class SyscallArg(Record):
    index: UInt32
    value: UInt64
    value_two: UInt64 = 0
    op: str


class Syscall(Record):
    names: list[str]
    action: str
    errno_ret: UInt32 | None
    args: list[SyscallArg] = []


class Seccomp(Record):
    default_action: str = ""
    default_errno_ret: UInt32 | None
    flags: list[str] | None  # absent: SPEC_ALLOW; empty: none
    listener_path: str = ""
    listener_metadata: str = ""
    architectures: list[str] = []
    syscalls: list[Syscall] = []


def allows_all(seccomp: Seccomp) -> bool:
    """Whether the filter changes nothing: no action but allow, or no action at all."""
    if not seccomp.default_action and not seccomp.syscalls:
        return True
    actions = {seccomp.default_action, *(rule.action for rule in seccomp.syscalls)}
    return actions == {"SCMP_ACT_ALLOW"}


def check(config: "Config") -> None:
    seccomp = config.linux.seccomp
    if seccomp is None or allows_all(seccomp):
        return
    if seccomp.default_action not in _ACTIONS:
        raise ConfigError("linux.seccomp.defaultAction", f'unknown action "{seccomp.default_action}"')
    for index, rule in enumerate(seccomp.syscalls):
        if rule.action not in _ACTIONS:
            raise ConfigError(f"linux.seccomp.syscalls[{index}].action", f'unknown action "{rule.action}"')
    raise unsupported("linux.seccomp")
