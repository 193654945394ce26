"""User-Mode Linux (linux.uml): a second kernel, with every cgroup v2 controller, on the files of the host.

By hand: `.venv/bin/python -m tests.ground.uml [--systemd] COMMAND [ARGUMENT...]` runs a command in it, as root.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

INIT = Path(__file__).with_name("uml-init.sh")
SYSTEMD = Path(__file__).with_name("uml-systemd.sh")
SYSTEMD_BINARY = "/lib/systemd/systemd"
BOOT_S = 90  # it takes one or two; a machine under load takes longer


class GroundError(Exception):
    """The ground itself failed: what was to run in it was not run, or not to its end."""


class Result(NamedTuple):
    """What a command left: its exit status, and its stdout and stderr in one."""

    status: int
    output: str


def run(
    command: Sequence[str],
    *,
    deadline_s: float = 900,
    environment: Mapping[str, str] | None = None,
    memory: str = "2G",
    security: str = "",
    systemd: bool = False,
) -> Result:
    """Boot a kernel, run the command in the current directory there, power off.

    Inside, /proc, /sys, /dev, /run are fresh, TMPDIR is a tmpfs, cgroup2 is on /sys/fs/cgroup with all
    controllers; the rest is the host's, writable. Several can run at once. `security` is the module that the kernel
    is to have on: apparmor, selinux. With `systemd` that is the first process, the command a service of it, and all
    that is written outside /var/tmp is gone at the end; a user's manager is started by `systemctl start user@UID`.
    Raises GroundError if it does not boot, dies, or is not done in time.
    """
    kernel = shutil.which("linux.uml")
    if not kernel:
        raise GroundError("linux.uml is not installed (Debian package user-mode-linux)")
    if systemd and not os.access(SYSTEMD_BINARY, os.X_OK):
        raise GroundError("systemd is not installed (Debian packages systemd, dbus)")
    if os.geteuid() != 0:
        raise GroundError("User-Mode Linux must be started as root, to be root on the host's files")
    # /var/tmp, because the guest has a /run and perhaps a TMPDIR of its own.
    with tempfile.TemporaryDirectory(prefix="minirunc-uml-", dir="/var/tmp") as name:
        box = Path(name)
        _write_script(box / "command", command, environment or {})
        _write_script(box / "init", ["/bin/sh", str(SYSTEMD if systemd else INIT), str(box)], {})
        with (box / "console").open("wb") as console:
            # A pid namespace of its own, so that no process of the kernel's many can outlive it; nor can it outlive us.
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("unshare", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", '"$@"; exit', "sh"),
                    *(kernel, "rootfstype=hostfs", "root=/dev/root", "rw", f"init={box}/init"),
                    *("con=null", "con0=null,fd:1", "quiet", f"uml_dir={box}/", f"mem={memory}"),
                    *([f"security={security}"] if security else []),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TMPDIR": _memory_directory()},
            )
            try:
                _wait(process, box, deadline_s)
            finally:
                _end(process)
        return _result(box)


def _memory_directory() -> str:
    """Where the kernel keeps its memory: a file, so best on a tmpfs that allows PROT_EXEC."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/var/tmp"


def _write_script(path: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    text = f"#!/bin/sh\ncd {shlex.quote(os.getcwd())}\n{exports}exec {shlex.join(command)}\n"
    path.write_text(text)
    path.chmod(0o755)


def _wait(process: subprocess.Popen[bytes], box: Path, deadline_s: float) -> None:
    start = time.monotonic()
    while True:
        try:
            process.wait(0.1)
            return
        except subprocess.TimeoutExpired:
            pass
        passed = time.monotonic() - start
        if passed > BOOT_S and not (box / "booted").exists():
            raise GroundError(f"User-Mode Linux did not boot within {BOOT_S} s:\n{_tail(box / 'console')}")
        if passed > deadline_s:
            raise GroundError(f"not done within {deadline_s} s in User-Mode Linux:\n{_tail(box / 'output')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # unshare --kill-child kills the namespace's first process, and so all of it.
        process.send_signal(signal.SIGKILL)
    process.wait()


def _result(box: Path) -> Result:
    if not (box / "booted").exists():
        raise GroundError(f"User-Mode Linux did not boot:\n{_tail(box / 'console')}")
    try:
        status = int((box / "status").read_text())
    except (OSError, ValueError):
        told = f"{_tail(box / 'output')}\n{_tail(box / 'console')}"
        raise GroundError(f"User-Mode Linux ended before the command did:\n{told}") from None
    return Result(status, (box / "output").read_text(errors="replace"))


def _tail(path: Path, lines: int = 40) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


if __name__ == "__main__":
    try:
        systemd = sys.argv[1:2] == ["--systemd"]
        told = run(sys.argv[1 + systemd :] or ["uname", "-a"], systemd=systemd)
    except GroundError as error:
        sys.exit(str(error))
    sys.stdout.write(told.output)
    sys.exit(told.status)
