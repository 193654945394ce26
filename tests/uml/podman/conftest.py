"""Two Podmans for the session, one with runc and one with minirunc, and more where they are asked for."""

import os
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.ground.bundle import CHECKOUT, busybox_rootfs
from tests.ground.rootless import SUBIDS, USER
from tests.uml.podman.engine import Podman
from tests.uml.systemd.conftest import UserManager


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    # Where the README says that it is; all of it is gone with this kernel.
    subprocess.run(["make", "install"], cwd=CHECKOUT, check=True, capture_output=True)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system."""
    return busybox_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture(scope="session")
def archive(busybox: Path) -> Path:
    """The same as a tar."""
    file = busybox.with_name("box.tar")
    subprocess.run(["tar", "-C", busybox, "-cf", file, "."], check=True)
    return file


@pytest.fixture(scope="session")
def podman(archive: Path) -> Callable[[str, str], Podman]:
    """Make one: `podman("runc", "systemd")`."""
    return cache(lambda runtime, driver: Podman(runtime, driver, archive))


@pytest.fixture(scope="session")
def cgroupfs(podman: Callable[[str, str], Podman]) -> Sequence[Podman]:
    """With runc and with minirunc, the driver cgroupfs."""
    return [podman("runc", "cgroupfs"), podman("minirunc", "cgroupfs")]


@pytest.fixture(scope="session")
def systemd(podman: Callable[[str, str], Podman]) -> Sequence[Podman]:
    """With runc and with minirunc, the driver systemd."""
    return [podman("runc", "systemd"), podman("minirunc", "systemd")]


@pytest.fixture(scope="session")
def crun(podman: Callable[[str, str], Podman]) -> Sequence[Podman]:
    """With crun and with minirunc."""
    return [podman("crun", "cgroupfs"), podman("minirunc", "cgroupfs")]


@pytest.fixture(scope="session")
def rootless(archive: Path) -> Sequence[Podman]:
    """An ordinary user's, with runc and with minirunc; systemd is the user's own."""
    manager = UserManager.started()
    for name in ("subuid", "subgid"):
        with Path("/etc", name).open("a") as file:
            file.write(f"minirunc-user:{SUBIDS}:65536\n")
    home = Path("/run/home")
    home.mkdir()
    os.chown(home, USER, USER)
    bus = f"DBUS_SESSION_BUS_ADDRESS=unix:path={manager.runtime}/bus"
    prefix = [*manager.prefix, "env", "-C", str(home), f"HOME={home}", bus]
    return [Podman(runtime, "systemd", archive, prefix, USER) for runtime in ("runc", "minirunc")]
