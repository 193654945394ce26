"""kernel/hand_code.py: the hand's bytes are what its assembly says, in an ELF file that maps nothing else."""

import struct
import subprocess
from pathlib import Path

import pytest

from minirunc.kernel import hand_code
from minirunc.kernel.hand_code import BUFFER, LEAVE, MACHINES, SIZE, elf
from tests.ground.bundle import CHECKOUT

KERNEL = CHECKOUT / "minirunc/kernel"
E_MACHINE = {"x86_64": 62, "aarch64": 183, "riscv64": 243}  # elf.h
TEXT = 0x400000
START = 64 + 2 * 56  # behind the ELF header and two program headers


def assembled(machine: str, directory: Path) -> bytes:
    """The code that binutils make of hand_<machine>.S."""
    tool = f"{machine}-linux-gnu-"
    source, linked, code = KERNEL / f"hand_{machine}.S", directory / "linked", directory / "code"
    subprocess.run([f"{tool}as", "-o", directory / "object", source], check=True)
    # Linked, because the assembler for riscv64 leaves jumps to the linker.
    place = ["-e", "_start", "-Ttext", hex(TEXT + START)]
    subprocess.run([f"{tool}ld", *place, "-o", linked, directory / "object"], check=True)
    subprocess.run([f"{tool}objcopy", "-O", "binary", "--only-section=.text", linked, code], check=True)
    return code.read_bytes()


def test_every_machine_has_its_assembly() -> None:
    """No bytes without a source, no source without bytes."""
    assert {f"hand_{machine}.S" for machine in MACHINES} == {path.name for path in KERNEL.glob("hand_*.S")}


@pytest.mark.parametrize("machine", MACHINES)
def test_bytes_are_what_the_assembler_makes(machine: str, tmp_path: Path) -> None:
    """The commented assembly is the source of the bytes."""
    # The linker may pad the section's end to its alignment.
    assert assembled(machine, tmp_path).rstrip(b"\0") == MACHINES[machine][1].rstrip(b"\0")


@pytest.mark.parametrize("machine", MACHINES)
def test_assembly_has_the_numbers_of_the_python_side(machine: str) -> None:
    """Where a batch is read to, and how long it may be."""
    source = (KERNEL / f"hand_{machine}.S").read_text()
    assert f".set BUFFER, {BUFFER:#x}\n" in source
    assert f".set SIZE, {SIZE:#x}\n" in source


@pytest.mark.parametrize("machine", MACHINES)
def test_leave_is_where_it_is_said_to_be(machine: str, tmp_path: Path) -> None:
    """Used as a signal handler: the address is that of the symbol."""
    assembled(machine, tmp_path)
    symbols = subprocess.run(
        [f"{machine}-linux-gnu-nm", tmp_path / "linked"], check=True, capture_output=True, text=True
    )
    found = {line.split()[2]: int(line.split()[0], 16) for line in symbols.stdout.splitlines()}
    assert found["leave"] == LEAVE[machine]


@pytest.mark.parametrize("machine", MACHINES)
def test_elf_header(machine: str) -> None:
    """elf(5): a static little-endian ELF64 executable of that machine, entered at its code."""
    image = elf(machine)
    assert image[:16] == b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    fields = struct.unpack_from("<HHIQQQIHHHHHH", image, 16)
    kind, e_machine, version, entry, programs_at, sections_at, _, size, program_size, programs, *sections = fields
    assert (kind, e_machine, version) == (2, E_MACHINE[machine], 1)
    assert (entry, programs_at, size, program_size, programs) == (TEXT + START, 64, 64, 56, 2)
    assert (sections_at, sections) == (0, [0, 0, 0])
    assert image[START:] == MACHINES[machine][1]


@pytest.mark.parametrize("machine", MACHINES)
def test_code_is_not_writable_and_the_buffer_not_executable(machine: str) -> None:
    """Two segments: read and execute, read and write; no byte is both."""
    image = elf(machine)
    segments = [struct.unpack_from("<IIQQQQQQ", image, 64 + 56 * index) for index in (0, 1)]
    length = len(image)
    assert segments == [
        (1, 5, 0, TEXT, TEXT, length, length, 0x10000),
        (1, 6, 0, BUFFER, BUFFER, 0, SIZE, 0x10000),
    ]


@pytest.mark.parametrize("machine", MACHINES)
def test_hand_is_small(machine: str) -> None:
    """A page of code: the whole program can be read in a sitting, and maps one page."""
    assert len(elf(machine)) < 512


def test_machine_is_what_uname_says() -> None:
    """uname(2) names it."""
    assert hand_code.machine() == subprocess.check_output(["uname", "-m"], text=True).strip()
