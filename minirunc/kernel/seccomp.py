"""libseccomp through ctypes (seccomp_init(3) and its kin): the rules of a system call filter compiled to BPF.

Cold, as ctypes alone takes 3 ms: what was compiled is kept (container/filters).
"""

import posix
from struct import pack, unpack_from

from minirunc.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import CDLL

LIBRARY = "libseccomp.so.2"
_EEXIST, ENOSYS = 17, 38
_BINARY_TREE = (8, 2)  # SCMP_FLTATR_CTL_OPTIMIZE: the system calls sorted by number
_MANY = 32  # rules, from which on a tree is worth it; with none at all libseccomp 2.5.4 makes a broken one

Comparison = tuple[int, int, int, int]  # struct scmp_arg_cmp: argument, operator, two operands


class Library:
    """The loaded library; raises Error where it is not installed."""

    __slots__ = ("_lib",)

    def __init__(self) -> None:
        import ctypes

        try:
            self._lib: CDLL = ctypes.CDLL(LIBRARY)
        except OSError:
            raise Error(
                f"linux.seccomp needs {LIBRARY}, which cannot be loaded: install the Debian package libseccomp2"
            ) from None
        u32, i32, pointer = ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p
        for name, result, *arguments in (
            ("seccomp_arch_add", i32, pointer, u32),
            ("seccomp_arch_native", u32),
            ("seccomp_arch_resolve_name", u32, ctypes.c_char_p),
            ("seccomp_attr_set", i32, pointer, i32, u32),
            ("seccomp_export_bpf", i32, pointer, i32),
            ("seccomp_init", pointer, u32),
            ("seccomp_release", None, pointer),
            ("seccomp_rule_add_array", i32, pointer, u32, i32, ctypes.c_uint, ctypes.c_char_p),
            ("seccomp_syscall_resolve_name_arch", i32, u32, ctypes.c_char_p),
            ("seccomp_version", ctypes.POINTER(ctypes.c_uint)),
        ):
            function = getattr(self._lib, str(name))
            function.restype = result
            function.argtypes = arguments

    def version(self) -> str:
        """As in 2.5.4."""
        numbers = self._lib.seccomp_version()
        return f"{numbers[0]}.{numbers[1]}.{numbers[2]}"

    def architecture(self, name: str) -> int:
        """The token of SCMP_ARCH_X86_64 and its like; 0 for one that this libseccomp does not know."""
        return int(self._lib.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode()))

    def number(self, architecture: int, name: str) -> int | None:
        """A system call's number on an architecture; below 0 where it has none, None for a name nobody knows."""
        found = int(self._lib.seccomp_syscall_resolve_name_arch(architecture, name.encode("utf-8", "replace")))
        return None if found == -1 else found

    def path(self) -> str:
        """The file it was loaded from; "" if nothing tells, or it is no longer there."""
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths = [line.split(None, 5)[-1].rstrip("\n") for line in maps if "/libseccomp.so" in line]
        return paths[0] if paths and not paths[0].endswith(" (deleted)") else ""

    def filter(self, default: int) -> "Filter":
        """A filter for the native architecture that answers every system call with the action `default`."""
        return Filter(self, self._lib, default)


class Filter:
    """A filter being put together; to be closed."""

    __slots__ = ("_context", "_lib", "architectures", "library", "rules")

    def __init__(self, library: Library, lib: "CDLL", default: int) -> None:
        self.library = library
        self._lib = lib
        self._context: int | None = lib.seccomp_init(default)
        if not self._context:
            raise Error(f"{LIBRARY} refuses the action {default:#x}")
        self.architectures = [int(lib.seccomp_arch_native())]
        self.rules = 0

    def __enter__(self) -> "Filter":
        return self

    def __exit__(self, kind: object, error: object, where: object) -> None:
        self._lib.seccomp_release(self._context)

    def add_architecture(self, token: int) -> None:
        """Rules are for it, too; raises OSError (EDOM: it has the other byte order)."""
        _check(self._lib.seccomp_arch_add(self._context, token), _EEXIST)
        if token not in self.architectures:
            self.architectures.append(token)

    def number(self, name: str) -> int | None:
        """What `add` takes for a system call: its number here, or one below 0 that stands for it elsewhere."""
        return self.library.number(self.architectures[0], name)

    def add(self, action: int, number: int, comparisons: list[Comparison]) -> None:
        """Answer a system call whose arguments fulfil all comparisons with the action; raises OSError."""
        packed = b"".join(pack("@IiQQ", *comparison) for comparison in comparisons)
        _check(self._lib.seccomp_rule_add_array(self._context, action, number, len(comparisons), packed), None)
        self.rules += 1

    def export(self) -> bytes:
        """The BPF program; raises OSError."""
        if self.rules > _MANY:
            _check(self._lib.seccomp_attr_set(self._context, *_BINARY_TREE), None)
        fd = posix.memfd_create("filter", 1)  # MFD_CLOEXEC
        try:
            _check(self._lib.seccomp_export_bpf(self._context, fd), None)
            return posix.pread(fd, posix.fstat(fd).st_size, 0)
        finally:
            posix.close(fd)


def _check(result: int, fine: int | None) -> None:
    """libseccomp returns -errno."""
    if result < 0 and result != -(fine or 0):
        raise OSError(-result, posix.strerror(-result))


# --- what libseccomp leaves out ---

_LOAD, _JUMP, _EQUAL, _ABOVE, _FROM, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06  # BPF_* of linux/bpf_common.h
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_X86_64, _X32 = 0xC000003E, 0x4000003E  # the kernel has one AUDIT_ARCH for both; libseccomp's token is its own
_X32_BIT = 1 << 30  # of the numbers
_NO_LIMIT = 0xFFFFFFFF
SECCOMP_RET_ERRNO = 0x50000


def _instruction(code: int, k: int, then: int = 0, otherwise: int = 0) -> bytes:
    return pack("=HBBI", code, then, otherwise, k)


def enosys(newest: dict[int, int]) -> bytes:
    """Instructions to put before a program: ENOSYS for system calls newer than the newest that its profile knows.

    `newest` is the highest number by architecture. A C library asks by trying; told EPERM by a profile that is older
    than the call, it does not fall back to the older call (moby#42680).

        load architecture
        is it this one?  else on to the next
          load number
          x86_64 alone: from the x32 bit on the numbers are x32's
          above the newest?  ENOSYS
          on to the program, which loads what it needs itself
    """
    limits = {arch: limit for arch, limit in newest.items() if arch != _X32}
    if _X32 in newest:
        limits.setdefault(_X86_64, _NO_LIMIT)
    sections = []
    for architecture, limit in limits.items():
        section = [_instruction(_LOAD, _NUMBER)]
        if architecture == _X86_64:
            section += [
                _instruction(_FROM, _X32_BIT, 1, 0),
                _instruction(_ABOVE, limit, 1, 2),
                _instruction(_ABOVE, newest.get(_X32, _NO_LIMIT), 0, 1),
            ]
        else:
            section.append(_instruction(_ABOVE, limit, 0, 1))
        section.append(_instruction(_RETURN, SECCOMP_RET_ERRNO | ENOSYS))
        sections.append((architecture, section))
    patch = b""
    for architecture, section in reversed(sections):
        body = b"".join(section) + _instruction(_JUMP, len(patch) // 8)
        patch = _instruction(_EQUAL, architecture, 0, len(body) // 8) + body + patch
    return _instruction(_LOAD, _ARCHITECTURE) + patch if patch else b""


# --- what a program says ---

_MACHINES = {"x86_64": _X86_64, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}  # AUDIT_ARCH_* of linux/audit.h
_AND, _SOME = 0x54, 0x45
SECCOMP_RET_ACTION = 0xFFFF0000


def returns(program: bytes, action: int) -> bool:
    """Whether an instruction is to return this action."""
    codes = (unpack_from("=HxxI", program, at) for at in range(0, len(program), 8))
    return any(code == _RETURN and k & SECCOMP_RET_ACTION == action for code, k in codes)


def answer(program: bytes, number: int, *args: int) -> int | None:
    """What it returns for a system call of this machine's; None if it is not of the instructions libseccomp uses."""
    data = pack("=iIQ6Q", number, _MACHINES[posix.uname().machine], 0, *args, *(0,) * (6 - len(args)))
    at = value = 0
    while at < len(program):
        code, then, otherwise, k = unpack_from("=HBBI", program, at)
        at += 8
        if code == _RETURN:
            return int(k)
        if code == _LOAD and k <= len(data) - 4:
            value = unpack_from("=I", data, k)[0]
        elif code == _AND:
            value &= k
        elif code == _JUMP:
            at += 8 * k
        elif code in (_EQUAL, _ABOVE, _FROM, _SOME):
            holds = {_EQUAL: value == k, _ABOVE: value > k, _FROM: value >= k, _SOME: value & k}[code]
            at += 8 * (then if holds else otherwise)
        else:
            break
    return None
