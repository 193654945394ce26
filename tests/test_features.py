"""commands/features.py: the document that engines ask for before they write a config.json."""

import json
from functools import partial

import pytest

from minirunc.base.version import SPEC, VERSION
from minirunc.config import UNSUPPORTED
from tests.command_line import run


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


def test_memory_policies_are_told(features):
    """linux.memoryPolicy: modes and flags, also those that this kernel has not."""
    found = features["linux"]["memoryPolicy"]
    assert found["modes"] == [
        "MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ]  # fmt: skip
    assert found["flags"] == ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]


def test_cgroup_versions_are_told(features):
    """Only the unified hierarchy is used."""
    assert features["linux"]["cgroup"]["v1"] is False
    assert features["linux"]["cgroup"]["v2"] is True


def test_operands_are_refused(tmp_path):
    """features takes none."""
    done = partial(run, tmp_path)("features", "x")
    assert done.returncode == 1
    assert "requires exactly 0 argument(s)" in done.stderr
