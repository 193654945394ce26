"""Containers in a container: minirunc runs minirunc, as root with all rights, and as root of a user namespace only."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirunc.config.process.capabilities import NAMES
from tests.attacks.attackers import give_python
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import Result, Runtime, wait_until

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
INNER_IDS = [{"containerID": 0, "hostID": 0, "size": 10}]


class Nest:
    """A container that runs, and a bundle in it, changed at will before it is run there by the minirunc inside."""

    def __init__(self, minirunc: Runtime, outer: Bundle, inner: Bundle) -> None:
        self.minirunc = minirunc
        self.outer = outer
        self.inner = inner
        self.id = ""

    def start(self) -> None:
        """Start the outer container."""
        self.id = self.minirunc.start(self.outer)

    def __call__(self, *args: object) -> Result:
        """Call the minirunc inside."""
        return self.minirunc("exec", self.id, self.minirunc.binary, "--root", "/run/inner", *args)

    def ok(self, *args: object) -> str:
        """Call it; it must succeed: its stdout."""
        result = self(*args)
        assert result.status == 0, f"{args[0]} ended with {result.status}: {result.err or result.out}"
        return result.out

    def run(self) -> Result:
        """Run the bundle inside."""
        self.inner.write()
        return self("run", "--bundle", "/inner", "in")

    def state(self) -> Any:
        """What `state` says of the inner container."""
        return json.loads(self.ok("state", "in"))


@pytest.fixture
def nest(minirunc: Runtime, bundle: Callable[..., Bundle]) -> Nest:
    """An outer container with all capabilities, no masks, a cgroup it may write, the checkout and Python read-only."""
    outer = bundle()
    inner_files = bundle()
    target = outer.rootfs / "inner"
    inner_files.path.rename(target)
    inner = Bundle(target, target / "rootfs", inner_files.config)
    give_python(outer, "")
    outer.args(["/usr/bin/sleep", "10000"])
    outer.mount(str(CHECKOUT), "bind", str(CHECKOUT), "bind", "ro", "nosuid", "nodev")
    outer.mount("/run", "tmpfs", "tmpfs")
    outer.process["capabilities"] = {set_: list(NAMES) for set_ in ("bounding", "effective", "permitted")}
    outer.process["noNewPrivileges"] = False
    outer.linux["maskedPaths"] = outer.linux["readonlyPaths"] = []
    outer.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    for mount in outer.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    return Nest(minirunc, outer, inner)


def in_a_user_namespace(nest: Nest, cgroup: str = "rw") -> None:
    """Have the outer container be root of a user namespace only, as one that an ordinary user started."""
    for mount in nest.outer.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].append(cgroup)
    nest.outer.namespace("user")
    nest.outer.linux["uidMappings"] = nest.outer.linux["gidMappings"] = IDS
    subprocess.run(["chown", "-hR", "100000:100000", nest.outer.rootfs], check=True)


def in_its_own_user_namespace(nest: Nest) -> None:
    """Have the inner container be in one below."""
    nest.inner.namespace("user")
    nest.inner.linux["uidMappings"] = nest.inner.linux["gidMappings"] = INNER_IDS


def live(nest: Nest) -> None:
    """All of a container's life, inside."""
    nest.inner.args("exec sleep 1000")
    nest.inner.write()
    nest.ok("create", "--bundle", "/inner", "in")
    assert nest.state()["status"] == "created"
    nest.ok("start", "in")
    assert nest.state()["status"] == "running"
    assert nest.ok("exec", "in", "cat", "/proc/1/comm") == "sleep\n"
    assert json.loads(nest.ok("ps", "--format", "json", "in")) == [nest.state()["pid"]]
    nest.ok("kill", "in", "KILL")
    wait_until(lambda: nest.state()["status"] == "stopped", "the inner container has stopped")
    nest.ok("delete", "in")
    inside = nest.minirunc.ok("exec", nest.id, "/busybox/ls", "/run/inner", "/sys/fs/cgroup")
    assert "in" not in inside.split()


def test_root_in_a_container_has_it_all(nest: Nest) -> None:
    """The outer container has all capabilities and may write its cgroup: the inner one has a cgroup of its own."""
    nest.start()
    nest.inner.args("cat /proc/self/uid_map; readlink /proc/self; cat /proc/1/comm; cat /proc/self/cgroup")
    result = nest.run()
    assert result.status == 0
    assert result.out.split()[:5] == ["0", "0", "4294967295", "3", "sh"]
    live(nest)
    nest.inner.args("exec sleep 1000")
    nest.inner.write()
    nest.ok("run", "--detach", "--bundle", "/inner", "in")
    assert "in" in nest.minirunc.ok("exec", nest.id, "/busybox/ls", "/sys/fs/cgroup").split()
    nest.ok("pause", "in")
    assert nest.state()["status"] == "paused"
    nest.ok("resume", "in")
    nest.ok("delete", "--force", "in")


@pytest.mark.parametrize("own", [False, True])
def test_delegated_cgroup_in_a_user_namespace_is_used(nest: Nest, own: bool) -> None:
    """The outer container may write its cgroup: the inner one has a cgroup of its own below, and can be paused."""
    in_a_user_namespace(nest)
    if own:
        in_its_own_user_namespace(nest)
    nest.start()
    live(nest)
    nest.ok("run", "--detach", "--bundle", "/inner", "in")
    assert "in" in nest.minirunc.ok("exec", nest.id, "/busybox/ls", "/sys/fs/cgroup").split()
    nest.ok("pause", "in")
    nest.ok("delete", "--force", "in")


@pytest.mark.parametrize("own", [False, True])
def test_root_of_a_user_namespace_has_no_cgroup(nest: Nest, own: bool) -> None:
    """--rootless auto: its cgroup is root's; the inner container has that user namespace, or its own below."""
    in_a_user_namespace(nest, cgroup="ro")
    if own:
        in_its_own_user_namespace(nest)
    nest.start()
    nest.inner.args("cat /proc/self/uid_map; ls /sys/class/net; touch /sys/fs/cgroup/x || echo read-only")
    result = nest.run()
    assert result.status == 0
    assert result.out.split() == [*("0 0 10" if own else "0 100000 65536").split(), "lo", "read-only"]
    assert "/sys/fs/cgroup/x: Read-only file system" in result.err
    live(nest)


def test_limit_in_a_user_namespace_is_refused(nest: Nest) -> None:
    """--rootless auto: where no cgroup can be made a limit is refused by name, with --rootless false all are."""
    in_a_user_namespace(nest, cgroup="ro")
    nest.start()
    nest.inner.linux["resources"]["pids"] = {"limit": 10}
    assert "config.json: linux.resources.pids: rootless needs no limits" in nest.run().err
    del nest.inner.linux["resources"]["pids"]
    nest.inner.write()
    result = nest("--rootless", "false", "run", "--bundle", "/inner", "in")
    assert result.status == 1
    assert "unable to apply cgroup configuration" in result.err


def test_ids_that_the_outer_one_does_not_have_are_named(nest: Nest) -> None:
    """linux.uidMappings inside: of the ids of the outer user namespace."""
    in_a_user_namespace(nest)
    in_its_own_user_namespace(nest)
    nest.inner.linux["uidMappings"] = IDS
    nest.start()
    result = nest.run()
    assert result.status == 1
    assert "the uids 100000 to 165535 are not all in this user namespace: it has 0 to 65535" in result.err


def test_masked_proc_is_an_error_that_says_what_to_do(nest: Nest) -> None:
    """What the outer container hides of /proc a new user namespace must not show again (mount_too_revealing)."""
    in_a_user_namespace(nest)
    in_its_own_user_namespace(nest)
    nest.outer.linux["maskedPaths"] = ["/proc/cpuinfo"]
    nest.start()
    result = nest.run()
    assert result.status == 1
    assert "operation not permitted" in result.err
    assert ": a user namespace gets a new procfs only with a pid namespace of its own" in result.err
    assert "made without linux.maskedPaths and linux.readonlyPaths in /proc" in result.err


def test_masked_sys_is_bound_read_only(nest: Nest) -> None:
    """The same of /sys: the outer one's is bound, read-only with all that is mounted there."""
    in_a_user_namespace(nest)
    in_its_own_user_namespace(nest)
    nest.outer.linux["maskedPaths"] = ["/sys/firmware"]
    nest.start()
    nest.inner.config["mounts"].pop()  # /sys/fs/cgroup: the outer one's, writable there, is to be seen now
    nest.inner.mount("/sys", "sysfs", "sysfs", "nosuid", "nodev", "noexec")
    nest.inner.args("ls /sys/firmware | wc -l; ls /sys/class/net; grep ' /sys' /proc/mounts")
    result = nest.run()
    assert (result.status, result.err) == (0, "")
    masked, device, *mounts = result.out.splitlines()
    assert (masked, device) == ("0", "lo")
    assert len(mounts) >= 3
    assert all(line.split()[3].startswith("ro,") for line in mounts)


@pytest.mark.parametrize("root", [True, False])
def test_without_a_cgroup_file_system_is_told_or_done_without(nest: Nest, root: bool) -> None:
    """No /sys/fs/cgroup in the outer container: root is told; --rootless auto does without."""
    if not root:
        in_a_user_namespace(nest)
    nest.outer.config["mounts"] = [mount for mount in nest.outer.config["mounts"] if mount["type"] != "cgroup"]
    nest.start()
    result = nest.run()
    if root:
        assert result.status == 1
        assert "cgroup v2 is not mounted at /sys/fs/cgroup nor at /sys/fs/cgroup/unified" in result.err
    else:
        assert (result.status, result.err) == (0, "")
        nest.inner.args("exec sleep 1000")
        nest.inner.write()
        nest.ok("create", "--bundle", "/inner", "in")
        nest.ok("delete", "--force", "in")


def test_memory_that_may_not_be_executed_is_no_hindrance(nest: Nest) -> None:
    """vm.memfd_noexec 2 in the outer container: the hand is executed from a tmpfs of its own."""
    if not Path("/proc/sys/vm/memfd_noexec").exists():
        pytest.skip("vm.memfd_noexec is newer than this kernel")
    nest.start()
    write = "echo 2 >/proc/sys/vm/memfd_noexec && cat /proc/sys/vm/memfd_noexec"
    assert nest.minirunc.ok("exec", nest.id, "/busybox/sh", "-c", write.replace("cat", "/busybox/cat")) == "2\n"
    assert nest.run().status == 0


def test_read_only_cgroup_file_system_is_told_with_what_to_do(nest: Nest) -> None:
    """Root with all rights, and /sys/fs/cgroup read-only: remounted, or no cgroup at all; then no limit can be had."""
    for mount in nest.outer.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].append("ro")
    nest.start()
    result = nest.run()
    assert result.status == 1
    assert "/sys/fs/cgroup/in; remount it read-write, or use --cgroup-manager disabled: " in result.err
    assert "read-only file system" in result.err
    assert nest("--cgroup-manager", "disabled", "run", "--bundle", "/inner", "in").status == 0
    nest.inner.linux["resources"]["pids"] = {"limit": 10}
    nest.inner.write()
    result = nest("--cgroup-manager", "disabled", "run", "--bundle", "/inner", "in")
    assert result.status == 1
    assert "config.json: linux.resources.pids: --cgroup-manager disabled makes no cgroup" in result.err
