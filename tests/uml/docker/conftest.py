"""Two Dockers for each cgroup driver, with one image; started when they are first needed."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.uml.docker.engine import Docker

Pair = list[Docker]
SHARE = Path("/run/share")
FILTERS = {"filter": ("mkdir", "SCMP_ACT_ERRNO"), "wrong": ("mkdir", "SCMP_ACT_NONSENSE")}


@pytest.fixture(scope="session")
def image(busybox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar to import: busybox, and what is needed to go wrong."""
    shutil.copy(Path(__file__).with_name("show.sh"), busybox / "bin/show")
    (busybox / "bin/show").chmod(0o755)
    (busybox / "plain").write_text("no program\n")
    (busybox / "garbage").write_text("no format either\n")
    (busybox / "garbage").chmod(0o755)
    tar = tmp_path_factory.mktemp("image") / "box.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(busybox, ".")
    return tar


@pytest.fixture(scope="session")
def share() -> None:
    """Files of the host's, on a mount that may be a slave's master."""
    SHARE.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(SHARE)], check=True)
    subprocess.run(["mount", "--make-shared", str(SHARE)], check=True)
    for name, (call, action) in FILTERS.items():
        rules = [{"names": [call], "action": action}]
        (SHARE / f"{name}.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))


def pair(place: Path, image: Path, **settings: Any) -> Iterator[Pair]:
    """Docker with runc and Docker with minirunc, from start to end."""
    engines = [Docker(runtime, place, **settings) for runtime in ("runc", "minirunc")]

    def up(engine: Docker) -> None:
        engine.start()
        subprocess.run(engine.argv(["import", str(image), "box"]), check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor() as pool:
        list(pool.map(up, engines))
    yield engines
    for engine in engines:
        engine.stop()


@pytest.fixture(scope="session")
def cgroupfs(image: Path, share: None) -> Iterator[Pair]:
    """They make cgroups themselves; their containers go on without them."""
    settings = {"exec-opts": ["native.cgroupdriver=cgroupfs"], "live-restore": True}
    yield from pair(Path("/run/cgroupfs"), image, **settings)


@pytest.fixture(scope="session")
def remapped(image: Path, share: None) -> Iterator[Pair]:
    """Root of their containers is another user outside."""
    ids = "minirunc-remap:200000:65536\n"
    for file, line in (("passwd", "minirunc-remap:x:2000:2000::/:/bin/sh\n"), ("subuid", ids), ("subgid", ids)):
        with Path("/etc", file).open("a") as out:
            out.write(line)
    with Path("/etc/group").open("a") as out:
        out.write("minirunc-remap:x:2000:\n")
    yield from pair(Path("/run/remapped"), image, **{"userns-remap": "minirunc-remap"})


@pytest.fixture(scope="session")
def systemd(image: Path, share: None) -> Iterator[Pair]:
    """They have systemd make cgroups."""
    yield from pair(Path("/run/systemd-driver"), image, **{"exec-opts": ["native.cgroupdriver=systemd"]})
