"""Podman with one runtime: its containers.conf, its storage, its image of busybox."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.ground import readme
from tests.ground.runtime import wait_until

PODMAN = "/usr/bin/podman"
IMAGE = "box"
GO = ["GODEBUG=asyncpreemptoff=1"]  # Go threads interrupt each other by signals, which cost much in User-Mode Linux


class Podman:
    """`argv(["run", "box", "true"])` calls Podman; the runtime is runc, minirunc or crun.

    The configuration is README's, but for one line that names the runtime, and one for the locks.
    """

    def __init__(self, runtime: str, driver: str, archive: Path, prefix: Sequence[str] = (), user: int = 0) -> None:
        self.runtime = runtime
        self.driver = driver
        self.directory = Path(f"/run/podman-{user}-{driver}") / runtime
        self.directory.mkdir(parents=True)
        os.chown(self.directory, user, user)
        self.socket = self.directory / "socket"
        self._url = f"unix://{self.socket}"
        self._prefix = list(prefix)
        self._conf = self.directory / "containers.conf"
        # Locks are files below --tmpdir then: two Podmans would else share those in /dev/shm.
        conf = readme.block("### Podman").replace("[engine]", '[engine]\nlock_type = "file"')
        self._conf.write_text(conf.replace('runtime = "minirunc"', f'runtime = "{runtime}"'))
        with archive.open() as file:  # which only root may open
            subprocess.run(self.argv(["import", "-", IMAGE]), stdin=file, check=True, capture_output=True)

    def argv(self, words: Sequence[str]) -> list[str]:
        """The whole command line of a call; with `--remote` in front it goes to the service."""
        here = f"--chdir={self.directory}"  # where conmon leaves a file "oom"
        podman = [*self._prefix, "env", here, *GO, f"CONTAINERS_CONF={self._conf}", PODMAN]
        if words[0] == "--remote":
            return [*podman, "--remote", f"--url={self._url}", *words[1:]]
        where = [f"--{name}={self.directory / name}" for name in ("root", "runroot", "tmpdir")]
        return [
            *podman,
            *where,
            f"--cgroup-manager={self.driver}",
            "--storage-driver=vfs",
            "--events-backend=file",
            *words,
        ]

    @contextmanager
    def service(self) -> Iterator[None]:
        """While it is open, `podman system service` answers; at the end it is told to go, and waited for."""
        with subprocess.Popen(self.argv(["system", "service", "--time=0", self._url])) as process:
            wait_until(self.socket.is_socket, "the service listens")
            try:
                yield
            finally:
                process.terminate()
        self.socket.unlink(missing_ok=True)

    def clean(self, again: bool) -> None:
        """Remove what a scene left, to play it again. Else it stays: its names are its own, and Podman is slow."""
        if again:
            for words in ("pod rm --all --force --time=0", "rm --all --force --time=0", "volume prune --force"):
                subprocess.run(self.argv(words.split()), check=True, capture_output=True)
            shutil.rmtree(self.directory / "shared", ignore_errors=True)
