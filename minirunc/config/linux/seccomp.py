"""linux.seccomp: the system call filter. Only a filter that allows everything is accepted so far."""

from minirunc.base.record import Record, UInt32, UInt64


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
