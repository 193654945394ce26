"""bundles/every_field: it sets each field of the OCI schema that minirunc honours, it runs, and tests show each field.

`python -m tests.test_every_field` prints which tests show which field.
"""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirunc.config import IGNORED, UNSUPPORTED
from tests.ground import every_field, observed, oci_schema
from tests.ground.agents import agent
from tests.ground.network import network as namespace
from tests.ground.runtime import IN_UML, Runtime

VALUES = ("linux.seccomp.syscalls[].action",)
REFUSED = {line: why for line, why in UNSUPPORTED.items() if line not in VALUES}
FIELDS = oci_schema.leaves(IGNORED | UNSUPPORTED)

SAID = {
    "arguments": "every field",
    "variable": "of the environment",
    "cwd": "/tmp",
    "terminal": "30 100",
    "root": "touch: /x: Read-only file system",
    "hostname": "every",
    "domainname": "example.org",
    "ids": "1000 1000 1000 5 100 0027",
    # inheritable, permitted, effective, bounding, ambient: CAP_KILL is 1 << 5, CAP_NET_BIND_SERVICE 1 << 10
    "capabilities": "0000000000000420 0000000000000020 0000000000000020 0000000000000420 0000000000000020",
    "no_new_privs": "1",
    "oom_score_adj": "500",
    "nofile": "512 1024",
    "scheduler": "policy 3 nice 5",  # SCHED_BATCH
    "io_priority": "best-effort: prio 6",
    "machine": "i686",
    "memory_policy": "interleave=static:0",
    "uid_map": "0 100000 65536",
    "gid_map": "0 100000 65536",
    "offsets": "monotonic 3600 2 boottime 86400 1",
    "device": "ctr0",
    "pipe": "fifo 660 1000:100",
    "fuse": "a:e5",
    "sysctl": "16384",
    "masked": "0",
    "readonly": "touch: /proc/sys/kernel/msgmax: Read-only file system",
    "propagation": "unbindable",
    "mount": "0:0 touch: /mnt/x: Read-only file system",
    "seccomp": "2 mkdir: can't create directory '/tmp/x': Disk quota exceeded"
    " chroot: can't change root directory to '/': Function not implemented",
    "agent": "hostname: sethostname: Stale file handle",
    "hooks": "createContainer startContainer",
    "memory": "268435456 134217728 134217728 201326592",
    "cpu": "59 50000 100000 20000 0",
    "pids": "100",
    "io": "7:0 rbps=10485760 wbps=5242880 riops=1000 wiops=500 none",
    "hugepages": "4194304",
}
# Where the ground takes something out: what is seen then.
SAID_WITHOUT = {
    "linux.personality": {"machine": "x86_64"},
    "linux.memoryPolicy": {"memory_policy": ""},
    "linux.timeOffsets": {"offsets": ""},
    "linux.devices[1]": {"fuse": ""},
    "mounts[7].uidMappings": {"mount": "65534:65534 touch: /mnt/x: Read-only file system"},
    "linux.resources.memory": {"memory": "none none none none"},
    "linux.resources.cpu": {"cpu": "none none none none"},
    "linux.resources.pids": {"pids": "none"},
    "linux.resources.blockIO": {"io": "none none"},
    "linux.resources.hugepageLimits": {"hugepages": "none"},
}


# How a refusal names what it is of, if not by the JSON path.
NAMED = {
    "linux.devices[1]": "/dev/fuse",
    "linux.timeOffsets": "time namespaces aren't enabled in the kernel",
    "linux.memoryPolicy": ": set_mempolicy(",
    "mounts[7].uidMappings": " (mounts[7]): ",
}
WITHOUT_EFFECT = ("linux.personality",)  # in User-Mode Linux: the kernel takes it, uname(2) says the same


@pytest.fixture
def network(minirunc: Runtime, tmp_path: Path) -> Iterator[str]:
    """A network namespace that somebody else has made, as a CNI plugin would: its path. The device is in another."""
    with namespace(tmp_path / "host-net") as host, namespace(tmp_path / "net") as made:
        host.veth("every_field")
        minirunc.prefix = host.enter
        yield str(made.file)
        minirunc.prefix = []


def test_bundle_sets_each_field() -> None:
    """Each property that is neither refused nor without effect, and none that the specification does not have."""
    assert oci_schema.leaves_of(every_field.config()) == set(FIELDS)


def test_bundle_is_valid() -> None:
    """By the specification's JSON schema."""
    assert oci_schema.faults(oci_schema.TOP, every_field.config()) == []


def test_readme_explains_each_field() -> None:
    """Beside the bundle, as JSON has no comments: a line each, by its JSON path."""
    lines = (every_field.BUNDLE / "README.md").read_text().splitlines()
    explained = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert sorted(explained) == sorted(FIELDS)


def test_bundle_runs_and_says_what_its_fields_made(
    tmp_path: Path, minirunc: Runtime, busybox: Path, network: str
) -> None:
    """With all that this ground has, at once; what the container says is as its config.json has it."""
    id = minirunc.id()
    bundle = every_field.make(tmp_path / id, busybox, network)
    expected = SAID | {"network": f"net:[{Path(network).stat().st_ino}]"}
    for path in every_field.lacking():
        expected |= SAID_WITHOUT.get(path, {})
    with agent(bundle.linux["seccomp"]["listenerPath"], lambda asked: -errno.ESTALE) as asked:
        result = minirunc.run(bundle, id=id)
    assert (result.status, result.err) == (0, "")
    assert {told["metadata"] for told in asked.messages} == {"every field"}
    assert dict(line.split(": ", 1) for line in result.out.splitlines()) == expected
    outside = [line.split()[0] for line in (bundle.path / "hooks.log").read_text().splitlines()]
    assert outside == ["prestart", "createRuntime", "poststart", "poststop"]


def test_what_the_ground_lacks_is_refused_by_name(
    tmp_path: Path, minirunc: Runtime, busybox: Path, network: str
) -> None:
    """Every word of config.json takes effect or is an error that names it: each of them put back, alone."""
    pairs = {"linux.timeOffsets": "linux.namespaces[time]", "mounts[7].uidMappings": "mounts[7].gidMappings"}
    lacking = every_field.lacking()
    told: dict[str, tuple[int, str, bool]] = {}
    for path in lacking:
        if path in pairs.values() or path in WITHOUT_EFFECT or any(path.startswith(f"{other}.") for other in lacking):
            continue
        id = minirunc.id()
        lacks = {other: why for other, why in lacking.items() if other not in (path, pairs.get(path))}
        bundle = every_field.make(tmp_path / id, busybox, network, lacks)
        with agent(bundle.linux["seccomp"]["listenerPath"]):
            result = minirunc.run(bundle, id=id)
        named = NAMED.get(path, f"config.json: {'.'.join(path.split('.')[:3])}: ")
        told[path] = (result.status, result.out, named in result.err)
        shutil.rmtree(bundle.path)
    assert told == dict.fromkeys(told, (1, "", True))


@pytest.mark.skipif(IN_UML, reason="said once, on the host")
def test_what_no_ground_runs_has_a_reason() -> None:
    """The fields that the host takes out run in User-Mode Linux, or stand in NOWHERE."""
    config = every_field.config()
    all_of_it = oci_schema.leaves_of(config)
    out_of_both = set.intersection(
        *(
            all_of_it - oci_schema.leaves_of(every_field.without(config, lacks))
            for lacks in (every_field.HOST_LACKS, every_field.UML_LACKS)
        )
    )
    assert out_of_both == {path for path in all_of_it if oci_schema.covered(path, every_field.NOWHERE)}


def test_marks_name_fields() -> None:
    """`observes` has the JSON paths of the schema's leaves: another would show nothing."""
    known = set(oci_schema.leaves({}))
    assert {path: tests for path, tests in observed.tests().items() if path not in known} == {}


def test_each_field_is_observed() -> None:
    """Inside a container, on a real kernel, by at least one test; what no kernel here can show has its reason."""
    marked = observed.tests()
    unseen = {path for path in FIELDS if path not in marked}
    assert unseen == {path for path in FIELDS if oci_schema.covered(path, every_field.NOT_SHOWN)}


if __name__ == "__main__":
    marked = observed.tests()
    for field in FIELDS:
        print(field, *(marked.get(field) or ["not shown"]), sep="\n    ")
