"""Attacks on network devices that are moved: by who rules the network namespace that is joined, and by names."""

import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minirunc.base.errors import SecurityError
from minirunc.kernel import rtnetlink
from tests.attacks.attackers import refused, some
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.network import Network, network
from tests.ground.runtime import Runtime

# Puts a device of his own in the place of the one that came: its name, index and addresses.
SWAP = """
set -e
found=$(ip -o link show ctr0)
ip link del ctr0
mac=${found#*link/ether }
ip link add ctr0 index ${found%%:*} address ${mac%% *} type veth peer name evil
ip address add 192.0.2.7/24 dev ctr0
ip link set ctr0 up
ip link set evil up
"""


@contextmanager
def attackers() -> Iterator[tuple[Network, list[str]]]:
    """A network namespace that belongs to somebody's user namespace, and how to be root of both."""
    command = ["unshare", "--user", "--map-root-user", "--net", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as there:
        assert there.stdin
        assert there.stdout
        there.stdin.write(b"\n")
        there.stdin.flush()
        there.stdout.read(1)  # it is in both
        yield Network(Path(f"/proc/{there.pid}/ns/net")), ["nsenter", f"--target={there.pid}", "--user", "--net"]
        there.kill()


@contextmanager
def host_of(minirunc: Runtime, directory: Path) -> Iterator[Network]:
    """What is the host's here: v0 with an address."""
    with network(directory / "host-net") as host:
        minirunc.prefix = host.enter
        host.veth("v0")
        host.ip("address", "add", "192.0.2.7/24", "dev", "v0")
        try:
            yield host
        finally:
            minirunc.prefix = []


def failing(made: Bundle, pod: Network, *before: str) -> Bundle:
    """A birth that gives v0 to the namespace, has somebody act there, and fails."""
    made.namespace("network", path=str(pod.file))
    made.linux["netDevices"] = {"v0": {"name": "ctr0"}}
    made.args(["missing"])
    if before:
        made.config["hooks"] = {"createRuntime": [{"path": "/usr/bin/env", "args": ["env", *before]}]}
        made.config["hooks"]["createRuntime"][0]["env"] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    return made


@attack("device exchanged before it is returned", "rights and ids", "one that was ever removed inside stays there")
def test_another_device_is_not_taken_for_the_hosts(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """With the host's name and address it would get the host's traffic."""
    with host_of(minirunc, tmp_path) as host, attackers() as (pod, enter):
        result = minirunc.run(failing(bundle(), pod, *enter, "sh", "-c", SWAP))
        assert result.status == 1
        assert "not returned to the host: it was removed in the container" in result.err
        assert pod.names() == {"ctr0", "evil"}  # the attacker was there
        assert host.names() == set()


@attack("owner of the namespace", "rights and ids", "the socket inside is made with the rights of the host's root")
def test_a_namespace_of_somebody_else_gives_the_device_back(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """He may do with it what he likes but keep it: renamed, and set down."""
    with host_of(minirunc, tmp_path) as host, attackers() as (pod, enter):
        before = host.device("v0")
        act = "ip link set ctr0 down && ip link set ctr0 name lo7 && ip address flush dev lo7"
        result = minirunc.run(failing(bundle(), pod, *enter, "sh", "-c", act))
        assert (result.status, "not returned" in result.err) == (1, False), result
        assert host.device("v0") == before
        assert pod.names() == set()


@attack("a name given by the owner", "rights and ids", "what does not come under its old name is sent back")
def test_no_device_comes_under_a_name_of_somebody_else(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """Its old name is an alternative one by now: the kernel moves it, and then cannot rename it."""
    with host_of(minirunc, tmp_path) as host, attackers() as (pod, enter):
        act = "ip link set ctr0 down && ip link set ctr0 name evil && ip link property add dev evil altname v0"
        result = minirunc.run(failing(bundle(), pod, *enter, "sh", "-c", act))
        assert "not returned to the host: RTM_NEWLINK" in result.err
        assert host.names() == {"v0p"}
        assert len(pod.names()) == 1


@attack("forged netlink messages", "hostile input", "what the kernel did not send is not read (nl_pid 0)")
def test_messages_of_others_are_no_answers(tmp_path: Path, minirunc: Runtime) -> None:
    """Who has CAP_NET_ADMIN in the namespace may send to any netlink socket there."""
    with network(tmp_path / "pod-net") as pod, pod.file.open() as namespace:
        inside, watch = rtnetlink.Socket.within(namespace.fileno())
        forger, other = rtnetlink.Socket.within(namespace.fileno())
        try:
            assert inside.has("lo")
            body = struct.pack("<BBHiII", 0, 0, 1, 7, 1, 0)  # struct ifinfomsg: index 7
            sent = 0
            for sequence in range(1, 20):
                for kind, data in ((16, body), (17, body), (2, bytes(20)), (3, bytes(4))):
                    message = struct.pack("<IHHII", 16 + len(data), kind, 0, sequence, 0) + data
                    for target in (inside, watch):
                        port = target._socket.getsockname()
                        sent += forger._socket.sendto(message, (port[0], 0)) > 0
            assert sent == 2 * 4 * 19
            assert watch.removals(7) == 0
            link = inside.link("lo")
            assert link
            assert (link.index, link.name) == (1, "lo")
            assert not inside.has("nobody")
        finally:
            for open_one in (inside, watch, forger, other):
                open_one.close()


@attack("more events than a socket holds", "hostile input", "what may have been missed is not guessed")
def test_a_flood_of_events_is_no_cover(tmp_path: Path, minirunc: Runtime) -> None:
    """An exchange hidden among thousands of other changes: nothing is known then, and nothing returned."""
    with network(tmp_path / "pod-net") as pod, pod.file.open() as namespace:
        inside, watch = rtnetlink.Socket.within(namespace.fileno())
        try:
            assert watch.removals(1) == 0
            pod.ip("link", "add", "va", "type", "veth", "peer", "name", "vb")
            change = "echo link set $v mtu $((1000 + i))"
            turns = f"for i in $(seq 400); do for v in va vb; do {change}; done; done | ip -batch -"
            subprocess.run([*pod.enter, "sh", "-c", turns], check=True)
            for _ in range(2):
                with pytest.raises(SecurityError, match="too much happened"):
                    watch.removals(1)
        finally:
            inside.close()
            watch.close()


@attack("names of devices", "names and paths", "checked as the kernel does, templates have one %d")
def test_names_are_no_formats_and_no_paths(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Refused before anything is made."""
    with host_of(minirunc, tmp_path) as host:
        before = host.device("v0")
        bad: list[dict[str, Any]] = [{"v0": {"name": name}} for name in ("%n%n%n%n", "%d%d", "a\0b", "a" * 16, "../x")]
        bad += [{name: {}} for name in ("v0\0", "%s", "v0/../lo", "v" * 16, "v0\n")]
        for devices in some(bad, 4):
            made = bundle()
            made.linux["netDevices"] = devices
            refused(minirunc.run(made), "invalid network device name", "NUL byte")
        assert host.device("v0") == before
