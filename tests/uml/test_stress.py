"""Lives one after the other with the file system driver where it has controllers: device programs, dying cgroups."""

from tests.ground.bundle import Bundle
from tests.ground.host import Host
from tests.ground.runtime import Runtime
from tests.test_stress import sleeper, test_lives_one_after_the_other  # noqa: F401


def test_what_a_container_adds_is_seen(minirunc: Runtime, sleeper: Bundle) -> None:  # noqa: F811
    """The watch over what is left sees it while it is there; with systemd its unit, too."""
    host = Host(minirunc, sleeper)
    before = host.now()
    id = minirunc.start(sleeper)
    after = host.now()
    kinds = {kind for kind, things in after.items() if things - before[kind]}
    assert kinds - {"units"} == {"processes", "cgroups", "files", "device programs"}
    assert ("units" in kinds) is bool(minirunc.options)
    minirunc.ok("delete", "--force", id)
