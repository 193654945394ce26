"""CRI-O's side of conmon and of the runtime: the command lines it calls, and what it reads of their answers.

Read from CRI-O's sources (internal/oci); conmon, the runtime and the containers are real.
"""

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.ground import readme
from tests.ground.bundle import Bundle, default_config
from tests.ground.runtime import wait_until

RUNC = {"runtime_path": "/usr/sbin/runc", "runtime_root": "/run/runc", "monitor_path": "/usr/bin/conmon"}
MONITOR_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}  # CRI-O's default
SLICE = "kubepods.slice"


class Answer(NamedTuple):
    """What conmon wrote into its sync pipe, and what it logged of the process's output."""

    said: Mapping[str, Any]
    output: str


class Crio:
    """With one runtime and one cgroup driver: `create`, `exec_sync`, and `call("state", id)` for the runtime itself."""

    def __init__(self, runtime: str, driver: str, busybox: Path) -> None:
        self.runtime = runtime
        self.driver = driver
        self.directory = Path(f"/run/crio-{driver}") / runtime
        self._busybox = busybox
        for name in ("exits", "sockets", "bundles"):
            (self.directory / name).mkdir(parents=True)
        readme_says = tomllib.loads(readme.block("### CRI-O"))["crio"]["runtime"]["runtimes"]
        self._handler: Mapping[str, str] = {"runc": RUNC, **readme_says}[runtime]

    def argv(self, words: Sequence[str]) -> list[str]:
        """The runtime's command line."""
        by_systemd = ["--systemd-cgroup"] if self.driver == "systemd" and words[0] != "update" else []
        return [self._handler["runtime_path"], "--root", self._handler["runtime_root"], *by_systemd, *words]

    def call(self, *words: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Call the runtime directly; its streams are pipes."""
        return subprocess.run(
            self.argv(words), input=input or "", capture_output=True, text=True, timeout=120, check=False
        )

    def bundle(self, id: str, *args: str) -> Bundle:
        """A bundle in the cgroup that CRI-O would choose."""
        directory = self.directory / "bundles" / id
        directory.mkdir()
        shutil.copytree(self._busybox, directory / "rootfs", symlinks=True)
        made = Bundle(directory, directory / "rootfs", default_config())
        made.args(args)
        in_slice = f"{SLICE}:{self.runtime}:{id}"
        made.linux["cgroupsPath"] = in_slice if self.driver == "systemd" else f"/kubepods/{self.runtime}-{id}"
        return made

    def create(self, bundle: Bundle, *options: str) -> Answer:
        """Have conmon create the container and stay with it; its output goes to a log."""
        bundle.write()
        id, path = bundle.path.name, bundle.path
        (path / "persist").mkdir()
        argv = [
            *("-b", str(path), "-c", id, "--exit-dir", str(self.directory / "exits"), "-l", str(path / "log")),
            *("--log-level", "info", "-n", f"k8s_{id}", "-P", str(path / "conmon.pid"), "-p", str(path / "pidfile")),
            *("--persist-dir", str(path / "persist"), "-r", self._handler["runtime_path"]),
            *("--runtime-arg", f"--root={self._handler['runtime_root']}"),
            *("--socket-dir-path", str(self.directory / "sockets"), "-u", id, *self._systemd(), *options),
        ]
        return self._conmon(argv, path / "log")

    def exec_sync(self, id: str, process: Mapping[str, Any], *options: str) -> Answer:
        """Have conmon run one more process to its end, or until a timeout (`-T`, seconds)."""
        path = self.directory / "bundles" / id
        (path / "process").write_text(json.dumps(process))
        for name in ("exec.log", "exec.pid"):  # both are there before
            (path / name).write_text("")
        argv = [
            *("-c", id, "-n", f"k8s_{id}", "-r", self._handler["runtime_path"], "-p", str(path / "exec.pid"), "-e"),
            *("-l", str(path / "exec.log"), "--socket-dir-path", str(self.directory / "sockets")),
            *("--log-level", "info", "--sync", *self._systemd(), *options),
            *("--exec-process-spec", str(path / "process"), "--runtime-arg", f"--root={self._handler['runtime_root']}"),
        ]
        return self._conmon(argv, path / "exec.log")

    def exit_code(self, id: str) -> str:
        """What conmon wrote when the container had ended."""
        file = self.directory / "exits" / id
        wait_until(lambda: file.exists() and file.read_text(), f"{id} has ended")
        return file.read_text()

    def log(self, id: str) -> str:
        """The container's output, as conmon logged it, without the times."""
        return _unlogged(self.directory / "bundles" / id / "log")

    def clean(self, again: bool = False) -> None:
        """Remove all containers."""
        for bundle in (self.directory / "bundles").iterdir():
            self.call("delete", "--force", bundle.name)
            if (bundle / "conmon.pid").exists():
                conmon = Path("/proc", (bundle / "conmon.pid").read_text())
                wait_until(lambda: not conmon.exists(), "conmon has ended")  # noqa: B023
            (self.directory / "exits" / bundle.name).unlink(missing_ok=True)
            shutil.rmtree(bundle)

    def _systemd(self) -> list[str]:
        return ["-s"] if self.driver == "systemd" else []

    def _conmon(self, argv: Sequence[str], log: Path) -> Answer:
        sync_reader, sync_writer = os.pipe()
        start_reader, start_writer = os.pipe()
        pipes = {"_OCI_SYNCPIPE": str(sync_writer), "_OCI_STARTPIPE": str(start_reader)}
        process = subprocess.Popen(
            [self._handler["monitor_path"], *argv],
            stdin=subprocess.DEVNULL,
            pass_fds=(sync_writer, start_reader),
            env=MONITOR_ENV | pipes,
            cwd=log.parent,
        )
        os.close(sync_writer)
        os.close(start_reader)
        os.write(start_writer, b"\0")
        process.wait(120)
        os.close(start_writer)
        with open(sync_reader) as answers:
            said = answers.readline()
        return Answer(json.loads(said or "{}"), _unlogged(log))


def _unlogged(log: Path) -> str:
    """Lines of `TIME STREAM FULL-OR-PARTIAL TEXT`, without the times."""
    return "".join(line.partition(" ")[2] for line in log.read_text().splitlines(keepends=True))
