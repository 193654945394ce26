"""Runs a command below a seccomp filter that answers one system call with an errno, or kills; a program of its own.

    python3 -IS filtered.py NUMBER ERRNO|kill COMMAND...

The filter goes on to all that comes of the command, the hand too (seccomp(2)); root need not set no_new_privs for it.
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, MODE_FILTER = 22, 2
RET_KILL_PROCESS, RET_ERRNO, RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000


def install(number: int, answer: int) -> None:
    """Classic BPF: load the number, compare, return (linux/filter.h)."""
    instructions = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, answer), (6, 0, 0, RET_ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *each) for each in instructions))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(instructions), ctypes.addressof(code)))
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_SECCOMP, MODE_FILTER, program, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    install(int(sys.argv[1]), RET_KILL_PROCESS if sys.argv[2] == "kill" else RET_ERRNO | int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
