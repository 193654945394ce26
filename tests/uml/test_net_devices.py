"""linux.netDevices in this kernel, and with dummy devices."""

from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.network import Network
from tests.ground.runtime import Runtime
from tests.test_net_devices import TestKilled, failed, host, joining, moving, pod

__all__ = ["TestKilled", "host", "pod"]


@pytest.fixture
def dummy(host: Network) -> Network:
    """The host with a dummy0, up. This kernel has no IPv6."""
    host.ip("link", "add", "dummy0", "type", "dummy")
    host.ip("link", "set", "dummy0", "address", "00:11:22:33:44:55", "mtu", "1789")
    host.ip("address", "add", "169.254.169.77/32", "dev", "dummy0")
    host.ip("link", "set", "dummy0", "up")
    host.ip("address", "add", "127.0.0.33/32", "dev", "dummy0", "scope", "host")
    return host


@pytest.mark.observes("linux.netDevices[].name")
@pytest.mark.parametrize("joined", [False, True])
def test_dummy_is_moved_as_it_is(
    minirunc: Runtime, bundle: Callable[..., Bundle], dummy: Network, pod: Network, joined: bool
) -> None:
    """Name, MAC address, MTU, global addresses, up: from inside."""
    made = moving(bundle("ip address show dev ctr_dummy0"), dummy0="ctr_dummy0")
    result = minirunc.run(joining(made, pod) if joined else made)
    assert (result.status, result.err) == (0, "")
    for text in (",UP", "mtu 1789 ", "ether 00:11:22:33:44:55 ", "169.254.169.77/32 "):
        assert text in result.out
    assert "127.0.0.33" not in result.out
    assert pod.names() == ({"ctr_dummy0"} if joined else set())
    assert "dummy0" not in dummy.names()


def test_dummy_comes_back(minirunc: Runtime, bundle: Callable[..., Bundle], dummy: Network) -> None:
    """A birth that fails: with all it had."""
    before = dummy.device("dummy0")
    failed(minirunc.run(moving(bundle(["missing"]), dummy0="ctr0")))
    assert dummy.device("dummy0") == before


def test_a_name_that_is_taken_on_the_way(minirunc: Runtime, bundle: Callable[..., Bundle], dummy: Network) -> None:
    """v0 brings it as its alternative name; the other one is inside when the kernel says so."""
    dummy.ip("link", "property", "add", "dev", "v0", "altname", "late")
    before = dummy.device("dummy0")
    assert "file exists" in failed(minirunc.run(moving(bundle(), v0="ctr0", dummy0="late")))
    assert dummy.device("dummy0") == before
    assert {"v0", "v0p"} < dummy.names()
