"""bundles/hello: what `make run` shows a newcomer."""

from tests.ground.bundle import CHECKOUT
from tests.ground.runtime import Runtime

HELLO = CHECKOUT / "bundles/hello"


def test_container_says_who_and_where_it_is(minirunc: Runtime) -> None:
    """It is process 1 on a host of its own, can change nothing, and may do next to nothing."""
    assert (HELLO / "rootfs/hello").exists(), "`make run` builds it, and so does `make test`"
    result = minirunc("run", "--bundle", HELLO, minirunc.id())
    assert (result.status, result.err) == (0, "")
    said = {line[2:16].strip(): line[17:] for line in result.out.splitlines() if line.startswith("  ")}
    assert said["process"].startswith("1, user root")
    assert said["hostname"] == "hello"
    assert said["network"] == "lo"
    assert said["cgroup"] == "/"
    assert said["capabilities"].startswith("kill net_bind_service (")
    assert said["new ones"].startswith("never")
    assert said["system calls"].startswith("seven are refused")
    assert said["writing there"].endswith("Read-only file system")
    assert "    /proc                      proc     rw" in result.out
