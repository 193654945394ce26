"""Each MUST and REQUIRED of the runtime-spec that a config.json can break: what breaks it, and the whole error.

What a test on a real kernel shows (a namespace of another type, a rootfs that is missing) is in test_bad_input.py,
test_namespaces.py and test_rootfs.py. Kept as lenient as runc, because callers rely on it, are: `process.user` and its
ids absent (root), `linux.resources.blockIO.throttle*[].rate` absent (no limit), a capability that nobody knows (a
warning), `linux.seccomp` as an empty object (no filter), two devices with the same numbers.
"""

import json
from typing import Any

import pytest

from minirunc.config import warnings
from tests.config_json import ABSENT, GOOD, changed, loaded, namespaces, refusal

OWN = [{"containerID": 0, "hostID": 1000, "size": 10}]
USER = {"linux.namespaces": namespaces("user", "mount"), "linux.uidMappings": OWN, "linux.gidMappings": OWN}
TERMINAL = {"process.terminal": True}
CPU, BLOCK_IO = "linux.resources.cpu", "linux.resources.blockIO"
VERSION = 'expected a version 1.x of the runtime-spec, like "1.3.0", got'
NO_MOUNT = 'linux.namespaces has no "mount"'
JOINED = "linux.namespaces[0].path joins one"


def without(kind: str) -> dict[str, Any]:
    """The namespaces of GOOD but for one."""
    return {"linux.namespaces": [entry for entry in GOOD["linux"]["namespaces"] if entry["type"] != kind]}


def hook(**members: object) -> dict[str, Any]:
    return {"hooks": {"createRuntime": [members]}}


# what the specification says in short, changes to a good config.json, the error
MUSTS: list[tuple[str, dict[str, Any], str]] = [
    ("ociVersion is SemVer", {"ociVersion": "abc"}, f'ociVersion: {VERSION} "abc"'),
    ("ociVersion is SemVer", {"ociVersion": ""}, f'ociVersion: {VERSION} ""'),
    ("ociVersion is SemVer", {"ociVersion": "1.x"}, f'ociVersion: {VERSION} "1.x"'),
    ("ociVersion is one we know", {"ociVersion": "2.0.0"}, f'ociVersion: {VERSION} "2.0.0"'),
    ("ociVersion is one we know", {"ociVersion": "10.0"}, f'ociVersion: {VERSION} "10.0"'),
    ("root.path is not empty", {"root.path": ""}, "root.path: must not be empty"),
    (
        "root.readonly: read-only inside",
        {"root.readonly": True, "linux.namespaces": namespaces("mount:/proc/1/ns/mnt")},
        f"root.readonly: unable to make the root read-only without a private MNT namespace: {JOINED}",
    ),
    (
        "uidMappings come with gidMappings",
        {"mounts": [{"destination": "/a", "type": "tmpfs", "uidMappings": OWN}]},
        "mounts[0].gidMappings: id-mapped mounts must have both uid and gid mappings specified",
    ),
    (
        "gidMappings come with uidMappings",
        {"mounts": [{"destination": "/a", "type": "tmpfs", "gidMappings": OWN}]},
        "mounts[0].uidMappings: id-mapped mounts must have both uid and gid mappings specified",
    ),
    (
        "idmap without mappings takes those of a user namespace",
        {"mounts": [{"destination": "/a", "type": "tmpfs", "options": ["ridmap"]}]},
        "mounts[0].options: id-mapped mounts must have both uid and gid mappings specified",
    ),
    ("process is there for start", {"process": ABSENT}, "process: process property must not be empty"),
    ("cwd is absolute", {"process.cwd": "tmp"}, "process.cwd: Cwd must be an absolute path"),
    ("args has an entry", {"process.args": []}, "process.args: args must not be empty"),
    ("env is like environ", {"process.env": ["A"]}, "process.env[0]: invalid environment variable: missing '='"),
    (
        "a size of a terminal has both sides",
        {**TERMINAL, "process.consoleSize": {"width": 5}},
        "process.consoleSize.height: missing",
    ),
    (
        "rlimits are of the kernel",
        {"process.rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]},
        (
            "process.rlimits[0].type: wrong rlimit value: RLIMIT_X: expected one of RLIMIT_CPU, RLIMIT_FSIZE,"
            " RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK,"
            " RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME"
        ),
    ),
    (
        "rlimits are not doubled",
        {"process.rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2},
        "process.rlimits[1].type: RLIMIT_CPU is given twice",
    ),
    (
        "the soft limit is in effect",
        {"process.rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]},
        "process.rlimits[0].soft: 2 is above the hard limit 1",
    ),
    (
        "oom_score_adj is as set",
        {"process.oomScoreAdj": 1001},
        "process.oomScoreAdj: expected an integer from -1000 to 1000, got 1001",
    ),
    (
        "ids are those of the container",
        {**USER, "process.user": {"uid": 10, "gid": 0}},
        "process.user.uid: unable to setup user: invalid argument: 10 is not mapped by linux.uidMappings",
    ),
    (
        "ids are those of the container",
        {**USER, "process.user": {"uid": 0, "gid": 11}},
        "process.user.gid: unable to setup user: invalid argument: 11 is not mapped by linux.gidMappings",
    ),
    (
        "ids are those of the container",
        {**USER, "process.user": {"uid": 0, "gid": 0, "additionalGids": [1, 12]}},
        "process.user.additionalGids[1]: unable to setup user: invalid argument: 12 is not mapped by linux.gidMappings",
    ),
    (
        "additional groups are set",
        {"process.user": {"additionalGids": list(range(8193))}},
        "process.user.additionalGids: has 8193 groups, at most 8192 are supported",
    ),
    (
        "a hook's path is absolute",
        hook(path="true"),
        'hooks.createRuntime[0].path: must be an absolute path, got "true"',
    ),
    (
        "a hook's timeout is above zero",
        hook(path="/a", timeout=0),
        "hooks.createRuntime[0].timeout: must be greater than 0, got 0",
    ),
    ("annotations have keys", {"annotations": {"a": "", "": "b"}}, "annotations: a key must not be an empty string"),
    (
        "annotations are strings",
        {"annotations": {"a": 1}},
        'annotations["a"]: expected a string, got an integer (1)',
    ),
    (
        "a namespace's path is absolute",
        {"linux.namespaces": namespaces("ipc:proc/1/ns/ipc")},
        'linux.namespaces[0].path: must be an absolute path, got "proc/1/ns/ipc"',
    ),
    (
        "namespaces are not doubled",
        {"linux.namespaces": namespaces("ipc", "pid", "ipc")},
        'linux.namespaces[2]: malformed spec file: duplicated ns "ipc"',
    ),
    (
        "a device is available",
        {"linux.devices": [{"type": "p", "path": "/a"}], **without("mount")},
        f"linux.devices: unable to make devices without a private MNT namespace: {NO_MOUNT}",
    ),
    (
        "a device has numbers",
        {"linux.devices": [{"type": "c", "path": "/a", "minor": 0}]},
        "linux.devices[0].major: missing: a device of type c has one",
    ),
    (
        "a device has numbers",
        {"linux.devices": [{"type": "b", "path": "/a", "major": 0}]},
        "linux.devices[0].minor: missing: a device of type b has one",
    ),
    (
        "a device's path is full",
        {"linux.devices": [{"type": "p", "path": "a"}]},
        'linux.devices[0].path: must be an absolute path, got "a"',
    ),
    (
        "the burst is not above the quota",
        {CPU: {"quota": 1000, "burst": 1001}},
        "linux.resources.cpu.burst: 1001 is above linux.resources.cpu.quota 1000",
    ),
    ("idle is 0 or 1", {CPU: {"idle": 2}}, "linux.resources.cpu.idle: expected 0 or 1, got 2"),
    (
        "idle is in effect",
        {CPU: {"idle": 1, "shares": 5}},
        (
            "linux.resources.cpu.idle: cannot set both cpu.idle and cpu.shares: linux.resources.cpu.shares is 5,"
            " an idle cgroup has no weight"
        ),
    ),
    (
        "a weightDevice has a weight",
        {BLOCK_IO: {"weightDevice": [{"major": 8, "minor": 0}]}},
        "linux.resources.blockIO.weightDevice[0]: must have weight or leafWeight",
    ),
    (
        "an rdma device has a limit",
        {"linux.resources.rdma": {"mlx5_0": {}}},
        'linux.resources.rdma["mlx5_0"]: must have hcaHandles or hcaObjects',
    ),
    (
        "an rdma device is a device",
        {"linux.resources.rdma": {"a b": {"hcaHandles": 1}}},
        'linux.resources.rdma["a b"]: is not the name of a device',
    ),
    (
        "unified sets files of the cgroup",
        {"linux.resources.unified": {"../memory.max": "1"}},
        'linux.resources.unified: unified resource "../memory.max" must be a file name (no slashes)',
    ),
    (
        "unified sets limits",
        {"linux.resources.unified": {"cgroup.freeze": "1"}},
        'linux.resources.unified["cgroup.freeze"]: is no limit: the runtime alone writes it',
    ),
    (
        "an action without an errno has none",
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}},
        (
            "linux.seccomp.defaultErrnoRet: linux.seccomp.defaultAction SCMP_ACT_ALLOW has none:"
            " it is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE"
        ),
    ),
    (
        "an action without an errno has none",
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 0}],
            }
        },
        (
            "linux.seccomp.syscalls[0].errnoRet: linux.seccomp.syscalls[0].action SCMP_ACT_KILL has none:"
            " it is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE"
        ),
    ),
    (
        "a seccomp rule has a name",
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_KILL"}]}},
        "linux.seccomp.syscalls[0].names: must have at least one name",
    ),
    (
        "listenerMetadata comes with listenerPath",
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}},
        "linux.seccomp.listenerMetadata: must not be set without linux.seccomp.listenerPath",
    ),
    (
        "maskedPaths are absolute",
        {"linux.maskedPaths": ["/a", "proc/kcore"]},
        'linux.maskedPaths[1]: must be an absolute path, got "proc/kcore"',
    ),
    (
        "readonlyPaths are absolute",
        {"linux.readonlyPaths": [""]},
        'linux.readonlyPaths[0]: must be an absolute path, got ""',
    ),
    (
        "rootfsPropagation is in effect",
        {"linux.rootfsPropagation": "shared", **without("mount")},
        (
            "linux.rootfsPropagation: unable to set the propagation of the root without a private MNT namespace: "
            + NO_MOUNT
        ),
    ),
    (
        "rootfsPropagation is in effect",
        {"linux.rootfsPropagation": "shared", "linux.namespaces": namespaces("mount:/proc/1/ns/mnt")},
        (
            "linux.rootfsPropagation: unable to set the propagation of the root without a private MNT namespace: "
            + JOINED
        ),
    ),
]


@pytest.mark.parametrize(("must", "changes", "error"), MUSTS)
def test_what_breaks_a_must_is_refused_with_path_value_and_what_is_allowed(
    must: str, changes: dict[str, Any], error: str
) -> None:
    """Spec: runtimes MUST generate an error when invalid or unsupported values are encountered."""
    assert refusal(changes) == f"config.json: {error}"


# A config in which each member that may stand in it once does, for the schema's lists of what is required.
WHOLE: dict[str, Any] = {
    "process.terminal": True,
    "process.consoleSize": {"height": 1, "width": 1},
    "process.ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 0},
    "process.scheduler": {"policy": "SCHED_OTHER"},
    "process.rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}],
    "hooks": {kind: [{"path": "/a"}] for kind in ("prestart", "createRuntime", "createContainer", "startContainer",
                                                 "poststart", "poststop")},
    "mounts": [{"destination": "/a", "type": "tmpfs", "uidMappings": OWN, "gidMappings": OWN}],
    **USER,
    "linux.devices": [{"type": "c", "path": "/a", "major": 1, "minor": 1}],
    "linux.resources": {
        "devices": [{"allow": True, "access": "r"}],
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        "blockIO": {
            "weightDevice": [{"major": 1, "minor": 1, "weight": 10}],
            "throttleReadBpsDevice": [{"major": 1, "minor": 1, "rate": 1}],
        },
        "network": {"priorities": [{"name": "eth0", "priority": 1}]},
    },
    "linux.seccomp": {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1,
                                                                          "op": "SCMP_CMP_EQ"}]}],
    },
    "linux.personality": {"domain": "LINUX"},
}  # fmt: skip
REQUIRED = [
    "ociVersion", "root.path", "process.cwd", "process.args", "process.consoleSize.height", "process.consoleSize.width",
    "process.ioPriority.class", "process.scheduler.policy", "process.rlimits[0].type",
    "process.rlimits[0].soft", "process.rlimits[0].hard", "hooks.prestart[0].path", "hooks.createRuntime[0].path",
    "hooks.createContainer[0].path", "hooks.startContainer[0].path", "hooks.poststart[0].path",
    "hooks.poststop[0].path", "mounts[0].destination", "mounts[0].uidMappings[0].containerID",
    "mounts[0].gidMappings[0].hostID", "mounts[0].gidMappings[0].size", "linux.namespaces[0].type",
    "linux.uidMappings[0].containerID", "linux.uidMappings[0].hostID", "linux.uidMappings[0].size",
    "linux.gidMappings[0].containerID", "linux.gidMappings[0].hostID", "linux.gidMappings[0].size",
    "linux.devices[0].type", "linux.devices[0].path", "linux.devices[0].major", "linux.devices[0].minor",
    "linux.resources.devices[0].allow", "linux.resources.hugepageLimits[0].pageSize",
    "linux.resources.hugepageLimits[0].limit", "linux.resources.blockIO.weightDevice[0].major",
    "linux.resources.blockIO.weightDevice[0].minor", "linux.resources.blockIO.throttleReadBpsDevice[0].major",
    "linux.resources.blockIO.throttleReadBpsDevice[0].minor", "linux.resources.network.priorities[0].name",
    "linux.resources.network.priorities[0].priority", "linux.seccomp.defaultAction",
    "linux.seccomp.syscalls[0].names", "linux.seccomp.syscalls[0].action", "linux.seccomp.syscalls[0].args[0].index",
    "linux.seccomp.syscalls[0].args[0].value", "linux.seccomp.syscalls[0].args[0].op", "linux.personality.domain",
]  # fmt: skip
ABSENT_TOLD_OTHERWISE = {
    "process.args": "args must not be empty",
    "process.cwd": "Cwd property must not be empty",
    "process.ioPriority.class": "invalid ioPriority.Class",
    "process.scheduler.policy": "scheduler policy is required",
    "linux.personality.domain": "invalid personality domain",
    "linux.seccomp.defaultAction": "string  is not a valid action for seccomp",
}


@pytest.mark.parametrize("path", REQUIRED)
def test_required_member_that_is_missing_is_refused_by_its_path(path: str) -> None:
    """REQUIRED, in the specification's text or its schema; null is as absent."""
    loaded(WHOLE)
    *above, last = path.replace("[", ".").replace("]", "").split(".")
    for gone in (True, False):
        config: Any = changed(json.loads(json.dumps(WHOLE)))
        place = config
        for step in above:
            place = place[int(step) if step.isdigit() else step]
        if gone:
            del place[last]
        else:
            place[last] = None
        changes = {
            key: config.get(key, ABSENT) for key in ("ociVersion", "root", "process", "hooks", "mounts", "linux")
        }
        assert refusal(changes).startswith(f"config.json: {path}: {ABSENT_TOLD_OTHERWISE.get(path, 'missing')}")


@pytest.mark.parametrize(
    "version", ["1.0.0", "1.0.2", "1.3.0", "1.99.0", "1.0.0-rc5", "1.2.0-dev+build.5", "1.3.0+dev", "1.1"]
)
def test_every_version_one_is_accepted(version: str) -> None:
    """Newer ones add fields; callers also send release candidates."""
    assert loaded({"ociVersion": version}).oci_version == version


def test_what_callers_rely_on_is_let_pass() -> None:
    """As runc does."""
    config = loaded({
        "process.capabilities": {"bounding": ["CAP_NOSUCH"]},
        "process.consoleSize": {},
        "mounts": [{"destination": "a", "type": "tmpfs"}],
        "linux.devices": [
            {"type": "c", "path": path, "major": 1, "minor": 3, "fileMode": 0o20666} for path in ("/a", "/b", "/a")
        ],
        "linux.seccomp": {},
        "linux.resources.blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0}]},
        "unknown": json.loads("[" * 50 + "]" * 50),
    })  # fmt: skip
    assert (config.process.user.uid, config.linux.devices[0].file_mode) == (0, 0o20666)
    assert len(warnings(config)) == 1
