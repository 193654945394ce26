"""CNI plugins, called as engines call them: JSON on stdin, the rest in the environment (CNI specification 1.0)."""

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.ground.network import Network

PLUGINS = "/usr/lib/cni"
INTERFACE = "eth0"


class Chain:
    """A network: its plugins in order, each given what the one before it made, all called on one node."""

    def __init__(self, node: Network, name: str, plugins: Sequence[dict[str, Any]], version: str = "1.0.0") -> None:
        self.node = node
        self.name = name
        self.plugins = plugins
        self.version = version

    def add(self, pod: Network, id: str, **arguments: Any) -> str:
        """Connect a namespace: its address. `arguments` go to the plugins that have a capability of this name."""
        result = None
        for plugin in self.plugins:
            result = self._call("ADD", plugin, pod, id, result, arguments)
        assert result
        return str(result["ips"][0]["address"].partition("/")[0])

    def delete(self, pod: Network | None, id: str, **arguments: Any) -> None:
        """Undo it, in reverse; what the plugins need they have kept, and the namespace may be gone."""
        for plugin in reversed(self.plugins):
            self._call("DEL", plugin, pod, id, None, arguments)

    def _call(
        self, command: str, plugin: dict[str, Any], pod: Network | None, id: str, result: Any, arguments: dict[str, Any]
    ) -> Any:
        config = {"cniVersion": self.version, "name": self.name, **plugin}
        if wanted := {name: arguments[name] for name in plugin.get("capabilities", ()) if name in arguments}:
            config["runtimeConfig"] = wanted
        if result:
            config["prevResult"] = result
        environment = os.environ | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": id,
            "CNI_NETNS": str(pod.file) if pod else "",
            "CNI_IFNAME": INTERFACE,
            "CNI_PATH": PLUGINS,
        }
        program = [*self.node.enter, f"{PLUGINS}/{plugin['type']}"]
        done = subprocess.run(
            program, input=json.dumps(config), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command} {plugin['type']}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout or "null")
