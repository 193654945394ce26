"""Networks that others make: a container joins a namespace that CNI plugins have prepared, and is reached there.

    outside, 192.0.2.2 ---- up0, 192.0.2.1   the node, a namespace of the test's own   cni0 ---- eth0 of each pod

The plugins are Debian's, chained as the CNI specification has it; a pod is a namespace that is bound to a file.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.cni import PLUGINS, Chain
from tests.ground.network import Network, network
from tests.ground.runtime import IN_UML, Result, Runtime, wait_until

OUTSIDE, NODE, GATEWAY = "192.0.2.2", "192.0.2.1", "10.244.0.1"
PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
WHO = "#!/bin/sh\necho\necho $(hostname) for $REMOTE_ADDR\n"
SERVER = ["httpd", "-f", "-p", "0.0.0.0:80", "-h", "/www"]
SERVICE = "10.96.0.10"
NODE_PORT = 30080

# As kube-proxy writes them for a service with two endpoints, each rule's comment left out.
KUBE_PROXY = f"""*nat
:KUBE-SERVICES -
:KUBE-NODEPORTS -
:KUBE-POSTROUTING -
:KUBE-MARK-MASQ -
:KUBE-EXT-WEB -
:KUBE-SVC-WEB -
:KUBE-SEP-ONE -
:KUBE-SEP-TWO -
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d {SERVICE}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -p tcp -m tcp --dport {NODE_PORT} -j KUBE-EXT-WEB
-A KUBE-EXT-WEB -j KUBE-MARK-MASQ
-A KUBE-EXT-WEB -j KUBE-SVC-WEB
-A KUBE-SVC-WEB ! -s 10.244.0.0/16 -d {SERVICE}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -m statistic --mode random --probability 0.5 -j KUBE-SEP-ONE
-A KUBE-SVC-WEB -j KUBE-SEP-TWO
-A KUBE-SEP-ONE -s {{one}}/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-ONE -p tcp -m tcp -j DNAT --to-destination {{one}}:80
-A KUBE-SEP-TWO -s {{two}}/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-TWO -p tcp -m tcp -j DNAT --to-destination {{two}}:80
COMMIT
"""


class Node:
    """The node's namespace, the network on it, and the pods that are connected."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.host = stack.enter_context(network(directory / "node"))
        self.outside = stack.enter_context(network(directory / "outside"))
        self.leases = directory / "leases"
        self.pods: dict[str, Network] = {}
        self._directory = directory
        self._stack = stack
        # What flannel hands on to the plugin bridge, and the plugin portmap after it as its manifest has it.
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "hairpinMode": True,
            "ipMasq": False,
            "isDefaultGateway": True,
            "isGateway": True,
            "mtu": 1450,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.244.0.0/24"}]],
                "routes": [{"dst": "10.244.0.0/16"}],
                "dataDir": str(self.leases),
            },
        }
        self.chain = Chain(
            self.host, "cbr0", [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}], "0.3.1"
        )

    def uplink(self) -> None:
        """To the world outside, by which the node has its default route."""
        self.host.veth("up0")
        self.host.give("up0p", self.outside)
        for there, name, address in ((self.host, "up0", NODE), (self.outside, "up0p", OUTSIDE)):
            there.ip("address", "add", f"{address}/24", "dev", name)
            there.ip("link", "set", name, "up")
        self.host.ip("route", "add", "default", "via", OUTSIDE)
        self.outside.ip("route", "add", "default", "via", NODE)

    def pod(self, name: str, **arguments: Any) -> str:
        """A namespace for a pod, connected: its address."""
        pod = self.pods[name] = self._stack.enter_context(network(self._directory / name))
        self._stack.callback(self.chain.delete, pod, name, **arguments)
        return self.chain.add(pod, name, **arguments)

    def close(self) -> None:
        """Disconnect all pods, and have no namespace any more."""
        self._stack.close()

    def leased(self) -> list[str]:
        """The addresses that are taken."""
        return sorted(file.name for file in self.leases.rglob("10.*"))

    def rules(self) -> str:
        """All that is in the table nat."""
        return self.command("iptables", "-t", "nat", "-S")

    def command(self, *words: str, input: str = "", where: Network | None = None) -> str:
        """What a command prints, on the node or elsewhere."""
        argv = [*(where or self.host).enter, *words]
        done = subprocess.run(argv, input=input, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def ask(self, address: str, where: Network | None = None) -> str:
        """What the server there says, asked from the node or elsewhere."""
        return self.command("busybox", *asking(address), where=where).strip()


def asking(address: str) -> list[str]:
    """The words of who asks a server, for the container's program: who answers, and whom he takes us for."""
    name, _, port = address.partition(":")
    script = "printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 20 $0 $1 | tail -n 1"
    return ["sh", "-c", script, name, port or "80"]


@pytest.fixture
def node(minirunc: Runtime, tmp_path: Path) -> Iterator[Node]:
    """A node with an uplink; minirunc is called on it."""
    with ExitStack() as stack:
        made = Node(tmp_path, stack)
        if lacks := lacking(made):
            if IN_UML:
                pytest.fail(lacks)
            pytest.skip(lacks)
        made.uplink()
        minirunc.prefix = made.host.enter
        yield made
        minirunc.prefix = []


def lacking(node: Node) -> str:
    """What this kernel has not."""
    if not Path(PLUGINS, "bridge").exists():
        return "the CNI plugins are not installed (Debian package containernetworking-plugins)"
    tries = (
        "ip link add name try0 type bridge && ip link delete try0",
        "iptables -t nat -N TRY && iptables -t nat -X TRY",
        "test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
    )
    for script in tries:
        done = subprocess.run([*node.host.enter, "sh", "-c", script], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"no networks of containers in this kernel: {script}: {done.stderr.strip()}"
    return ""


@pytest.fixture
def joined(node: Node, bundle: Callable[..., Bundle]) -> Callable[..., Bundle]:
    """Make a bundle whose container joins a pod's namespace: `joined("one", ["ip", "route"])`."""

    def make(pod: str, args: Any) -> Bundle:
        made = bundle(args)
        made.config["hostname"] = pod
        made.namespace("network", path=str(node.pods[pod].file))
        return made

    return make


@pytest.fixture
def serve(minirunc: Runtime, joined: Callable[..., Bundle]) -> Callable[[str], str]:
    """Start a container in a pod that says who it is and who asks: its id, when it listens."""

    def start(pod: str) -> str:
        made = joined(pod, SERVER)
        serving(made.rootfs)
        id = minirunc.start(made)
        wait_until(lambda: listens(minirunc.pid(id)), f"the server in {pod} listens")
        return id

    return start


def serving(rootfs: Path) -> None:
    """Put there what the server serves."""
    script = rootfs / "www/cgi-bin/who"
    script.parent.mkdir(parents=True)
    script.write_text(WHO)
    script.chmod(0o755)


def listens(pid: int) -> bool:
    """Whether somebody listens at port 80 in the process's network (proc_pid_net(5): state 0A)."""
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()]
    return any(words[1].endswith(":0050") and words[3] == "0A" for words in lines)


def test_pod_is_reached_by_its_address(
    minirunc: Runtime, node: Node, joined: Callable[..., Bundle], serve: Callable[[str], str]
) -> None:
    """From another pod, the node and outside, each seen as what it is; afterwards nothing is left on the node."""
    before = node.rules()
    one, two = node.pod("one"), node.pod("two")
    id = serve("one")
    assert minirunc.run(joined("two", asking(one))) == Result(0, f"one for {two}\n", "")
    assert node.ask(one) == f"one for {GATEWAY}"
    assert node.ask(one, node.outside) == f"one for {OUTSIDE}"
    minirunc.ok("delete", "--force", id)
    for name in ("one", "two"):
        node.chain.delete(node.pods[name], name)
        assert node.pods[name].names() == set()
    assert node.host.names() == {"cni0", "up0"}
    assert node.leased() == []
    assert node.rules() == before


def test_container_and_exec_see_what_the_plugins_made(
    minirunc: Runtime, node: Node, joined: Callable[..., Bundle]
) -> None:
    """The interface with its MTU, the address, the routes; the same in each."""
    address = node.pod("one")
    script = "cat /sys/class/net/eth0/mtu; ip -4 -o address show dev eth0; ip route; readlink /proc/self/ns/net"
    result = minirunc.run(joined("one", script))
    assert (result.status, result.err) == (0, "")
    for text in ("1450\n", f"inet {address}/24 ", f"default via {GATEWAY} dev eth0", "10.244.0.0/16 via"):
        assert text in result.out
    id = minirunc.start(joined("one", ["sleep", "1000"]))
    assert minirunc.ok("exec", id, "sh", "-c", script) == result.out
    assert result.out.splitlines()[-1] == node.command("readlink", "/proc/self/ns/net", where=node.pods["one"]).strip()


def test_pod_is_reached_by_a_port_of_its_node(
    minirunc: Runtime, node: Node, joined: Callable[..., Bundle], serve: Callable[[str], str]
) -> None:
    """portmap: from outside, from the node by its loopback address, from another pod, from itself."""
    one, two = node.pod("one", portMappings=PORTS), node.pod("two")
    id = serve("one")
    assert node.ask(f"{NODE}:8080", node.outside) == f"one for {OUTSIDE}"
    assert node.ask("127.0.0.1:8080") == f"one for {GATEWAY}"
    assert minirunc.run(joined("two", asking(f"{NODE}:8080"))).out.startswith("one for ")
    assert minirunc.ok("exec", id, *asking(f"{NODE}:8080")).startswith("one for ")
    assert "8080" in node.rules()
    node.chain.delete(node.pods["one"], "one", portMappings=PORTS)
    assert "8080" not in node.rules()
    assert (one, two) == ("10.244.0.2", "10.244.0.3")


def test_service_is_reached_by_its_address(
    minirunc: Runtime, node: Node, joined: Callable[..., Bundle], serve: Callable[[str], str]
) -> None:
    """As kube-proxy has it: an address that nobody has, by which one of two pods answers; and a port of the node."""
    one, two, three = (node.pod(name) for name in ("one", "two", "three"))
    node.command("iptables-restore", "--noflush", input=KUBE_PROXY.format(one=one, two=two))
    servers = [serve(name) for name in ("one", "two")]
    both = f"for n in $(seq 100); do {shlex.join(asking(SERVICE))} >>/answers; sort -u /answers >/all; "
    both += "test $(wc -l </all) = 2 && exec cat /all; done; cat /all; exit 1"
    client = joined("three", both)
    client.config["root"]["readonly"] = False
    assert minirunc.run(client) == Result(0, f"one for {three}\ntwo for {three}\n", "")
    assert node.ask(SERVICE) in (f"one for {GATEWAY}", f"two for {GATEWAY}")
    assert node.ask(f"{NODE}:{NODE_PORT}", node.outside) in (f"one for {GATEWAY}", f"two for {GATEWAY}")
    # A pod that comes to itself must not see itself as the one who asks: hairpin, and masqueraded.
    for id, own, other in zip(servers, (one, two), ("two", "one"), strict=True):
        name = {"one": "two", "two": "one"}[other]
        answers = {minirunc.ok("exec", id, *asking(SERVICE)).strip() for _ in range(4)}
        assert answers <= {f"{name} for {GATEWAY}", f"{other} for {own}"}


def test_container_outlives_the_file_of_its_namespace(
    minirunc: Runtime, node: Node, joined: Callable[..., Bundle], serve: Callable[[str], str]
) -> None:
    """Unmounted and removed, as some engines do first: all commands go on, and a new container is refused clearly."""
    address = node.pod("one")
    id = serve("one")
    made = joined("one", ["true"])
    file = node.pods["one"].file
    entry = made.linux["namespaces"].index(made.namespace("network"))
    where = f"linux.namespaces[{entry}].path"
    subprocess.run(["umount", file], check=True)
    try:
        result = minirunc.run(made)
        assert (result.status, f"{where}: {file} is not a network namespace" in result.err) == (1, True), result
        file.unlink()
        result = minirunc.run(made)
        assert (result.status, f"{where}: {file}: no such file or directory" in result.err) == (1, True), result
        assert minirunc.status(id) == "running"
        assert node.ask(address) == f"one for {GATEWAY}"
        assert f"inet {address}/24" in minirunc.ok("exec", id, "ip", "address", "show", "dev", "eth0")
    finally:  # who made it wants to remove it
        file.touch()
        subprocess.run(["mount", "--bind", f"/proc/{minirunc.pid(id)}/ns/net", file], check=True)
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)


# The state is on stdin; when it is stopped it has no pid, and the namespace is gone.
HOOK = """
import json, sys
from tests.ground.cni import Chain
from tests.ground.network import Network
command, node, arguments = sys.argv[1:]
state = json.load(sys.stdin)
pod = Network(f"/proc/{state['pid']}/ns/net") if "pid" in state else None
getattr(Chain(Network(node), *json.loads(arguments)), command)(pod, state["id"])
"""


def test_hooks_connect_a_namespace_of_the_containers_own(
    minirunc: Runtime, node: Node, bundle: Callable[..., Bundle]
) -> None:
    """Without a file: createRuntime has the plugins connect the new namespace, by the state's pid."""
    arguments = json.dumps([node.chain.name, node.chain.plugins, node.chain.version])
    environment = [f"PATH={os.environ['PATH']}", f"PYTHONPATH={CHECKOUT}"]

    def hook(command: str) -> dict[str, Any]:
        args = ["python", "-c", HOOK, command, str(node.host.file), arguments]
        return {"path": sys.executable, "args": args, "env": environment}

    made = bundle("ip -4 -o address show dev eth0; ip route")
    made.config["hooks"] = {"createRuntime": [hook("add")], "poststop": [hook("delete")]}
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert "inet 10.244.0.2/24" in result.out
    assert f"default via {GATEWAY} dev eth0" in result.out
    assert node.leased() == []
    wait_until(lambda: node.host.names() == {"cni0", "up0"}, "the kernel has removed the namespace")
