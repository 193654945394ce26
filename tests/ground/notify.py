"""sd_notify(3) from both ends: a program that speaks inside a container, and somebody who listens as a manager does."""

import array
import os
import socket
import subprocess
from pathlib import Path

from tests.ground.bundle import Bundle
from tests.ground.runtime import TIMEOUT_S

# A program for the container: busybox has no sockets of this kind.
SENDER = r"""
#include <sys/socket.h>
#include <sys/un.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0), i;
    strncpy(to.sun_path, getenv("NOTIFY_SOCKET"), sizeof to.sun_path - 1);
    for (i = 1; i < argc; i++)
        if (sendto(fd, argv[i], strlen(argv[i]), 0, (void *)&to, sizeof to) < 0) return 1;
    return 0;
}
"""


def sender(directory: Path) -> Path:
    """Make `notify MESSAGE...` there, a static program."""
    made = directory / "notify"
    command = ["gcc", "-static", "-x", "c", "-o", str(made), "-"]
    subprocess.run(command, input=SENDER, text=True, check=True)
    return made


def with_sender(bundle: Bundle, program: Path) -> Bundle:
    """The bundle, its image with `notify`."""
    inside = bundle.rootfs / "bin/notify"
    inside.write_bytes(program.read_bytes())
    inside.chmod(0o755)
    return bundle


class Manager:
    """Listens as a service manager does; `environment` is what its services have."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if address.startswith("@"):
            self.socket.bind("\0" + address[1:])
        else:
            where = os.open(os.path.dirname(address), os.O_PATH)
            self.socket.bind(f"/proc/self/fd/{where}/{os.path.basename(address)}")
            os.close(where)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(TIMEOUT_S)
        self.environment = os.environ | {"NOTIFY_SOCKET": address}
        self.sender = 0

    def hear(self, *, answer: bool = True) -> list[str]:
        """The lines of the next message; what comes with BARRIER=1 is closed, which answers it."""
        data, ancillary, _, _ = self.socket.recvmsg(4096, 256)
        for _, kind, content in ancillary:
            if kind == socket.SCM_RIGHTS:
                self.fds = array.array("i", content[: len(content) // 4 * 4])
                if answer:
                    self.answer()
            else:
                self.sender = int.from_bytes(content[:4], "little")
        return data.decode().split("\n")

    def answer(self) -> None:
        """To BARRIER=1."""
        for fd in self.fds:
            os.close(fd)

    def is_silent(self) -> bool:
        """Whether nothing waits to be heard."""
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT_S)
