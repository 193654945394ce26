"""A file system that never answers when a file in it is looked for: who looks hangs in D state, SIGKILL or not.

    python -I fuse.py DIRECTORY    serves /dev/fuse until it is killed; prints `mounted`, then a line for each who hangs

Source: linux/fuse.h. A request that was read and is not answered is waited for without end (fuse_dev.c,
request_wait_answer); the end of the server aborts it with ENOTCONN.
"""

import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

LOOKUP, FORGET, GETATTR, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 26, 36, 42
ENOSYS = 38
ROOT_MODE = 0o40755


class Hung:
    """The file system, mounted at a directory as long as the block runs and nobody calls `end`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "nobody-answers"
        directory.mkdir()

    def __enter__(self) -> "Hung":
        argv = [sys.executable, "-I", __file__, str(self.directory)]
        self._server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._line() == "mounted\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        self.end()
        self._server.communicate()
        subprocess.run(["umount", "--lazy", self.directory], check=True)

    def wait(self) -> None:
        """Until one more hangs."""
        assert self._line() == "hangs\n"

    def end(self) -> None:
        """End the server, and so who waits for it."""
        self._server.kill()
        self._server.wait()

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


def lacking() -> str:
    """Why there can be none here; empty if there can be."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {os.strerror(error.errno or 0).lower()}"
    return ""


def main(directory: str) -> None:
    """Mount and serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    # By a child: the mount does not wait for the answer to INIT.
    subprocess.run(["mount", "-i", "-t", "fuse", "-o", options, "hung", directory], check=True, pass_fds=[device])
    print("mounted", flush=True)
    while True:
        request = os.read(device, 1 << 18)
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        if opcode == LOOKUP:
            print("hangs", flush=True)
        elif opcode not in (FORGET, INTERRUPT, BATCH_FORGET):
            error, body = _answer(opcode, node)
            os.write(device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)


def _answer(opcode: int, node: int) -> tuple[int, bytes]:
    if opcode == INIT:
        # struct fuse_init_out of version 7.31, of which the kernel takes what it knows
        return 0, struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8)[:64]
    if opcode == GETATTR and node == 1:
        now = int(time.time())
        attributes = struct.pack("<6Q10I", 1, 0, 0, now, now, now, 0, 0, 0, ROOT_MODE, 2, 0, 0, 0, 4096, 0)
        return 0, struct.pack("<QII", 3600, 0, 0) + attributes
    return ENOSYS, b""


if __name__ == "__main__":
    main(sys.argv[1])
