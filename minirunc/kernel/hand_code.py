"""The hand's code (what hand_<machine>.S assembles to), the ELF file around it, and the file that is executed."""

import posix
from struct import pack

from minirunc.base.errors import Error, SyscallError

BUFFER = 0x600000  # where a batch is read to; fixed, so that pointers into it are computed outside
SIZE = 0x20000  # bytes a batch holds at most
_TEXT = 0x400000
_EACCES, _EINVAL = 13, 22

_X86_64 = bytes.fromhex(
    "448b242431c04489e7be00006000ba000002000f054885c00f8e830000004989c5bb000060004531f648833bff0f8491"
    "0000004c8b7b384c89f848c1e83874054939c675764c89f8c1e808b9060000004889de4883c608d1e87309488b3e488b"
    "3f48893effc975eb488b03488b7b08488b7310488b53184c8b53204c8b43284c8b4b300f054889034885c0782241f6c7"
    "0274284885c00f8468ffffffe82d000000b8e7000000bfff0000000f050f0b48f7d84989c641f6c70174094883c340e9"
    "65ffffffe805000000e936ffffffb8010000004489e7be000060004c89ea0f05c3"
)
_AARCH64 = bytes.fromhex(
    "f30340b9140ca0d2e003132ae10314aa4200a0d2e80780d2010000d41f0000f10d040054f50300aaf60314aa170080d2"
    "c80240f91f0500b140040054d81e40f909ff78d3690000b43f0117eb6103005409ff48d3ca0080d2eb0316aa6b210091"
    "890000366c0140f98c0140f96c0100f929fd41d34a0500f121ffff54c08640a9c28e41a9c49642a9010000d4c00200f9"
    "0001f8b73801083680fbffb40b000094e01f80d2c80b80d2010000d400000000f70300cb78000036d6020191ddffff17"
    "02000094d1ffff17e003132ae10314aae20315aa080880d2010000d4c0035fd6"
)
_RISCV64 = bytes.fromhex(
    "03240100b70460001305040093850400370602009308f003730000006358a0081309050093890400130a0000130bf0ff"
    "83b80900638e680983ba890393d28a03638402006392420993d28a0013036000938309009383830013fe120063080e00"
    "83be030083be0e0023b0d30193d212001303f3ffe31003fe03b5890083b5090103b6890183b6090203b7890283b70903"
    "7300000023b0a9006342050293f22a0063840202e30205f6ef0000031305f00f9308e00573000000731000c0330aa040"
    "93f21a0063860200938909046ff05ff6ef0080006ff05ff3130504009385040013060900930800047300000067800000"
)

# machine as uname(2) names it: (e_machine of elf(5), code)
MACHINES = {"x86_64": (62, _X86_64), "aarch64": (183, _AARCH64), "riscv64": (243, _RISCV64)}

# Where `leave` is, which ends the hand: as a signal handler too.
LEAVE = {"x86_64": 0x400151, "aarch64": 0x400150, "riscv64": 0x40015C}

_image: list[int] = []  # the sealed memfd, made once a process; a second fd of it where the first has a wrong number


def elf(machine: str) -> bytes:
    """The hand as a static executable: a segment with the code, and an empty writable one at BUFFER (elf(5))."""
    e_machine, code = MACHINES[machine]
    size = 64 + 2 * 56 + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += pack("<HHIQQQIHHHHHH", 2, e_machine, 1, _TEXT + 176, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    text = pack("<IIQQQQQQ", 1, 5, 0, _TEXT, _TEXT, size, size, 0x10000)
    buffer = pack("<IIQQQQQQ", 1, 6, 0, BUFFER, BUFFER, 0, SIZE, 0x10000)
    return header + text + buffer + code


def machine() -> str:
    """This machine, as uname(2) names it."""
    return posix.uname().machine


def image(not_at: int) -> int:
    """The hand's program as an unreadable, sealed file (CVE-2019-5736: nobody can write what runs inside).

    Its fd is not `not_at`, where the spawned process has its control socket before it executes the file.
    """
    if not _image:
        if machine() not in MACHINES:
            raise Error(f"this machine is {machine()}: the hand is written for x86_64, aarch64 and riscv64")
        _image.append(_memfd(elf(machine())))
    for fd in _image:
        if fd != not_at:
            return fd
    _image.append(posix.dup(not_at))  # not closed: another thread may be about to execute it by that number
    return _image[-1]


def memfd(name: str, flags: int) -> int:
    """A memfd, or SyscallError."""
    try:
        return posix.memfd_create(name, flags)
    except OSError as error:
        from minirunc.kernel.syscalls import refusal

        raise refusal("memfd_create", f'"{name}", {flags:#x}', error) from None


def renew() -> None:
    """Put a new file in the place of one that cannot be executed: who has seen it inside keeps it open for writing.

    The numbers stay: another thread may be about to execute the file by one.
    """
    fd = _memfd(elf(machine()))
    for number in _image:
        posix.dup2(fd, number, inheritable=False)
    posix.close(fd)


def _memfd(program: bytes) -> int:
    """The program in a sealed memfd, or where vm.memfd_noexec forbids that on a tmpfs of our own."""
    for flags in (0x13, 0x03):  # CLOEXEC, ALLOW_SEALING, and EXEC, which kernels before 6.3 refuse with EINVAL
        try:
            fd = memfd("minirunc:hand", flags)
        except SyscallError as error:
            if error.errno == _EACCES:
                break
            if error.errno != _EINVAL:
                raise
            continue
        from fcntl import fcntl

        posix.write(fd, program)
        # Mode 0111 keeps the process non-dumpable where it is executed in a user namespace that does not map us.
        posix.fchmod(fd, 0o111)
        fcntl(fd, 1033, 15)  # F_ADD_SEALS: SEAL, SHRINK, GROW, WRITE
        return fd
    return _file(program)


def _file(program: bytes) -> int:
    """The program in a tmpfs that is mounted nowhere and read-only, as no file but a memfd can be sealed."""
    from minirunc.kernel.constants import FSCONFIG_CMD_CREATE, FSCONFIG_SET_FLAG, O_CLOEXEC, O_PATH
    from minirunc.kernel.syscalls import local

    do = local()
    try:
        fs = do.fsopen("tmpfs", 1)
    except SyscallError as error:
        error.add_note("the sysctl vm.memfd_noexec is 2, and only root can do without: have it set to 1")
        raise
    do.fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)
    mount = do.fsmount(fs, 1, 0)
    writer = int(do.openat(mount, "hand", posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | O_CLOEXEC, 0o111))
    posix.write(writer, program)
    do.close(writer)  # a file open for writing cannot be executed (ETXTBSY)
    do.fsconfig(fs, FSCONFIG_SET_FLAG, "ro", None)
    do.fsconfig(fs, 7, None, None)  # FSCONFIG_CMD_RECONFIGURE
    fd = int(do.openat(mount, "hand", O_PATH | O_CLOEXEC))
    do.close(fs)
    do.close(mount)
    return fd
