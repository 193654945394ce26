"""The device controller of cgroup v2: a BPF_PROG_TYPE_CGROUP_DEVICE program made from allow and deny rules.

Source: Documentation/admin-guide/cgroup-v2.rst "Device controller", bpf(2), struct bpf_cgroup_dev_ctx in linux/bpf.h.
"""

from struct import iter_unpack, pack

from minirunc.kernel.syscalls import Calls, Fd, Out, Words

MKNOD, READ, WRITE = 1, 2, 4
NAME = b"minirunc"  # of the program, eight bytes: tells it from systemd's ("sd_devices") and from those of hooks
TYPES = {"b": 1, "c": 2}
_CGROUP_DEVICE = 15  # BPF_PROG_TYPE_CGROUP_DEVICE
_DEVICE = 6  # BPF_CGROUP_DEVICE, where it is attached
_MOST = 64  # programs a cgroup may have: BPF_CGROUP_MAX_PROGS

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


def load(do: Calls, program: bytes) -> Fd:
    """BPF_PROG_LOAD: the fd of the device program."""
    name = int.from_bytes(NAME, "little")
    attr = Words(_CGROUP_DEVICE | len(program) // 8 << 32, program, b"GPL", 0, 0, 0, name, 0, 0)
    return do.bpf(5, attr, 72)


def attach(do: Calls, cgroup: int, program: Fd, replaced: int = -1) -> Fd:
    """BPF_PROG_ATTACH to a cgroup's directory, beside those of its ancestors (BPF_F_ALLOW_MULTI).

    In the place of the program `replaced`, an fd of one attached there, if given: at once (BPF_F_REPLACE, Linux 5.6).
    """
    attr = pack("<4I", cgroup, int(program), _DEVICE, 2)
    if replaced >= 0:
        attr = pack("<5I", cgroup, int(program), _DEVICE, 2 | 4, replaced)
    return do.bpf(8, attr, len(attr))


def attached(do: Calls, cgroup: int) -> list[int]:
    """BPF_PROG_QUERY: the ids of the device programs attached to this very cgroup, in their order."""
    found = Out(4 * _MOST)
    do.bpf(16, Words(cgroup | _DEVICE << 32, 0, found, _MOST), 32)
    return [number for (number,) in iter_unpack("<I", found.data) if number]


def open_by_id(do: Calls, number: int) -> int:
    """BPF_PROG_GET_FD_BY_ID: an fd of a loaded program."""
    return int(do.bpf(13, pack("<3I", number, 0, 0), 12))


def name_of(do: Calls, program: int) -> bytes:
    """BPF_OBJ_GET_INFO_BY_FD: the name that a program was given at load; it ends struct bpf_prog_info of Linux 4.15."""
    info = Out(80)
    do.bpf(15, Words(program | info.size << 32, info), 16)
    return info.data[64:].rstrip(b"\0")
