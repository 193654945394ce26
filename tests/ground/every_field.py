"""bundles/every_field for tests: what of it a ground can show, and a copy of the bundle that runs there.

No machine has all that the bundle asks for, so each ground takes out what it lacks. What is out in both is shown by
tests of its own, or nowhere here.
"""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.ground import leftovers
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import IN_UML

BUNDLE = CHECKOUT / "bundles/every_field"

# JSON path: why no kernel here can show it. [type] is the namespace of that type, [1] the second item.
NOT_SHOWN = {
    "linux.intelRdt": "no resctrl; on an emulated one: tests/test_intel_rdt.py",
    "linux.resources.rdma": "no RDMA controller and no device",
    "linux.resources.cpu.cpus": "no cpuset controller: the host's is cgroup v1's, User-Mode Linux has one CPU",
    "linux.resources.cpu.mems": "no cpuset controller: the host's is cgroup v1's, User-Mode Linux has one CPU",
    "linux.resources.blockIO.weight": "neither BFQ's groups nor io.cost; io.max is shown",
    "linux.resources.blockIO.weightDevice": "neither BFQ's groups nor io.cost; io.max is shown",
}
# What these two kernels lack, shown in a third one.
NOWHERE = NOT_SHOWN | {
    "process.apparmorProfile": "no AppArmor; tests/uml/apparmor",
    "process.selinuxLabel": "no SELinux; tests/uml/selinux",
    "linux.mountLabel": "no SELinux; tests/uml/selinux",
}
HOST_LACKS = NOWHERE | {
    "linux.resources.memory": "cgroup v1 has the controller",
    "linux.resources.cpu": "cgroup v1 has the controller",
    "linux.resources.pids": "cgroup v1 has the controller",
    "linux.resources.blockIO": "cgroup v1 has the controller",
    "linux.resources.unified": "memory.high is of a controller that cgroup v1 has",
}
CONTROLLERS = {
    "linux.resources.memory": "memory",
    "linux.resources.cpu": "cpu",
    "linux.resources.cpu.cpus": "cpuset",
    "linux.resources.cpu.mems": "cpuset",
    "linux.resources.pids": "pids",
    "linux.resources.blockIO": "io",
    "linux.resources.unified": "memory",
}
UML_LACKS = NOWHERE | {
    "linux.personality": "uname(2) has one machine only",
    "linux.memoryPolicy": "no NUMA",
    "linux.timeOffsets": "no time namespaces",
    "linux.namespaces[time]": "no time namespaces",
    "linux.resources.hugepageLimits": "no hugetlb controller",
    "mounts[7].uidMappings": "this kernel cannot map the ids of hostfs or a tmpfs",
    "mounts[7].gidMappings": "this kernel cannot map the ids of hostfs or a tmpfs",
}


def config() -> Any:
    """The bundle's config.json."""
    return json.loads((BUNDLE / "config.json").read_text())


def without(config: Any, paths: dict[str, str]) -> Any:
    """A copy of the config without these members; each must be there, unless one above it is out, too."""
    config = copy.deepcopy(config)
    for path in paths:
        *above, last = re.findall(r"[^.\[\]]+", path)
        place = config
        for name in above:
            place = place[_key(place, name)]
        del place[_key(place, last)]
    mapped = config["mounts"][-1]
    if "uidMappings" not in mapped:
        mapped["options"].remove("ridmap")
    return config


def _key(place: Any, name: str) -> Any:
    """The index or name of a member: [time] is the item of that type."""
    if not isinstance(place, list):
        return name
    if name.isdigit():
        return int(name)
    return next(index for index, item in enumerate(place) if item.get("type") == name)


def lacking() -> dict[str, str]:
    """What this ground cannot show, and why; another host may have more controllers in cgroup v2."""
    lacks = UML_LACKS if IN_UML else HOST_LACKS
    if not Path("/dev/fuse").exists():
        lacks = lacks | {"linux.devices[1]": "no FUSE"}
    there = (leftovers.cgroup2_mounts()[0] / "cgroup.controllers").read_text().split()
    return {path: why for path, why in lacks.items() if CONTROLLERS.get(path) not in there}


def make(directory: Path, busybox: Path, network: str, lacks: dict[str, str] | None = None) -> Bundle:
    """A copy of the bundle that runs on this ground: its cgroup is named as the directory, its network is that path.

    The device of linux.netDevices must be there, and an agent at linux.seccomp.listenerPath, which is in the directory.
    """
    directory.mkdir()
    shutil.copytree(BUNDLE / "program", directory / "program")
    shutil.copytree(busybox, directory / "rootfs", symlinks=True)
    bundle = Bundle(directory, directory / "rootfs", without(config(), lacking() if lacks is None else lacks))
    bundle.linux["cgroupsPath"] = f"/{directory.name}"
    bundle.linux["seccomp"]["listenerPath"] = str(directory / "agent.sock")
    bundle.namespace("network", path=network)
    if "blockIO" in bundle.linux["resources"]:
        for devices in bundle.linux["resources"]["blockIO"].values():
            if isinstance(devices, list):
                devices[0].update(major=7, minor=0)  # the first loop device, which need not be in use
    return bundle
