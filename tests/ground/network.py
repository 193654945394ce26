"""Network namespaces of the tests' own: the machine's devices and addresses are never touched."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Network:
    """A network namespace that is bound to a file, as `ip netns` and container managers do it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.enter = ["nsenter", f"--net={file}"]

    def ip(self, *words: str) -> str:
        """ip(8) in it."""
        done = subprocess.run([*self.enter, "ip", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
        return done.stdout

    def veth(self, name: str, *words: str, up: bool = True) -> None:
        """Make a pair NAME and NAMEp; with `up` both are up and have a carrier."""
        self.ip("link", "add", name, *words, "type", "veth", "peer", "name", f"{name}p")
        if up:
            self.ip("link", "set", f"{name}p", "up")
            self.ip("link", "set", name, "up")

    def give(self, name: str, other: "Network") -> None:
        """Move a device to another namespace."""
        with subprocess.Popen([*other.enter, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as there:
            assert there.stdin
            assert there.stdout
            there.stdin.write(b"\n")
            there.stdin.flush()
            there.stdout.read(1)  # nsenter(1) is done
            self.ip("link", "set", name, "netns", str(there.pid))

    def names(self) -> set[str]:
        """Of all devices but lo, and those that the kernel makes in each namespace."""
        made = {"lo", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0"}
        return {link["ifname"] for link in json.loads(self.ip("-j", "link"))} - made

    def device(self, name: str) -> dict[str, Any]:
        """What `ip address show` says of a device, without what changes by itself, and without link-local addresses."""
        (shown,) = json.loads(self.ip("-j", "-d", "address", "show", "dev", name))
        kept = ("ifindex", "ifname", "flags", "mtu", "address", "ifalias", "txqlen", "group")
        device = {key: shown[key] for key in kept if key in shown}
        device["flags"] = sorted(set(device["flags"]) & {"UP", "BROADCAST", "MULTICAST"})
        device["addresses"] = [
            {
                key: value
                for key, value in found.items()
                if key not in ("valid_life_time", "preferred_life_time", "tentative")
            }
            for found in shown["addr_info"]
            if found["scope"] != "link"
        ]
        return device


@contextmanager
def network(file: Path) -> Iterator[Network]:
    """A new one, at this file as long as the block lasts."""
    file.touch()
    subprocess.run(["unshare", f"--net={file}", "ip", "link", "set", "lo", "up"], check=True)
    try:
        yield Network(file)
    finally:
        subprocess.run(["umount", file], check=True)
        file.unlink()
