"""The device controller of cgroup v2: a BPF_PROG_TYPE_CGROUP_DEVICE program made from allow and deny rules.

Source: Documentation/admin-guide/cgroup-v2.rst "Device controller", bpf(2), struct bpf_cgroup_dev_ctx in linux/bpf.h.
"""

from struct import pack

from minirunc.kernel.hand import Batch
from minirunc.kernel.syscalls import Fd, Words

MKNOD, READ, WRITE = 1, 2, 4
TYPES = {"b": 1, "c": 2}

# (allow, type 0 any/1 block/2 char, major or -1, minor or -1, access bits); a later rule wins, bit by bit
Rule = tuple[bool, int, int, int, int]

_R0, _R1, _TYPE, _ACCESS, _MAJOR, _MINOR, _BITS = 0, 1, 2, 3, 4, 5, 6


def _insn(code: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    return pack("<BBhi", code, dst | src << 4, offset, imm)


def _leave(verdict: int) -> bytes:
    return _insn(0xB7, _R0, imm=verdict) + _insn(0x95)  # r0 = verdict; exit


def _rule(rule: Rule) -> bytes:
    allow, kind, major, minor, access = rule
    if allow:
        # What this rule gives need not be asked of the earlier ones; nothing left to ask: allowed.
        body = _insn(0x57, _ACCESS, imm=~access) + _insn(0x55, _ACCESS, offset=2) + _leave(1)
    else:
        body = _insn(0xBF, _BITS, _ACCESS) + _insn(0x57, _BITS, imm=access) + _insn(0x15, _BITS, offset=2) + _leave(0)
    tests = b""
    for register, wanted in ((_MINOR, minor), (_MAJOR, major), (_TYPE, kind or -1)):
        if wanted >= 0:
            length = (len(body) + len(tests)) // 8
            # Equal: go on; else over the rule. In this order the verifier walks on with unknown numbers first, and
            # knows all that comes after a match: its time is linear in the rules, with the reverse it is quadratic.
            tests = _insn(0x16, register, offset=1, imm=wanted) + _insn(0x05, offset=length) + tests
    return tests + body


def device_program(rules: list[Rule]) -> bytes:
    """The program's instructions; what no rule allows is denied.

    The last rule is asked first: each takes from the wanted access bits those it decides, as the v1 controller's
    list of exceptions did, so that `allow r` and `allow w` together allow opening for both.
    """
    program = b"".join((
        _insn(0x61, _TYPE, _R1, 0),
        _insn(0xBF, _ACCESS, _TYPE),
        _insn(0x54, _TYPE, imm=0xFFFF),
        _insn(0x77, _ACCESS, imm=16),
        _insn(0x61, _MAJOR, _R1, 4),
        _insn(0x61, _MINOR, _R1, 8),
    ))  # fmt: skip
    return program + b"".join(_rule(rule) for rule in reversed(rules)) + _leave(0)


def load(do: Batch, program: bytes) -> Fd:
    """BPF_PROG_LOAD: the fd of the device program."""
    attr = Words(15 | len(program) // 8 << 32, program, b"GPL", 0, 0, 0, 0, 0, 0)
    return do.bpf(5, attr, 72)


def attach(do: Batch, cgroup: int, program: int) -> Fd:
    """BPF_PROG_ATTACH to a cgroup's directory, beside those of its ancestors (BPF_F_ALLOW_MULTI)."""
    return do.bpf(8, pack("<4I", cgroup, program, 6, 2), 16)
