"""containerd by CRI: with minirunc the kubelet sees what it sees with runc (README.md, "Kubernetes")."""

import re

import pytest

from tests.ground.compare import Scene, compare
from tests.ground.readme import block
from tests.uml.containerd import pods, scenes
from tests.uml.containerd.engine import Containerd, Node

BLOTS = [*scenes.BLOTS, *pods.BLOTS]


@pytest.mark.parametrize("scene", [*pods.EVERYWHERE, *pods.SCENES], ids=lambda scene: scene.__name__)
def test_systemd(scene: Scene, daemons: list[Containerd], request: pytest.FixtureRequest) -> None:
    """The handler is what the RuntimeClass on the page names."""
    handler = re.search(r"^handler: (\w+)$", block("### Kubernetes"), re.MULTILINE)
    assert handler
    theirs, ours = daemons
    engines = [Node(theirs, "runc", "systemd"), Node(ours, handler[1], "systemd")]
    compare(request, scene, engines, "CRI, systemd", BLOTS)


@pytest.mark.parametrize("scene", pods.EVERYWHERE, ids=lambda scene: scene.__name__)
def test_cgroupfs(scene: Scene, daemons: list[Containerd], request: pytest.FixtureRequest) -> None:
    engines = [Node(daemon, f"{daemon.runtime}-cgroupfs", "cgroupfs") for daemon in daemons]
    compare(request, scene, engines, "CRI, cgroupfs", BLOTS)
