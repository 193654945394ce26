"""config.json linux.namespaces, idMappings, timeOffsets, hostname, domainname: the container sees its own, or whose
it was told to join."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import inside
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.network import network
from tests.ground.runtime import Runtime

MAPPINGS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
ALL = list(inside.TYPES)


def new(bundle: Bundle, *types: str) -> Bundle:
    """Have the container make these namespaces, and share all others."""
    bundle.linux["namespaces"] = [{"type": kind} for kind in types]
    return bundle


def mapped(bundle: Bundle, owner: int = 100000) -> Bundle:
    """Give the container a user namespace whose root is `owner` outside, and the rootfs to him."""
    bundle.namespace("user")
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": owner, "size": 65536}]
    for directory, names, files in os.walk(bundle.rootfs):
        for name in (".", *names, *files):
            os.chown(f"{directory}/{name}", owner, owner, follow_symlinks=False)
    return bundle


def joining(bundle: Bundle, pid: int, *types: str) -> Bundle:
    """Have the container join these namespaces of a process."""
    for kind in types:
        bundle.namespace(kind, path=f"/proc/{pid}/ns/{inside.TYPES[kind]}")
    return bundle


@pytest.mark.observes("linux.namespaces[].type")
def test_each_listed_namespace_is_new(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces: without a path a new namespace of each type MUST be made."""
    result = minirunc.run(new(mapped(bundle(inside.NAMESPACES)), *ALL))
    assert (result.status, result.err) == (0, "")
    ours = inside.namespaces_of()
    assert {kind: link for kind, link in inside.namespaces(result.out).items() if link == ours[kind]} == {}


def test_message_queues_belong_to_the_user_namespaces_root(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """/dev/mqueue belongs to who made the ipc namespace, so this is made by root inside."""
    result = minirunc.run(mapped(bundle("stat -c '%u:%g %a' /dev/mqueue; chmod 1770 /dev/mqueue")))
    assert (result.status, result.out, result.err) == (0, "0:0 1777\n", "")


def test_hooks_in_a_new_user_namespace_and_the_network_of_others(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """Both are joined at once: once in the user namespace nobody has rights over what the host owns."""
    made = mapped(bundle("readlink /proc/self/ns/net"))
    tell = {"path": "/bin/sh", "args": ["sh", "-c", "readlink /proc/self/ns/net >&2"]}
    made.config["hooks"] = {"createContainer": [tell], "startContainer": [tell]}
    with network(tmp_path / "net") as net:
        made.namespace("network", path=str(net.file))
        result = minirunc.run(made)
        link = f"net:[{net.file.stat().st_ino}]\n"
    assert (result.status, result.out) == (0, link), result.err


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in ("mount", "user")])
def test_unlisted_namespace_is_the_runtimes(minirunc: Runtime, bundle: Callable[..., Bundle], kind: str) -> None:
    """linux.namespaces: what is not listed MUST be inherited; each of the others is new all the same."""
    made = new(bundle(inside.NAMESPACES), *(other for other in ALL if other not in (kind, "user")))
    if kind == "uts":
        del made.config["hostname"]
    if kind == "network":  # sysfs belongs to the network namespace's owner
        made.config["mounts"] = [mount for mount in made.config["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    ours = inside.namespaces_of()
    same = {kind for kind, link in inside.namespaces(result.out).items() if link == ours[kind]}
    assert same == {kind, "user"}


def test_without_mount_namespace_root_is_changed(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces without mount: its root is the rootfs, and the host's mounts stay."""
    made = new(bundle("ls /; pwd"), "pid", "uts")
    made.config["mounts"] = []
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    before = leftovers.host_mounts(made.path)
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert set(result.out.split()) == {*os.listdir(made.rootfs), "/"}
    assert leftovers.host_mounts(made.path) == before


def test_exec_has_the_changed_root(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`exec` without a mount namespace of the container's own: in the rootfs, not on the host."""
    made = new(bundle("exec sleep 1000"), "pid", "uts")
    made.config["mounts"] = []
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    (made.rootfs / "mark").write_text("here\n")
    assert minirunc.ok("exec", minirunc.start(made), "sh", "-c", "cat /mark; cat ../../../mark") == "here\n" * 2


@pytest.mark.observes("linux.namespaces[].path")
def test_types_are_joined_by_path(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces[].path: the process MUST be placed in the namespace there: one at a time, and all at once."""
    pid = minirunc.pid(minirunc.start(new(bundle("exec sleep 1000"), *(kind for kind in ALL if kind != "user"))))
    theirs = inside.namespaces_of(pid)
    kinds = [kind for kind in ALL if kind not in ("mount", "user")]
    seen = {}
    for chosen in (*([kind] for kind in kinds), kinds):
        made = joining(new(bundle(inside.NAMESPACES), *(kind for kind in ALL if kind != "user")), pid, *chosen)
        if "uts" in chosen:
            del made.config["hostname"]
        result = minirunc.run(made)
        assert (result.status, result.err) == (0, ""), chosen
        shared = {kind for kind, link in inside.namespaces(result.out).items() if link == theirs[kind]}
        seen[tuple(chosen)] = shared - {"user"}
    assert seen == {chosen: set(chosen) for chosen in seen}


def test_processes_of_a_joined_pid_namespace_are_seen(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces[pid].path: pid 1 is the other container's process."""
    pid = minirunc.pid(minirunc.start(bundle("exec sleep 4321")))
    result = minirunc.run(joining(bundle("tr '\\0' ' ' </proc/1/cmdline; echo $$"), pid, "pid"))
    sleep, ours = result.out.rsplit(" ", 1)
    assert sleep == "sleep 4321"
    assert int(ours) > 1


def test_mount_namespace_is_joined_by_path(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces[mount].path: the container is in that namespace, its root changed to the rootfs there."""
    made = bundle("readlink /proc/self/ns/mnt; ls /")
    made.config["mounts"] = []
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    script = f"mount -t proc proc {made.rootfs}/proc && exec sleep 1000"
    with subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", script]) as other:
        try:
            while os.readlink(f"/proc/{other.pid}/exe") != os.path.realpath("/usr/bin/sleep"):
                os.sched_yield()
            theirs = inside.namespaces_of(other.pid)["mount"]
            result = minirunc.run(joining(made, other.pid, "mount"))
        finally:
            other.kill()
    assert (result.status, result.err) == (0, "")
    assert result.out.split() == [theirs, *sorted(os.listdir(made.rootfs))]


def test_in_a_joined_mount_namespace_nothing_of_the_config_is_left_out(
    minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """linux.maskedPaths, readonlyPaths, devices, read-only mounts: as in a new one; what cannot be is refused."""
    made = bundle(
        "cat /proc/keys; echo no >/proc/sys/kernel/domainname; echo no >/ro/file; echo ok >/dev/null; ls /dev"
    )
    made.mount("/ro", "tmpfs", "tmpfs", "ro")
    made.linux["devices"] = [{"type": "p", "path": "/dev/fifo"}]
    with subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"]) as other:
        try:
            while os.readlink(f"/proc/{other.pid}/exe") != os.path.realpath("/usr/bin/sleep"):
                os.sched_yield()
            result = minirunc.run(joining(made, other.pid, "mount"))
            made.config["root"]["readonly"] = True
            refused = minirunc.run(made)
        finally:
            other.kill()
    assert result.status == 0
    assert result.err.count("Read-only file system") == 2
    assert len(result.err.splitlines()) == 2
    assert {"fifo", "null", "zero", "full", "random", "urandom", "tty"} <= set(result.out.split())
    assert "root.readonly: unable to make the root read-only without a private MNT namespace" in refused.err


def test_namespace_bound_to_a_file_is_joined(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces[].path: a file that `ip netns` or a container manager bound a namespace to."""
    file = tmp_path / "net"
    file.touch()
    subprocess.run(["unshare", f"--net={file}", "true"], check=True)
    try:
        made = bundle("readlink /proc/self/ns/net")
        made.namespace("network", path=str(file))
        result = minirunc.run(made)
        assert result.out == f"net:[{file.stat().st_ino}]\n"
    finally:
        subprocess.run(["umount", file], check=True)


def test_user_namespace_with_the_network_of_another(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces[network].path: the kernel denies a sysfs of it; the host's is bound, read-only."""
    made = mapped(joining(bundle("exec sleep 1000"), os.getpid(), "network"))
    made.args("grep -o ' /sys sysfs ro' /proc/mounts; touch /sys/kernel/uevent_seqnum 2>&1; readlink /proc/self/ns/net")
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    denied = "touch: /sys/kernel/uevent_seqnum: Read-only file system"
    assert result.out.splitlines() == [" /sys sysfs ro", denied, os.readlink("/proc/self/ns/net")]


@pytest.mark.parametrize(
    ("kind", "path", "why"),
    [
        ("network", "/etc/passwd", "/etc/passwd is not a network namespace"),
        ("network", "/proc/self/ns/uts", "/proc/self/ns/uts is not a network namespace"),
        ("user", "/proc/self/ns/net", "/proc/self/ns/net is not a user namespace"),
        ("ipc", "/run/no-such-file", "/run/no-such-file: no such file or directory"),
        ("pid", "/run/no/such/directory", "/run/no/such/directory: no such file or directory"),
    ],
)
def test_path_that_is_no_namespace_is_refused(
    minirunc: Runtime, bundle: Callable[..., Bundle], kind: str, path: str, why: str
) -> None:
    """linux.namespaces[].path: the runtime MUST generate an error if it is not a namespace of that type."""
    made = bundle()
    made.namespace(kind, path=path)
    index = [entry["type"] for entry in made.linux["namespaces"]].index(kind)
    result = minirunc.run(made)
    assert result.status == 1
    assert f"config.json: linux.namespaces[{index}].path: {why}" in result.err


_LINKS = """
import sys
from pyroute2 import NetNS
with NetNS(f"/proc/{sys.argv[1]}/ns/net") as network:
    print([(link.get_attr("IFLA_IFNAME"), link["state"]) for link in network.get_links()])
"""


def test_netlink_sees_loopback_alone_and_up(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """rtnetlink(7), asked by pyroute2 in the container's network namespace: `lo`, up, and nothing else."""
    container = minirunc.start(bundle(["sleep", "1000"]))
    command = [sys.executable, "-c", _LINKS, str(minirunc.pid(container))]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[('lo', 'up')]\n"


def test_loopback_is_up_in_a_new_network(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A new network namespace: `lo` is up and has its address."""
    result = minirunc.run(bundle("cat /sys/class/net/lo/flags; ip -4 -o addr show lo"))
    flags, address = result.out.splitlines()
    assert flags == "0x9"  # IFF_UP, IFF_LOOPBACK
    assert "inet 127.0.0.1/8" in address


@pytest.mark.observes("hostname", "domainname")
def test_host_and_domain_name_are_set(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """hostname, domainname: seen inside; the host's are not touched."""
    before = os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()
    made = bundle("hostname; cat /proc/sys/kernel/domainname")
    made.config["hostname"] = "a" * 63 + "z"
    made.config["domainname"] = "example.org"
    assert minirunc.run(made).out == "a" * 63 + "z\nexample.org\n"
    assert (os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()) == before


def test_host_name_goes_to_a_joined_namespace(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """hostname: with a joined UTS namespace it is set there."""
    first = minirunc.start(bundle("exec sleep 1000"))
    made = joining(bundle("hostname"), minirunc.pid(first), "uts")
    made.config["hostname"] = "joined"
    assert minirunc.run(made).out == "joined\n"
    assert minirunc.ok("exec", first, "hostname") == "joined\n"


def offsets(made: Bundle) -> Bundle:
    made.namespace("time")
    made.linux["timeOffsets"] = {
        "boottime": {"secs": 1000000, "nanosecs": 250},
        "monotonic": {"secs": -5, "nanosecs": 999999999},
    }
    return made


OFFSETS = [["monotonic", "-5", "999999999"], ["boottime", "1000000", "250"]]


@pytest.mark.observes(
    *(f"linux.timeOffsets.{clock}.{part}" for clock in ("boottime", "monotonic") for part in ("secs", "nanosecs"))
)
def test_time_offsets_are_seen(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.timeOffsets: the clocks inside are off by them, from the first process on."""
    result = minirunc.run(offsets(bundle("cat /proc/self/timens_offsets /proc/uptime; " + inside.NAMESPACES)))
    assert (result.status, result.err) == (0, "")
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[:2] == OFFSETS
    ahead = float(lines[2][0]) - float(Path("/proc/uptime").read_text().split()[0])
    assert abs(ahead - 1000000) < 60


def test_time_offset_out_of_range(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.timeOffsets: a clock cannot be negative; the error names the field."""
    made = bundle()
    made.namespace("time")
    made.linux["timeOffsets"] = {"boottime": {"secs": -(10**12)}}
    result = minirunc.run(made)
    assert result.status == 1
    assert "config.json: linux.timeOffsets: numerical result out of range" in result.err


def test_time_and_user_namespace_together(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.timeOffsets with a new user namespace: the time namespace is owned by it, the process is alone in both."""
    made = offsets(mapped(new(bundle("cat /proc/self/timens_offsets; id -u; echo $$; " + inside.NAMESPACES), *ALL)))
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.split() for line in lines[:2]] == OFFSETS
    assert lines[2:4] == ["0", "1"]
    ours = inside.namespaces_of()
    assert [kind for kind, link in inside.namespaces("\n".join(lines[4:])).items() if link == ours[kind]] == []


def test_time_namespace_of_a_running_container_keeps_its_offsets(
    minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """linux.namespaces[time].path: the joined clock is the other container's."""
    pid = minirunc.pid(minirunc.start(offsets(bundle("exec sleep 1000"))))
    made = joining(bundle("cat /proc/self/timens_offsets"), pid, "time")
    assert [line.split() for line in minirunc.run(made).out.splitlines()] == OFFSETS


@pytest.mark.observes(
    *(f"linux.{ids}Mappings[].{name}" for ids in ("uid", "gid") for name in ("containerID", "hostID", "size"))
)
def test_ids_are_mapped(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.uidMappings, gidMappings: seen inside as given; outside the process is who it is mapped to."""
    made = mapped(
        bundle("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -g; stat -c '%u:%g' / /bin")
    )
    made.linux["uidMappings"] = [*MAPPINGS, {"containerID": 65536, "hostID": 300000, "size": 10}]
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["0", "100000", "65536"],
        ["65536", "300000", "10"],
        ["0", "100000", "65536"],
    ]
    assert lines[3:] == ["allow", "0", "0", "0:0", "0:0"]
    made.args("exec sleep 1000")
    made.process["user"] = {"uid": 65540, "gid": 7, "additionalGids": [8, 9]}
    status = inside.status(Path(f"/proc/{minirunc.pid(minirunc.start(made))}/status").read_text())
    assert status["Uid"].split() == ["300004"] * 4
    assert status["Gid"].split() == ["100007"] * 4
    assert status["Groups"].split() == ["100008", "100009"]


def test_root_of_a_user_namespace_has_the_usual_container(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A user namespace: all default mounts, devices, masks; and devices work."""
    script = """
        cat /proc/self/mountinfo
        echo hi >/dev/null && head -c 3 /dev/zero | wc -c
        stat -c '%F %t:%T %n' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty
        wc -c </proc/keys
        touch /proc/sys/kernel/hostname 2>&1
        ls -l /dev/ptmx | sed 's/.*-> //'
    """
    result = minirunc.run(mapped(bundle(script)))
    assert result.status == 0, result.err
    mountinfo = "".join(line + "\n" for line in result.out.splitlines() if " - " in line)
    mounts = inside.mounts(mountinfo)
    for mount in bundle().config["mounts"]:
        assert mount["destination"] in mounts
    assert mounts["/proc"].fs_type == "proc"
    assert mounts["/sys/fs/cgroup"].fs_type == "cgroup2"
    assert mounts["/dev/null"].fs_type == "devtmpfs"
    assert result.out.removeprefix(mountinfo).splitlines() == [
        "3",
        "character special file 1:3 /dev/null",
        "character special file 1:5 /dev/zero",
        "character special file 1:7 /dev/full",
        "character special file 1:8 /dev/random",
        "character special file 1:9 /dev/urandom",
        "character special file 5:0 /dev/tty",
        "0",
        "touch: /proc/sys/kernel/hostname: Read-only file system",
        "pts/ptmx",
    ]


def test_user_namespace_is_joined_by_path(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.namespaces[user].path: its root is ours; the new namespaces belong to it. So does exec."""
    first = minirunc.start(mapped(bundle("exec sleep 1000")))
    pid = minirunc.pid(first)
    kinds = [kind for kind in ALL if kind not in ("mount", "time")]
    seen = []
    for chosen in (["user"], kinds):
        made = mapped(bundle(f"cat /proc/self/uid_map; id -u; hostname; {inside.NAMESPACES}"))
        del made.linux["uidMappings"], made.linux["gidMappings"]
        made.config["hostname"] = "second"
        result = minirunc.run(joining(made, pid, *chosen))
        assert (result.status, result.err) == (0, ""), chosen
        mapping, uid, hostname, *links = result.out.splitlines()
        assert mapping.split() == ["0", "100000", "65536"]
        assert (uid, hostname) == ("0", "second")
        theirs = inside.namespaces_of(pid)
        shared = {kind for kind, link in inside.namespaces("\n".join(links)).items() if link == theirs[kind]}
        seen.append(shared - {"time"})
    assert seen == [{"user"}, set(kinds)]
    assert minirunc.ok("exec", first, "cat", "/proc/self/uid_map").split() == ["0", "100000", "65536"]


@pytest.mark.parametrize("both", [False, True])
def test_writable_cgroup_is_given_to_root_of_a_joined_user_namespace(
    minirunc: Runtime, bundle: Callable[..., Bundle], both: bool
) -> None:
    """Whose id the host's is, the namespace says; whether the mappings are given with its path or not."""
    pid = minirunc.pid(minirunc.start(mapped(bundle("exec sleep 1000"))))
    made = joining(mapped(bundle("mkdir /sys/fs/cgroup/a && rmdir /sys/fs/cgroup/a && echo made")), pid, "user")
    if not both:
        del made.linux["uidMappings"], made.linux["gidMappings"]
    for mount in made.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["rw"]
    assert minirunc.run(made) == (0, "made\n", "")


def test_user_namespace_with_its_mappings_may_be_joined(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """containerd and CRI-O send both: a path, and mappings equal to those of the namespace there."""
    pid = minirunc.pid(minirunc.start(mapped(bundle("exec sleep 1000"))))
    assert minirunc.run(joining(mapped(bundle("cat /proc/self/uid_map")), pid, "user")).out.split() == [
        "0",
        "100000",
        "65536",
    ]
    other = joining(mapped(bundle()), pid, "user")
    other.linux["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    result = minirunc.run(other)
    assert result.status == 1
    assert (
        "user namespaces enabled, but both namespace path and non-matching mapping specified"
        " -- you may only provide one" in result.err
    )


@pytest.mark.parametrize(
    ("option", "namespace", "works"), [("rw", True, True), ("ro", True, False), ("rw", False, False)]
)
def test_writable_cgroup_is_given_to_the_process(
    minirunc: Runtime, bundle: Callable[..., Bundle], option: str, namespace: bool, works: bool
) -> None:
    """A cgroup namespace and a writable mount of it: the user whose process it is owns it, but none of its limits."""
    made = bundle("mkdir /sys/fs/cgroup/a && rmdir /sys/fs/cgroup/a && echo made; find /sys/fs/cgroup -user 0 | sort")
    made.namespace("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    if not namespace:
        made.without_namespace("cgroup")
    for mount in made.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = [option]
    result = minirunc.run(made)
    assert result.status == 0
    if works:
        first, directory, *files = result.out.split()
        assert (first, directory) == ("made", "/sys/fs/cgroup")
        delegated = Path("/sys/kernel/cgroup/delegate").read_text().split()
        assert {file.rpartition("/")[2] for file in files} <= set(delegated)
        assert "/sys/fs/cgroup/cgroup.procs" in files
    else:
        assert result.out == ""
