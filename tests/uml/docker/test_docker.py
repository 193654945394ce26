"""Docker shows of a container what it shows with runc."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ground.compare import Scene, Stage, compare
from tests.uml.docker import scenes, scenes_engine, scenes_errors, scenes_limits
from tests.uml.docker.conftest import Pair

BLOTS = [*scenes.BLOTS, *scenes_errors.WORDS]


def name(scene: Scene) -> str:
    """As the test is called."""
    return scene.__name__


# The first is before the engines have a past, which they go through when they begin again.
ALL = [*scenes_engine.SURVIVAL, *scenes.ALL, *scenes_errors.ALL, *scenes_limits.ALL]


@pytest.mark.parametrize("scene", ALL, ids=name)
def test_docker(request: pytest.FixtureRequest, cgroupfs: Pair, scene: Scene) -> None:
    """The scene with the cgroupfs driver."""
    compare(request, scene, cgroupfs, "Docker, cgroupfs", BLOTS)


@pytest.mark.parametrize("scene", scenes_limits.BOTH, ids=name)
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


def test_fifty_at_once(cgroupfs: Pair) -> None:
    """Made, started and killed all together; by the API, as fifty clients would take most of the time."""
    docker = cgroupfs[1]
    names = [f"box{number}" for number in range(50)]
    body = {"Image": "box", "Cmd": ["sleep", "1000"], "HostConfig": {"PidsLimit": 9}}

    def run(name: str) -> str:
        docker.ask("POST", f"/containers/create?name={name}", body)
        docker.ask("POST", f"/containers/{name}/start")
        return str(docker.ask("GET", f"/containers/{name}/json")["State"]["Status"])

    def kill(name: str) -> int:
        docker.ask("POST", f"/containers/{name}/kill")
        return int(docker.ask("POST", f"/containers/{name}/wait")["StatusCode"])

    with ThreadPoolExecutor(len(names)) as pool:
        assert set(pool.map(run, names)) == {"running"}
        assert len(docker.ask("GET", "/containers/json")) == len(names)
        assert set(pool.map(kill, names)) == {137}
    docker.clean()
    assert docker.ask("GET", "/containers/json?all=1") == []
