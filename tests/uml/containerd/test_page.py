"""README.md, "containerd" and "Kubernetes", followed as they stand; the daemon with minirunc has the first block."""

import subprocess
import tomllib

from tests.ground.readme import block
from tests.uml.containerd.conftest import IMAGE_FILE
from tests.uml.containerd.engine import Containerd


def test_ctr_as_on_the_page(daemons: list[Containerd]) -> None:
    """The commands, in their order."""
    ours = daemons[1]
    ours.load(IMAGE_FILE, "default")
    told = subprocess.run(["sh", "-ec", block("### containerd", 2)], capture_output=True, text=True, check=False)
    for words in (("tasks", "delete", "--force", "box"), ("containers", "delete", "box")):
        subprocess.run(ours.ctr(*words), check=True, stderr=subprocess.DEVNULL)
    assert (told.returncode, told.stdout) == (0, "uid=0(root) gid=0(root) groups=0(root)\n"), told.stderr


def test_versions_2_and_3_say_the_same() -> None:
    """Debian's containerd reads version 2 alone; that of version 3 must be the same below the plugin's newer name."""
    two, three = (tomllib.loads(block("### containerd", number))["plugins"] for number in (0, 1))
    assert three["io.containerd.cri.v1.runtime"] == two["io.containerd.grpc.v1.cri"]


def test_what_was_pasted_was_read(daemons: list[Containerd]) -> None:
    """The daemon has read what was pasted."""
    dump = subprocess.run(["containerd", "config", "dump"], check=True, capture_output=True, text=True).stdout
    configured = tomllib.loads(dump)["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]
    assert configured["default_runtime_name"] == "minirunc"
    assert configured["runtimes"]["minirunc"]["options"]["BinaryName"] == daemons[1].binary
