"""Docker shows of a container what it shows with runc."""

import pytest

from tests.ground.compare import Scene, Stage, compare
from tests.uml.docker import scenes, scenes_engine, scenes_errors, scenes_limits
from tests.uml.docker.conftest import Pair

BLOTS = [*scenes.BLOTS, *scenes_errors.WORDS]
ONCE = [scenes_limits.many, *scenes_engine.SURVIVAL]


def name(scene: Scene) -> str:
    """As the test is called."""
    return scene.__name__


@pytest.mark.parametrize("scene", [*scenes.ALL, *scenes_errors.ALL, *scenes_limits.ALL, *ONCE], ids=name)
def test_docker(request: pytest.FixtureRequest, cgroupfs: Pair, scene: Scene) -> None:
    """The scene with the cgroupfs driver."""
    compare(request, scene, cgroupfs, "Docker, cgroupfs", BLOTS)


@pytest.mark.parametrize("scene", scenes_limits.ALL, ids=name)
def test_docker_by_systemd(request: pytest.FixtureRequest, systemd: Pair, scene: Scene) -> None:
    """Where the driver matters."""
    compare(request, scene, systemd, "Docker, systemd", BLOTS)


@pytest.mark.parametrize("scene", scenes_engine.REMAPPED, ids=name)
def test_docker_remapped(request: pytest.FixtureRequest, remapped: Pair, scene: Scene) -> None:
    """With userns-remap in daemon.json."""
    compare(request, scene, remapped, "Docker, userns-remap", BLOTS)


@pytest.mark.parametrize(("status", "words", "call"), [(one, two, call) for one, two, *call in scenes_errors.CHANGED])
def test_what_runc_has_changed_since(cgroupfs: Pair, status: int, words: str, call: list[str]) -> None:
    """Here minirunc follows runc 1.5, which is not Debian's."""
    stage = Stage(cgroupfs[1])
    assert words in stage(*call)
    assert stage.seen[0].status == status
