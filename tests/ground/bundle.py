"""Bundles for tests: a busybox root file system, and a config.json like that of `runc spec`, no terminal."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


class Bundle:
    """A bundle directory. Change `config` at will: the `minirunc` fixture writes it before run and create."""

    def __init__(self, path: Path, rootfs: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.rootfs = rootfs
        self.config = config
        self.file = path / "config.json"

    def write(self) -> None:
        """Write `config` to config.json; for those who call the command line themselves."""
        self.file.write_text(json.dumps(self.config, indent=2))

    @property
    def process(self) -> Any:
        """Short for `config["process"]`."""
        return self.config["process"]

    @property
    def linux(self) -> Any:
        """Short for `config["linux"]`."""
        return self.config["linux"]

    def args(self, args: str | Sequence[str]) -> None:
        """Set process.args; a string is a script for the container's sh."""
        self.process["args"] = ["sh", "-c", args] if isinstance(args, str) else list(args)

    def namespace(self, kind: str, **fields: str) -> dict[str, str]:
        """The entry of linux.namespaces for this type, made if missing, with the fields set."""
        entry: dict[str, str]
        for entry in self.linux["namespaces"]:
            if entry["type"] == kind:
                break
        else:
            entry = {"type": kind}
            self.linux["namespaces"].append(entry)
        entry.update(fields)
        return entry

    def without_namespace(self, kind: str) -> None:
        """Take a namespace out: the container shares the caller's."""
        self.linux["namespaces"] = [entry for entry in self.linux["namespaces"] if entry["type"] != kind]

    def mount(self, destination: str, kind: str, source: str, *options: str) -> None:
        """Add a mount after the others."""
        self.config["mounts"].append(
            {"destination": destination, "type": kind, "source": source, "options": list(options)}
        )


def busybox_rootfs(directory: Path) -> Path:
    """Make a busybox root file system there."""
    subprocess.run([CHECKOUT / "bundles/busybox-rootfs", directory], check=True)
    return directory


def make(directory: Path, busybox: Path, args: str | Sequence[str]) -> Bundle:
    """Make a bundle with a root file system of its own."""
    directory.mkdir(parents=True)
    rootfs = directory / "rootfs"
    shutil.copytree(busybox, rootfs, symlinks=True)
    bundle = Bundle(directory, rootfs, default_config())
    bundle.args(args)
    bundle.write()
    return bundle


def default_config() -> dict[str, Any]:
    """What `runc spec` writes, but no terminal, a writable root, and a version that old runtimes take, too."""

    def mount(destination: str, kind: str, source: str, options: str = "") -> dict[str, Any]:
        entry: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
        return entry | ({"options": options.split(",")} if options else {})

    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {set_: list(CAPABILITIES) for set_ in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "test",
        "mounts": [
            mount("/proc", "proc", "proc"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
            mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
            mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": shlex.split(
                "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list"
                " /proc/timer_stats /proc/sched_debug /sys/firmware /proc/scsi"
            ),
            "readonlyPaths": shlex.split("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"),
        },
    }
