"""The smallest static programs: one that ends at once, and one that waits for a signal."""

from pathlib import Path
from struct import pack

_AT = 0x400000
_HEADERS = 64 + 56

# x86_64 alone: User-Mode Linux, where they are needed, is nothing else.
TRUE = bytes.fromhex("b83c000000 31ff 0f05")  # mov eax, 60 (exit); xor edi, edi; syscall
PAUSE = bytes.fromhex("b822000000 0f05 ebf7")  # mov eax, 34 (pause); syscall; jmp to the begin


def elf(code: bytes) -> bytes:
    """The code as an executable of one segment, which is not writable (elf(5))."""
    size = _HEADERS + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += pack("<HHIQQQIHHHHHH", 2, 62, 1, _AT + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + pack("<IIQQQQQQ", 1, 5, 0, _AT, _AT, size, size, 0x1000) + code


def write(path: Path, code: bytes) -> None:
    """Make it a program there, in the place of what is there."""
    path.unlink(missing_ok=True)
    path.write_bytes(elf(code))
    path.chmod(0o755)
