"""Two daemons of containerd: one as README.md says, and one that differs from it by the runtime's name and place."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ground.bundle import CHECKOUT, busybox_rootfs
from tests.ground.readme import block
from tests.uml.containerd.engine import CONFIG, IMAGE, Containerd, Ctr, image

RUNC = "/usr/sbin/runc"
IMAGE_FILE = Path("/run/tmp/image.tar")
MINIRUNC = "/usr/local/bin/minirunc"
# What README.md has, but for pods whose cgroups are not systemd's. And after two seconds a shim that is busy with fifty
# containers would be taken for one without processes: a pod's namespaces would be those of pid 0.
MORE = """
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}-cgroupfs]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}-cgroupfs.options]
  BinaryName = "{binary}"
[timeouts]
  "io.containerd.timeout.task.state" = "120s"
"""


@pytest.fixture(scope="session")
def daemons() -> Iterator[list[Containerd]]:
    """containerd with runc, and containerd with minirunc, at the places that are the default."""
    subprocess.run(["make", "install"], cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    theirs = Containerd("runc", RUNC, Path("/run/containerd-runc.toml"), "-runc")
    ours = Containerd("minirunc", MINIRUNC, CONFIG)
    for path in (ours.data, theirs.data):  # overlayfs does not lie on an overlayfs
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    debians, pasted = CONFIG.read_text(), block("### containerd")
    others = pasted.replace(MINIRUNC, RUNC).replace("minirunc", "runc")
    CONFIG.write_text(debians + pasted + MORE.format(name="minirunc", binary=MINIRUNC))
    Path("/run/containerd-runc.toml").write_text(debians + others + MORE.format(name="runc", binary=RUNC))
    file = image(IMAGE_FILE, busybox_rootfs(Path("/run/tmp/box")), [IMAGE, _sandbox_image()])
    for daemon in (theirs, ours):
        daemon.start()
        for namespace in (daemon.runtime, "k8s.io"):
            daemon.load(file, namespace)
    yield [theirs, ours]
    for daemon in (theirs, ours):
        daemon.stop()


@pytest.fixture(scope="session")
def by_ctr(daemons: list[Containerd]) -> dict[str, list[Ctr]]:
    """The engines, by cgroup driver."""
    return {driver: [Ctr(daemon, driver) for daemon in daemons] for driver in ("cgroupfs", "systemd")}


def _sandbox_image() -> str:
    told = subprocess.run(["containerd", "config", "default"], check=True, capture_output=True, text=True).stdout
    return next(line.split('"')[1] for line in told.splitlines() if "sandbox_image" in line)
