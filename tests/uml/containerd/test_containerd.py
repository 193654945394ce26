"""containerd by ctr: with minirunc its user sees what he sees with runc (README.md, "containerd")."""

import pytest

from tests.ground.compare import Scene, compare
from tests.uml.containerd import scenes
from tests.uml.containerd.engine import Ctr


@pytest.mark.parametrize("scene", [*scenes.SCENES, *scenes.EVERYWHERE], ids=lambda scene: scene.__name__)
def test_cgroupfs(scene: Scene, by_ctr: dict[str, list[Ctr]], request: pytest.FixtureRequest) -> None:
    compare(request, scene, by_ctr["cgroupfs"], "containerd, cgroupfs", scenes.BLOTS)


@pytest.mark.parametrize("scene", scenes.EVERYWHERE, ids=lambda scene: scene.__name__)
def test_systemd(scene: Scene, by_ctr: dict[str, list[Ctr]], request: pytest.FixtureRequest) -> None:
    compare(request, scene, by_ctr["systemd"], "containerd, systemd", scenes.BLOTS)
