"""README's page on Podman, followed as it stands."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ground import readme
from tests.uml.podman.engine import IMAGE, PODMAN


def podman(*words: str) -> str:
    """What it prints; it must succeed."""
    result = subprocess.run([PODMAN, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert result.returncode == 0, f"{words}: {result.stdout}"
    return result.stdout.strip()


@pytest.fixture
def _storage() -> Iterator[None]:
    # Not in /var, which is an overlay here and so no place for Podman's own overlays.
    storage = Path("/var/lib/containers")
    storage.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", storage], check=True)
    yield
    podman("rm", "--all", "--force", "--time=0")
    subprocess.run(["umount", "-l", storage], check=True)


@pytest.mark.usefixtures("_storage")
def test_its_configuration_makes_minirunc_the_runtime(archive: Path) -> None:
    """The block goes where the page says; all else is Podman's default."""
    podman("import", str(archive), IMAGE)
    option = "--runtime=/usr/local/bin/minirunc"
    podman(option, "run", "--detach", "--name=before", "--network=none", IMAGE, "sleep", "1000")
    assert podman("inspect", "--format={{.OCIRuntime}}", "before") == "/usr/local/bin/minirunc"
    Path("/etc/containers/containers.conf").write_text(readme.block("### Podman"))
    wanted = "minirunc /usr/local/bin/minirunc systemd"
    assert (
        podman("info", "--format={{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}} {{.Host.CgroupManager}}") == wanted
    )
    assert "minirunc version" in podman("info", "--format={{.Host.OCIRuntime.Version}}")
    podman("run", "--detach", "--name=c", "--network=none", "--memory=32m", IMAGE, "sleep", "1000")
    assert podman("exec", "c", "cat", "/sys/fs/cgroup/memory.max") == str(32 << 20)
    listed = subprocess.run(
        ["/usr/local/bin/minirunc", "list", "-q"], capture_output=True, text=True, check=True
    ).stdout
    assert set(podman("ps", "--no-trunc", "--quiet").split()) <= set(listed.split())
    for how in ([], [option]):  # in the list of runtimes that answer in JSON, and not
        command = [PODMAN, *how, "run", "--rm", "--network=none", IMAGE, "nosuch"]
        failed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert failed.returncode == 127, how
        assert 'exec: "nosuch": executable file not found in $PATH' in failed.stderr
    assert podman("exec", "before", "echo", "still obeys") == "still obeys"
