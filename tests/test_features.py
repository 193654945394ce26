"""commands/features.py: the document that engines ask for before they write a config.json."""

import json
from functools import partial
from pathlib import Path

import pytest

from minirunc.base.version import SPEC, VERSION
from minirunc.config import UNSUPPORTED, warnings
from minirunc.config.annotations import HONOURED
from minirunc.config.mounts.options import OF_THE_FILE_SYSTEM, parse_options
from tests.command_line import run
from tests.config_json import loaded, refusal
from tests.ground import oci_schema


@pytest.fixture
def features(tmp_path):
    """What `minirunc features` prints."""
    done = run(tmp_path, "features")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_output_is_one_document_with_four_spaces(tmp_path):
    """runc's layout: 4-space indent, one line feed at the end, nothing else on stdout."""
    text = run(tmp_path, "features").stdout
    assert text == json.dumps(json.loads(text), indent=4) + "\n"


def test_members_are_those_of_features_md(features):
    """Names, order and types of the runtime-spec's features.md."""
    assert list(features) == [
        "ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ]  # fmt: skip
    assert list(features["linux"]) == [
        "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt",
        "memoryPolicy", "mountExtensions", "netDevices",
    ]  # fmt: skip
    assert (features["ociVersionMin"], features["ociVersionMax"]) == ("1.0.0", SPEC)
    assert features["annotations"]["minirunc.version"] == VERSION
    assert all(type(value) is str for value in features["annotations"].values())


def test_hooks_and_namespaces_are_all_of_the_spec(features):
    """Six hooks, eight namespaces."""
    assert features["hooks"] == [
        "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
    ]  # fmt: skip
    assert features["linux"]["namespaces"] == [
        "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
    ]  # fmt: skip


def test_mount_options_are_sorted_words(features):
    """containerd sets recursive read-only mounts only where `rro` is listed; runc does not list idmap, crun does."""
    words = features["mountOptions"]
    assert words == sorted(set(words))
    assert {"bind", "rbind", "ro", "rro", "rprivate", "tmpcopyup", "nosymfollow"} <= set(words)
    assert {"idmap", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow", "rsync"} <= set(words)


def test_capabilities_are_in_the_kernels_order(features):
    """From CAP_CHOWN, number 0, to the newest."""
    names = features["linux"]["capabilities"]
    assert (names[0], names[21], names[-1]) == ("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE")


@pytest.mark.parametrize(
    ("where", "members"),
    [
        ("linux.seccomp", ("seccomp",)),
        ("process.apparmorProfile", ("apparmor",)),
        ("process.selinuxLabel", ("selinux",)),
        ("linux.intelRdt", ("intelRdt",)),
        ("linux.netDevices", ("netDevices",)),
        ("mounts[].uidMappings", ("mountExtensions", "idmap")),
    ],
)
def test_what_is_refused_is_not_claimed(features, where, members):
    """An engine that is told `enabled` writes configurations that ask for it."""
    found = features["linux"]
    for member in members:
        found = found[member]
    assert found["enabled"] is (where not in UNSUPPORTED)


def test_parts_of_intel_rdt_are_told(features):
    """features-linux.md "Intel RDT": what the runtime supports, whatever the machine has."""
    assert features["linux"]["intelRdt"] == {"enabled": True, "schemata": True, "monitoring": True}


def test_memory_policies_are_told(features):
    """linux.memoryPolicy: modes and flags, also those that this kernel has not."""
    found = features["linux"]["memoryPolicy"]
    assert found["modes"] == [
        "MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ]  # fmt: skip
    assert found["flags"] == ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]


def test_document_is_valid(features):
    """By the JSON schema of features.md."""
    assert oci_schema.faults("features-schema.json", features) == []
    broken = features | {"linux": {"seccomp": {"enabled": "yes"}}}
    assert oci_schema.faults("features-schema.json", broken) == [
        "$.linux.seccomp.enabled: 'yes' is not of type 'boolean'"
    ]


def test_each_member_of_the_schema_is_there(features):
    """features.md and features-linux.md: none of their properties is left open."""
    defined = oci_schema.load("features-linux.json")["linux"]["properties"]
    assert set(features["linux"]) == {*defined, "memoryPolicy"}  # which the schema has forgotten
    for name, block in defined.items():
        if "properties" in block:
            assert set(features["linux"][name]) >= set(block["properties"]), name
    assert set(features) == set(oci_schema.load("features-schema.json")["properties"])


def _seccomp(**members):
    return {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", **members}}


def _rule(**members):
    return _seccomp(syscalls=[{"names": ["mkdir"], "action": "SCMP_ACT_LOG", **members}])


def _memory_policy(mode, *flags):
    nodes = "" if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else "0"
    return {"linux.memoryPolicy": {"mode": mode, "nodes": nodes, "flags": flags}}


# A configuration that asks for a name: "The runtime MUST recognize the elements in this array as ..."
USED = {
    "ociVersionMin": lambda name: {"ociVersion": name},
    "ociVersionMax": lambda name: {"ociVersion": name},
    "hooks": lambda name: {f"hooks.{name}": [{"path": "/bin/true"}]},
    "mountOptions": lambda name: {
        "mounts": [{"destination": "/x", "type": "tmpfs", "source": "/", "options": [*BESIDE.get(name, ()), name]}]
    },
    "linux.namespaces": lambda name: {"linux.namespaces": [{"type": name, "path": "/x"}]},
    "linux.capabilities": lambda name: {"process.capabilities": {"bounding": [name]}},
    "linux.seccomp.actions": lambda name: _rule(action=name),
    "linux.seccomp.operators": lambda name: _rule(args=[{"index": 0, "value": 0, "op": name}]),
    "linux.seccomp.archs": lambda name: _seccomp(architectures=[name]),
    "linux.seccomp.knownFlags": lambda name: _seccomp(flags=[name]),
    "linux.seccomp.supportedFlags": lambda name: _seccomp(flags=[name]),
    "linux.memoryPolicy.modes": _memory_policy,
    "linux.memoryPolicy.flags": lambda name: _memory_policy("MPOL_BIND", name),
}
BESIDE = {"copy-symlink": ("bind",), "dest-nofollow": ("bind",), "src-nofollow": ("bind",)}
USERNS = {
    "linux.namespaces": [{"type": "mount"}, {"type": "user"}],
    "linux.uidMappings": [{"containerID": 0, "hostID": 1, "size": 9}],
    "linux.gidMappings": [{"containerID": 0, "hostID": 1, "size": 9}],
}


@pytest.mark.parametrize("member", USED)
def test_what_is_listed_is_taken(features, member):
    """Each name; mount options are none of the file system's."""
    found = features
    for step in member.split("."):
        found = found[step]
    for name in [found] if isinstance(found, str) else found:
        more = USERNS if name in ("idmap", "ridmap") else {}
        if name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV":  # says how the agent is waited for
            assert "SCMP_ACT_NOTIFY" in refusal(USED[member](name))
            continue
        config = loaded({**more, **USED[member](name)})
        assert warnings(config) == []
        if member == "mountOptions" and name not in OF_THE_FILE_SYSTEM:
            assert parse_options([name]).data == [], name


def test_each_list_is_put_to_use(features):
    """None is only claimed."""

    def lists(value, path):
        for name, item in value.items():
            if isinstance(item, list):
                yield f"{path}{name}"
            elif isinstance(item, dict):
                yield from lists(item, f"{path}{name}.")

    assert {*lists(features, ""), "ociVersionMin", "ociVersionMax"} == {*USED, "potentiallyUnsafeConfigAnnotations"}


def test_annotations_that_change_something_are_listed(features):
    """potentiallyUnsafeConfigAnnotations: names, or how they begin if they end in "."."""
    assert features["potentiallyUnsafeConfigAnnotations"] == sorted([*HONOURED, "org.systemd.property."])


def test_annotations_of_the_build(features):
    """Versions, and that there is no checkpoint, which engines ask for."""
    found = features["annotations"]
    assert found["org.opencontainers.runc.checkpoint.enabled"] == "false"
    assert found["io.github.seccomp.libseccomp.version"].startswith("2.")
    assert len(found.get("minirunc.commit", "0" * 40)) == 40


def test_cgroup_versions_are_told(features):
    """Only the unified hierarchy is used, by the drivers there are."""
    assert features["linux"]["cgroup"] == {
        "v1": False, "v2": True, "systemd": True, "systemdUser": True, "rdma": True,
    }  # fmt: skip


def test_operands_are_refused(tmp_path):
    """features takes none."""
    done = partial(run, tmp_path)("features", "x")
    assert done.returncode == 1
    assert "requires exactly 0 argument(s)" in done.stderr


def test_seccomp_actions_are_the_kernels(features):
    """Each that linux.seccomp may ask for and that this kernel has (seccomp(2), actions_avail)."""
    words = Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split()
    names = {word.replace("user_notif", "notify").upper() for word in words} | {"KILL"}
    assert features["linux"]["seccomp"]["actions"] == sorted(f"SCMP_ACT_{name}" for name in names)
    assert set(features["linux"]["seccomp"]["supportedFlags"]) <= set(features["linux"]["seccomp"]["knownFlags"])
