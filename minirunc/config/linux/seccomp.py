"""linux.seccomp: the system call filter, compiled outside, loaded by the hand as its last call before execve.

With SCMP_ACT_NOTIFY somewhat earlier: container/listener.
Sources: seccomp(2), seccomp_rule_add(3), runtime-spec config-linux.md "Seccomp".
"""

import posix

from minirunc.base.errors import ConfigError
from minirunc.base.record import Record, UInt32, UInt64
from minirunc.config import none_of
from minirunc.kernel.hand import Batch
from minirunc.kernel.syscalls import Fd, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

# SECCOMP_RET_* of linux/seccomp.h; ERRNO and TRACE carry 16 bits more
ACTIONS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_TRAP": 0x00030000,
}
_NOTIFY = "SCMP_ACT_NOTIFY"
WITH_DATA = {"SCMP_ACT_ERRNO": 4094, "SCMP_ACT_TRACE": 0xFFFF}  # the most that errnoRet may be

OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,  # value is the mask, valueTwo what is left
}

ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in (
        "AARCH64", "ARM", "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32",
        "PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB", "X32", "X86",
        "X86_64",
    )
)  # fmt: skip

# SECCOMP_FILTER_FLAG_* of linux/seccomp.h; TSYNC is for threads, of which there is one
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_WAIT_KILLABLE_RECV = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
NEW_LISTENER = 8  # set for whoever has SCMP_ACT_NOTIFY
_DEFAULT_FLAGS = FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]

# annotations, as in crun
RECEIVER = "run.oci.seccomp.receiver"
FAIL_UNKNOWN = "run.oci.seccomp_fail_unknown_syscall"
BPF_DATA = "run.oci.seccomp_bpf_data"
_RECEIVER_VARIABLE = "RUN_OCI_SECCOMP_RECEIVER"

_ARGUMENTS = 6  # a system call's
_INSTRUCTIONS = 4096  # of a filter: BPF_MAXINSNS
_SET_MODE_FILTER = 1


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


class Agent:
    """Who is asked what a system call with SCMP_ACT_NOTIFY shall do."""

    __slots__ = ("metadata", "path")

    def __init__(self, path: str, metadata: str) -> None:
        self.path = path  # of the host's, or @ and an abstract name
        self.metadata = metadata


class Filter:
    """A compiled filter."""

    __slots__ = ("agent", "flags", "program")

    def __init__(self, program: bytes, flags: int, agent: Agent | None) -> None:
        self.program = program  # of 8 bytes an instruction
        self.flags = flags
        self.agent = agent  # None if none is asked


def apply(filter_: Filter, do: Batch) -> Fd:
    """Load it; needs no_new_privs, or CAP_SYS_ADMIN in effect. With an agent the result is the listener's fd."""
    return do.seccomp(_SET_MODE_FILTER, filter_.flags, Words(len(filter_.program) // 8, filter_.program))


def is_filter(seccomp: Seccomp | None) -> bool:
    """Whether there is anything to load: an empty object is no filter."""
    return seccomp is not None and bool(seccomp.default_action or seccomp.syscalls)


def asks(seccomp: Seccomp) -> bool:
    """Whether an agent is to be asked for anything."""
    return any(rule.action == _NOTIFY for rule in seccomp.syscalls)


def agent(seccomp: Seccomp, annotations: dict[str, str]) -> Agent | None:
    """Who is there to be asked: what linux.seccomp says, else the annotation, else the environment."""
    path = seccomp.listener_path or annotations.get(RECEIVER, "")
    if not path:
        path = posix.environ.get(_RECEIVER_VARIABLE.encode(), b"").decode("utf-8", "surrogateescape")
        if path and not path.startswith("/"):
            why = f"{_RECEIVER_VARIABLE}: the seccomp receiver {path} is not an absolute path"
            raise ConfigError("linux.seccomp.listenerPath", why)
    return Agent(path, seccomp.listener_metadata) if path else None


def without_agent(seccomp: Seccomp) -> Seccomp:
    """The same filter for whoever is asked: it is compiled once."""
    values = {entry[0]: getattr(seccomp, entry[0]) for entry in Seccomp.fields.values()}
    return Seccomp(**values | {"listener_path": "", "listener_metadata": ""})


def flags(seccomp: Seccomp) -> int:
    """The flags of seccomp(2), but for NEW_LISTENER."""
    if seccomp.flags is None:
        return _DEFAULT_FLAGS
    bits = 0
    for name in seccomp.flags:
        bits |= FLAGS[name]
    return bits


def check(config: "Config") -> None:
    seccomp = config.linux.seccomp
    if seccomp is None or not is_filter(seccomp):
        return
    for index, name in enumerate(seccomp.flags or ()):
        where = f"linux.seccomp.flags[{index}]"
        if name not in FLAGS:
            raise none_of(FLAGS, where, f"seccomp flag {name} is not known to runc")
        if name == _WAIT_KILLABLE_RECV and not asks(seccomp) and BPF_DATA not in config.annotations:
            why = f"{name} is for filters with SCMP_ACT_NOTIFY, which no linux.seccomp.syscalls[].action is"
            raise ConfigError(where, why)
    if seccomp.listener_metadata and not agent(seccomp, config.annotations):
        raise ConfigError("linux.seccomp.listenerMetadata", "must not be set without linux.seccomp.listenerPath")
    for index, name in enumerate(seccomp.architectures):
        if name not in ARCHITECTURES:
            where = f"linux.seccomp.architectures[{index}]"
            raise none_of(ARCHITECTURES, where, f"string {name} is not a valid arch for seccomp")
    _check_action("linux.seccomp", "defaultAction", seccomp.default_action, seccomp.default_errno_ret)
    compared = sum(len(rule.names) * len(rule.args) for rule in seccomp.syscalls)
    if compared > _INSTRUCTIONS:  # libseccomp would take minutes to find that out
        why = f"compares {compared} arguments, the kernel takes {_INSTRUCTIONS} instructions"
        raise ConfigError("linux.seccomp.syscalls", why)
    for index, rule in enumerate(seccomp.syscalls):
        where = f"linux.seccomp.syscalls[{index}]"
        _check_action(where, "action", rule.action, rule.errno_ret)
        if rule.action == _NOTIFY:
            _check_notify(config, rule, where)
        _check_rule(rule, where)


def _check_rule(rule: Syscall, where: str) -> None:
    if not rule.names:
        raise ConfigError(f"{where}.names", "must have at least one name")
    if "" in rule.names:
        raise ConfigError(f"{where}.names[{rule.names.index('')}]", "empty string is not a valid syscall")
    for number, arg in enumerate(rule.args):
        if arg.index >= _ARGUMENTS:
            why = f"expected an integer from 0 to {_ARGUMENTS - 1}, got {arg.index}"
            raise ConfigError(f"{where}.args[{number}].index", why)
        if arg.op not in OPERATORS:
            why = f"string {arg.op} is not a valid operator for seccomp"
            raise none_of(OPERATORS, f"{where}.args[{number}].op", why)


def _check_action(where: str, member: str, action: str, errno_ret: int | None) -> None:
    if action not in ACTIONS:
        raise none_of(ACTIONS, f"{where}.{member}", f"string {action} is not a valid action for seccomp")
    if action == _NOTIFY and member == "defaultAction":
        raise ConfigError(f"{where}.{member}", "SCMP_ACT_NOTIFY cannot be used as default action")
    most = WITH_DATA.get(action)
    if errno_ret is not None and (most is None or errno_ret > most):
        name = "defaultErrnoRet" if member == "defaultAction" else "errnoRet"
        why = f"{where}.{member} {action} has none: it is for {' and '.join(WITH_DATA)}"
        if most is not None:
            why = f"expected an integer from 0 to {most}, got {errno_ret}"
        raise ConfigError(f"{where}.{name}", why)


def _check_notify(config: "Config", rule: Syscall, where: str) -> None:
    """Somebody must be there to be asked; and by write(2) we are told where the listener is that he needs for it."""
    seccomp = config.linux.seccomp
    if seccomp and not agent(seccomp, config.annotations):
        why = f"seccomp listenerPath is not set, which {where}.action SCMP_ACT_NOTIFY needs"
        raise ConfigError("linux.seccomp.listenerPath", why)
    if "write" in rule.names:
        why = "SCMP_ACT_NOTIFY cannot be used for the write syscall"
        raise ConfigError(f"{where}.names[{rule.names.index('write')}]", why)
