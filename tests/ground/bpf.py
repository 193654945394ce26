"""The device programs of cgroups, as the kernel lists them; minirunc is not asked. Source: bpf(2), linux/bpf.h."""

import ctypes
import os
import platform
import struct
from pathlib import Path

LOAD, ATTACH, DETACH, NEXT_ID, FD_BY_ID, INFO, QUERY = 5, 8, 9, 11, 13, 15, 16
DEVICE, TYPE_DEVICE = 6, 15  # BPF_CGROUP_DEVICE, BPF_PROG_TYPE_CGROUP_DEVICE

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    room = ctypes.create_string_buffer(attr, len(attr))
    number = 321 if platform.machine() == "x86_64" else 280
    return _libc.syscall(number, command, room, len(attr)), room.raw


def attached(cgroup: Path) -> list[int]:
    """The ids of those attached to this very cgroup."""
    ids = (ctypes.c_uint32 * 64)()
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        attr = struct.pack("<4IQII", fd, DEVICE, 0, 0, ctypes.addressof(ids), 64, 0)
        status, attr = _bpf(QUERY, attr)
        assert status == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(fd)
    return list(ids[: struct.unpack_from("<I", attr, 24)[0]])


def name(number: int) -> str:
    """The name of a loaded program; "" for one that has just gone."""
    return _info(number)[64:80].rstrip(b"\0").decode()


def attach(cgroup: Path, named: bytes) -> int:
    """Attach somebody's program, which allows all, beside those that are there: its id."""
    allow = struct.pack("<BBhi", 0xB7, 0, 0, 1) + struct.pack("<BBhi", 0x95, 0, 0, 0)  # r0 = 1; exit
    code, terms = (ctypes.create_string_buffer(text) for text in (allow, b"GPL"))
    addresses = ctypes.addressof(code), ctypes.addressof(terms)
    attr = struct.pack("<IIQQIIQII16sII", TYPE_DEVICE, 2, *addresses, 0, 0, 0, 0, 0, named, 0, 0)
    program, _ = _bpf(LOAD, attr)
    assert program >= 0, os.strerror(ctypes.get_errno())
    before = attached(cgroup)
    _on(cgroup, ATTACH, program, 2)
    (number,) = set(attached(cgroup)) - set(before)
    return number


def detach(cgroup: Path, number: int) -> None:
    """Take an attached program away."""
    program, _ = _bpf(FD_BY_ID, struct.pack("<3I", number, 0, 0))
    _on(cgroup, DETACH, program, 0)


def _on(cgroup: Path, command: int, program: int, flags: int) -> None:
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    status, _ = _bpf(command, struct.pack("<4I", fd, program, DEVICE, flags))
    assert status == 0, os.strerror(ctypes.get_errno())
    os.close(fd)
    os.close(program)


def loaded() -> set[int]:
    """The ids of all device programs there are, attached, held or forgotten."""
    found, number = set(), 0
    while True:
        status, attr = _bpf(NEXT_ID, struct.pack("<3I", number, 0, 0))
        if status < 0:
            return found
        number = struct.unpack_from("<I", attr, 4)[0]
        info = _info(number)
        if info and struct.unpack_from("<I", info)[0] == TYPE_DEVICE:
            found.add(number)


def _info(number: int) -> bytes:
    """struct bpf_prog_info; empty where the program has just gone."""
    fd, _ = _bpf(FD_BY_ID, struct.pack("<3I", number, 0, 0))
    if fd < 0:
        return b""
    info = ctypes.create_string_buffer(80)
    try:
        status, _ = _bpf(INFO, struct.pack("<IIQ", fd, 80, ctypes.addressof(info)))
        assert status == 0
    finally:
        os.close(fd)
    return info.raw
