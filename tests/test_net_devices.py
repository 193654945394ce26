"""config.json linux.netDevices: devices are in the container as they were on the host; or there, if it fails.

"The host" is a network namespace of the test's own, from which minirunc is called.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.config_json import loaded, namespaces, refusal
from tests.ground import hands
from tests.ground.bundle import Bundle
from tests.ground.network import Network, network
from tests.ground.runtime import Result, Runtime, wait_until
from tests.test_namespaces import mapped

SHOW = "ip address show dev {0} && cat /sys/class/net/{0}/ifalias"


@pytest.fixture
def host(minirunc: Runtime, tmp_path: Path) -> Iterator[Network]:
    """Where the devices are, with a veth pair v0 and v0p, up; minirunc is called there."""
    with network(tmp_path / "host-net") as made:
        minirunc.prefix = made.enter
        made.veth("v0")
        yield made
        minirunc.prefix = []


@pytest.fixture
def pod(minirunc: Runtime, tmp_path: Path) -> Iterator[Network]:
    """A network namespace to be joined."""
    with network(tmp_path / "pod-net") as made:
        yield made


def moving(made: Bundle, **devices: str) -> Bundle:
    """Have it be given these devices, under these names, "" for their own."""
    made.linux["netDevices"] = {name: {"name": new} if new else {} for name, new in devices.items()}
    return made


def joining(made: Bundle, pod: Network) -> Bundle:
    """Have it join that network namespace."""
    made.namespace("network", path=str(pod.file))
    return made


def failed(result: Result) -> str:
    """It did not come to life: the one line it said."""
    assert (result.status, result.out) == (1, ""), result
    assert result.err.count("\n") == 1, result.err
    return result.err.replace('\\"', '"')


class TestMoved:
    """What the container sees."""

    @pytest.mark.observes("linux.netDevices[].name")
    def test_device_is_there_under_its_new_name(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network
    ) -> None:
        """netDevices[].name: the name inside; the device MUST be up; its own name where none is given."""
        host.veth("v1")
        script = "ls /sys/class/net; cat /sys/class/net/ctr0/operstate /sys/class/net/v1/operstate"
        result = minirunc.run(moving(bundle(script), v0="ctr0", v1=""))
        assert (result.status, result.err) == (0, "")
        assert {"ctr0", "v1"} <= set(result.out.split()[:-2])
        assert "v0" not in result.out
        assert result.out.split()[-2:] == ["up", "up"]

    def test_attributes_and_global_addresses_are_kept(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network
    ) -> None:
        """The runtime MUST preserve attributes, and all permanent addresses of global scope of any family."""
        host.ip("link", "set", "v0", "down")
        host.ip("link", "set", "v0", "address", "02:11:22:33:44:55", "mtu", "1789", "alias", "the first")
        host.ip("link", "set", "v0", "up")
        host.ip("address", "add", "192.0.2.7/24", "broadcast", "192.0.2.255", "dev", "v0", "label", "v0:one")
        host.ip("address", "add", "192.0.2.8/24", "dev", "v0", "noprefixroute")
        host.ip("address", "add", "198.51.100.1", "peer", "198.51.100.2/32", "dev", "v0")
        host.ip("address", "add", "2001:db8::7/64", "dev", "v0", "nodad")
        host.ip("address", "add", "2001:db8::8/128", "dev", "v0", "preferred_lft", "0")
        host.ip("address", "add", "203.0.113.1/24", "dev", "v0", "valid_lft", "1000", "preferred_lft", "1000")
        host.ip("address", "add", "2001:db8::9/64", "dev", "v0", "valid_lft", "1000", "preferred_lft", "1000")
        host.ip("address", "add", "127.0.0.33/32", "dev", "v0", "scope", "host")
        before = host.device("v0")
        made = moving(bundle("exec sleep 1000"), v0="ctr0")
        id = minirunc.start(made)
        inside = Network(Path(f"/proc/{minirunc.pid(id)}/ns/net"))
        after = inside.device("ctr0")
        labels = [
            {address.pop("label") for address in seen["addresses"] if "label" in address} for seen in (before, after)
        ]
        assert labels == [{"v0", "v0:one"}, {"ctr0", "ctr0:one"}]
        lost = {"203.0.113.1", "2001:db8::9", "127.0.0.33"}
        assert lost <= {address["local"] for address in before["addresses"]}
        before["addresses"] = [address for address in before["addresses"] if address["local"] not in lost]
        assert len(before["addresses"]) == 5
        assert after == before | {"ifname": "ctr0", "ifindex": after["ifindex"]}
        assert "UP" in after["flags"]
        shown = minirunc.ok("exec", id, "sh", "-c", SHOW.format("ctr0"))
        for text in ("mtu 1789", "02:11:22:33:44:55", "192.0.2.7/24", "2001:db8::7/64", "the first"):
            assert text in shown

    def test_an_exec_sees_it(self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network) -> None:
        """It belongs to the namespace that `exec` enters."""
        id = minirunc.start(moving(bundle("exec sleep 1000"), v0="ctr0"))
        assert "ctr0" in minirunc.ok("exec", id, "ls", "/sys/class/net").split()
        assert host.names() == {"v0p"}

    def test_a_template_is_numbered_by_the_kernel(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network
    ) -> None:
        """A name with %d MUST be allowed; it takes no number that another device's name has."""
        for name in ("v1", "v2"):
            host.veth(name)
        result = minirunc.run(moving(bundle("ls /sys/class/net"), v0="eth%d", v1="eth%d", v2="eth0"))
        assert {"eth0", "eth1", "eth2"} <= set(result.out.split()), result

    def test_names_may_be_exchanged(self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network) -> None:
        """Each device is moved and renamed by one request."""
        host.veth("v1")
        host.ip("link", "set", "v0", "mtu", "1444")
        result = minirunc.run(moving(bundle("cat /sys/class/net/v0/mtu /sys/class/net/v1/mtu"), v0="v1", v1="v0"))
        assert result.out == "1500\n1444\n"

    def test_an_index_that_is_taken_is_no_obstacle(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, pod: Network
    ) -> None:
        """Indexes are the namespace's own: 7001 and 7002 are others' there."""
        host.veth("v1", "index", "7001")
        host.ip("address", "add", "192.0.2.7/24", "dev", "v1")
        pod.veth("other", "index", "7001")
        pod.veth("more", "index", "7002")
        result = minirunc.run(joining(moving(bundle("ip address show dev v1"), v1=""), pod))
        assert "192.0.2.7/24" in result.out, result
        assert pod.device("v1")["ifindex"] == 7003
        assert pod.device("other")["addresses"] == []

    def test_user_namespace_gets_its_device(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network
    ) -> None:
        """Its network namespace belongs to the container's root; the device is moved by root of the host."""
        host.ip("address", "add", "192.0.2.7/24", "dev", "v0")
        result = minirunc.run(moving(mapped(bundle("ip address show dev ctr0")), v0="ctr0"))
        assert "192.0.2.7/24" in result.out, result

    def test_joined_namespace_keeps_it(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, pod: Network
    ) -> None:
        """The runtime MUST NOT move it out again: its lifecycle is that of the namespace."""
        host.ip("address", "add", "192.0.2.7/24", "dev", "v0")
        id = minirunc.start(joining(moving(bundle("exec sleep 1000"), v0="ctr0"), pod))
        minirunc.ok("delete", "--force", id)
        assert pod.names() == {"ctr0"}
        assert pod.device("ctr0")["addresses"][0]["local"] == "192.0.2.7"
        assert host.names() == {"v0p"}

    def test_hooks_find_it_in_the_container(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, pod: Network
    ) -> None:
        """It is moved before prestart and createRuntime, which may give it routes."""
        made = joining(moving(bundle("ip route"), v0="ctr0"), pod)
        script = f"{' '.join(pod.enter)} ip route add 198.51.100.0/24 dev ctr0"
        made.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        assert "198.51.100.0/24 dev ctr0" in minirunc.run(made).out


class TestReturned:
    """A birth that fails gives back what it took."""

    @pytest.fixture
    def before(self, host: Network) -> dict[str, Any]:
        """The device with addresses of all kinds, and how it looks."""
        host.ip("link", "set", "v0", "mtu", "1789")
        host.ip("address", "add", "192.0.2.7/24", "dev", "v0", "label", "v0:one")
        host.ip("address", "add", "2001:db8::7/64", "dev", "v0", "nodad")
        host.ip("address", "add", "203.0.113.1/24", "dev", "v0", "valid_lft", "5000", "preferred_lft", "5000")
        host.ip("address", "add", "127.0.0.33/32", "dev", "v0", "scope", "host")
        return host.device("v0") | {"addresses": _sorted(host)}

    @pytest.mark.parametrize("joined", [False, True])
    @pytest.mark.parametrize("owner", ["root", "container"])
    def test_when_the_program_is_not_found(
        self,
        minirunc: Runtime,
        bundle: Callable[..., Bundle],
        host: Network,
        pod: Network,
        before: dict[str, Any],
        joined: bool,
        owner: str,
    ) -> None:
        """Old name, index, MTU, state and addresses, those too that the container was not given."""
        made = moving(bundle(["missing"]), v0="ctr0")
        made = joining(made, pod) if joined else made
        made = mapped(made) if owner == "container" else made
        if joined and owner == "container":  # sysfs and procfs of a namespace that is not the user namespace's
            made.config["mounts"] = [mount for mount in made.config["mounts"] if mount["type"] != "sysfs"]
            made.config["mounts"] = [mount for mount in made.config["mounts"] if mount["type"] != "cgroup"]
        assert 'exec: "missing": executable file not found in $PATH' in failed(minirunc.run(made))
        assert host.device("v0") | {"addresses": _sorted(host)} == before
        assert pod.names() == set()

    def test_a_device_that_was_down_stays_down(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network
    ) -> None:
        """Up is what it is in the container."""
        host.ip("link", "set", "v0", "down")
        before = host.device("v0")
        failed(minirunc.run(moving(bundle(["missing"]), v0="ctr0")))
        assert host.device("v0") == before

    def test_when_another_one_cannot_be_moved(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, before: dict[str, Any]
    ) -> None:
        """lo belongs to its namespace; it is not touched."""
        lo = host.device("lo")
        error = failed(minirunc.run(moving(bundle(), v0="ctr0", lo="lo7")))
        assert 'unable to move network device: config.json: linux.netDevices["lo"]: RTM_NEWLINK' in error
        assert "invalid argument" in error
        assert host.device("v0") | {"addresses": _sorted(host)} == before
        assert host.device("lo") == lo

    def test_when_a_name_is_taken_on_the_way(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, before: dict[str, Any]
    ) -> None:
        """By v1, which brings it as its alternative name. The kernel says so when v0 is inside, under its old name."""
        host.veth("v1")
        host.ip("link", "property", "add", "dev", "v1", "altname", "late")
        other = host.device("v1")
        error = failed(minirunc.run(moving(bundle(), v1="ctr0", v0="late")))
        assert 'unable to move network device: config.json: linux.netDevices["v0"]: RTM_NEWLINK' in error
        assert "file exists" in error
        assert host.device("v0") | {"addresses": _sorted(host)} == before
        assert host.device("v1") == other

    def test_when_its_addresses_are_not_taken(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, pod: Network, before: dict[str, Any]
    ) -> None:
        """All permanent addresses MUST be preserved: not by the way."""
        subprocess.run([*pod.enter, "sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1"], check=True)
        error = failed(minirunc.run(joining(moving(bundle(), v0=""), pod)))
        assert re.search(r"RTM_NEWADDR\(\d+, 2001:db8::7/64\): permission denied", error)
        assert host.device("v0") | {"addresses": _sorted(host)} == before
        assert pod.names() == set()

    def test_when_a_hook_fails(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, before: dict[str, Any]
    ) -> None:
        """And it is back before poststop hooks run."""
        made = moving(bundle(), v0="ctr0")
        seen = made.path / "seen"
        made.config["hooks"] = {
            "createRuntime": [{"path": "/bin/false"}],
            "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"ls /sys/class/net; ip link show v0 >{seen}"]}],
        }
        assert "error running createRuntime hook #0" in failed(minirunc.run(made))
        assert host.device("v0") | {"addresses": _sorted(host)} == before
        assert "v0" in seen.read_text()

    def test_an_index_taken_meanwhile_is_no_obstacle(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, before: dict[str, Any]
    ) -> None:
        """Another device of the host has it now."""
        made = moving(bundle(["missing"]), v0="ctr0")
        script = f"ip link add late index {before['ifindex']} type veth peer name latep"
        made.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        failed(minirunc.run(made))
        after = host.device("v0") | {"addresses": _sorted(host)}
        assert after == before | {"ifindex": after["ifindex"]}
        assert after["ifindex"] != before["ifindex"]

    def test_library_in_an_event_loop(
        self, tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, before: dict[str, Any]
    ) -> None:
        """The core works in any process: no thread, signal handler, fd or namespace is another one after."""
        made = moving(bundle(["missing"]), v0="ctr0")
        made.write()
        script = """
import asyncio, os, signal, sys, threading
from minirunc.base.errors import Error
from minirunc.container.birth import Birth, Options
def look():
    fds = sorted(fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))
    handlers = [signal.getsignal(number) for number in range(1, 65) if number not in (32, 33)]
    return threading.active_count(), handlers, os.readlink("/proc/thread-self/ns/net"), os.getcwd(), fds
async def born():
    try:
        Birth(sys.argv[1], "library", Options(sys.argv[2], waits=False))
    except Error as error:
        print(error)
async def main():
    await born()
    before = look()
    await born()
    print(look() == before)
asyncio.run(main())
"""
        with hands.python(script, tmp_path / "state", made.path, prefix=tuple(host.enter)) as process:
            told = process.stdout.read()
        assert told.splitlines()[-1] == "True", told
        assert told.count("executable file not found") == 2
        assert host.device("v0") | {"addresses": _sorted(host)} == before


def _sorted(host: Network) -> list[Any]:
    """The addresses of v0: those that come back may do so in another order."""
    return sorted(host.device("v0")["addresses"], key=lambda address: str(address["local"]))


class TestKilled:
    """SIGKILL to the runtime when the device is inside."""

    def killed(self, minirunc: Runtime, made: Bundle) -> str:
        """The id of a container whose runtime was killed by a hook of its own."""
        made.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]}]}
        id = minirunc.id()
        assert minirunc.run(made, id=id).status == -9
        return id

    def test_new_namespace_ends_with_it(self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network) -> None:
        """Virtual devices are destroyed by the kernel (network_namespaces(7)), and `delete` has nothing to tell."""
        id = self.killed(minirunc, moving(bundle(), v0="ctr0"))
        assert minirunc("delete", "--force", id) == (0, "", "")
        wait_until(lambda: host.names() == set(), "the kernel has removed the namespace")

    def test_joined_namespace_has_it_and_delete_says_so(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, pod: Network
    ) -> None:
        """Where to look; what bears its name there is not believed to be it."""
        id = self.killed(minirunc, joining(moving(bundle(), v0="ctr0"), pod))
        result = minirunc("delete", "--force", id)
        assert (result.status, result.out) == (0, "")
        assert "level=warning" in result.err
        assert f'look for \\"v0\\" or \\"ctr0\\" in {pod.file}' in result.err
        assert pod.names() == {"ctr0"}

    def test_delete_is_silent_where_it_is_back(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, pod: Network
    ) -> None:
        """Somebody has brought it back."""
        id = self.killed(minirunc, joining(moving(bundle(), v0=""), pod))
        pod.give("v0", host)
        assert minirunc("delete", "--force", id) == (0, "", "")


class TestRefused:
    """Before anything is made."""

    def test_without_a_network_namespace(self) -> None:
        """linux.namespaces: there is nowhere to move it."""
        changes = {"linux.netDevices": {"eth0": {}}, "linux.namespaces": namespaces("mount", "pid")}
        assert refusal(changes) == (
            "config.json: linux.netDevices: unable to move network devices without a NET namespace;"
            " linux.namespaces has no network"
        )

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a" * 16, "é" * 8, "a%db", "%", "à"])
    def test_names_no_device_can_have(self, name: str) -> None:
        """A key names a device of the host: 1 to 15 bytes."""
        assert refusal({"linux.netDevices": {name: {}}}) == (
            f'config.json: linux.netDevices["{name}"]: invalid network device name "{name}":'
            ' 1 to 15 bytes, no "/", ":" or blank, not "." or ".."'
        )

    @pytest.mark.parametrize("name", [".", "..", "a/b", "a:b", "a b", "a" * 16, "%s", "%d%d", "a%", "%d%", "a\xa0"])
    def test_names_no_device_can_get(self, name: str) -> None:
        """netDevices[].name: %d at most once, and no other %."""
        assert refusal({"linux.netDevices": {"eth0": {"name": name}}}) == (
            f'config.json: linux.netDevices["eth0"].name: invalid network device name "{name}":'
            ' 1 to 15 bytes, no "/", ":" or blank, not "." or "..", %d once for a number of the kernel\'s choice'
        )

    @pytest.mark.parametrize("name", ["a" * 15, "%d", "eth%d", "wg-0.1", "a%db", "ü"])
    def test_good_names(self, name: str) -> None:
        """What the kernel takes."""
        assert loaded({"linux.netDevices": {"eth0": {"name": name}}}).linux.net_devices["eth0"].name == name

    def test_null_is_a_device_under_its_own_name(self) -> None:
        """It is not passed over."""
        assert loaded({"linux.netDevices": {"eth0": None}}).linux.net_devices["eth0"].name == ""

    def test_a_nul_byte(self) -> None:
        """In the key and in the name."""
        assert "NUL" in refusal({"linux.netDevices": {"a\0": {}}})
        assert "NUL" in refusal({"linux.netDevices": {"eth0": {"name": "a\0"}}})

    @pytest.mark.parametrize(
        "devices", [{"eth0": {"name": "c0"}, "eth1": {"name": "c0"}}, {"c0": {}, "e": {"name": "c0"}}]
    )
    def test_one_name_for_two(self, devices: dict[str, Any]) -> None:
        """Both fields are named."""
        first, second = devices
        assert refusal({"linux.netDevices": devices}) == (
            f'config.json: linux.netDevices["{second}"].name: "c0" is the name of linux.netDevices["{first}"]'
            " in the container already"
        )

    def test_a_device_that_is_not_there(self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network) -> None:
        """No other device is touched: one look at all of them comes first."""
        before = host.device("v0")
        error = failed(minirunc.run(moving(bundle(), v0="c0", eth9="")))
        assert 'config.json: linux.netDevices["eth9"]: link not found' in error
        assert host.device("v0") == before

    @pytest.mark.parametrize("name", ["taken", "alternative", ""])
    def test_a_name_that_is_taken_inside(
        self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network, pod: Network, name: str
    ) -> None:
        """If the name exists in the container's namespace, the runtime MUST generate an error."""
        pod.veth("other" if name == "alternative" else name or "v0")
        if name == "alternative":
            pod.ip("link", "property", "add", "dev", "other", "altname", name)
        before = host.device("v0")
        error = failed(minirunc.run(joining(moving(bundle(), v0=name), pod)))
        assert f'linux.netDevices["v0"]{".name" if name else ""}: "{name or "v0"}": file exists' in error
        assert host.device("v0") == before

    def test_the_namespace_they_are_in(self, minirunc: Runtime, bundle: Callable[..., Bundle], host: Network) -> None:
        """A path that leads to the runtime's own: the device would be renamed on the host."""
        before = host.device("v0")
        error = failed(minirunc.run(joining(moving(bundle(), v0="ctr0"), host)))
        assert "linux.netDevices: the container's network namespace is the one they are in" in error
        assert host.device("v0") == before
