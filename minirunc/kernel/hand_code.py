"""The hand's machine code, and the ELF file around it: what hand_<machine>.S assembles to (a test compares)."""

from posix import uname
from struct import pack

BUFFER = 0x600000  # where a batch is read to; fixed, so that pointers into it are computed outside
SIZE = 0x20000  # bytes a batch holds at most
_TEXT = 0x400000

_X86_64 = bytes.fromhex(
    "448b242431c04489e7be00006000ba000002000f054885c00f8e830000004989c5bb000060004531f648833bff0f848f"
    "0000004c8b7b384c89f848c1e83874054939c675744c89f8c1e808b9060000004889de4883c608d1e87309488b3e488b"
    "3f48893effc975eb488b03488b7b08488b7310488b53184c8b53204c8b43284c8b4b300f054889034885c0782041f6c7"
    "0274264885c00f8468ffffffe82b000000b8e7000000bfff0000000f0548f7d84989c641f6c70174094883c340e967ff"
    "ffffe805000000e938ffffffb8010000004489e7be000060004c89ea0f05c3"
)
_AARCH64 = bytes.fromhex(
    "f30340b9140ca0d2e003132ae10314aa4200a0d2e80780d2010000d41f0000f10d040054f50300aaf60314aa170080d2"
    "c80240f91f0500b120040054d81e40f909ff78d3690000b43f0117eb4103005409ff48d3ca0080d2eb0316aa6b210091"
    "890000366c0140f98c0140f96c0100f929fd41d34a0500f121ffff54c08640a9c28e41a9c49642a9010000d4c00200f9"
    "e000f8b71801083680fbffb40a000094e01f80d2c80b80d2010000d4f70300cb78000036d6020191deffff1702000094"
    "d2ffff17e003132ae10314aae20315aa080880d2010000d4c0035fd6"
)
_RISCV64 = bytes.fromhex(
    "03240100b70460001305040093850400370602009308f003730000006358a0081309050093890400130a0000130bf0ff"
    "83b80900638c680983ba890393d28a03638402006390420993d28a0013036000938309009383830013fe120063080e00"
    "83be030083be0e0023b0d30193d212001303f3ffe31003fe03b5890083b5090103b6890183b6090203b7890283b70903"
    "7300000023b0a9006340050293f22a0063820202e30205f6ef00c0021305f00f9308e00573000000330aa04093f21a00"
    "63860200938909046ff09ff6ef0080006ff09ff3130504009385040013060900930800047300000067800000"
)

# machine as uname(2) names it: (e_machine of elf(5), code)
MACHINES = {"x86_64": (62, _X86_64), "aarch64": (183, _AARCH64), "riscv64": (243, _RISCV64)}


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
    return uname().machine
