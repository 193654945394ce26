"""config/linux: checks of linux.*, with runc's words where it has some."""

import os
from pathlib import Path

import pytest

from minirunc.config.linux.sysctl import below_proc_sys, dotted
from tests.config_json import loaded, namespaces, refusal

ROOT_ONLY = [{"containerID": 0, "hostID": 1000, "size": 1}]
NAMESPACES = "linux.namespaces"
NO_USER_NS = "user namespace mappings specified, but user namespace isn't enabled in the config"


def in_user_ns(uid_mappings: object, gid_mappings: object = ROOT_ONLY) -> dict[str, object]:
    return {
        "linux.namespaces": namespaces("user", "mount"),
        "linux.uidMappings": uid_mappings,
        "linux.gidMappings": gid_mappings,
    }


def seccomp_rule(rule: dict[str, object]) -> dict[str, object]:
    return {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}


REFUSED = [
    (
        {NAMESPACES: namespaces("net")},
        (
            'linux.namespaces[0].type: namespace "net" does not exist: expected one of cgroup, ipc, mount,'
            " network, pid, time, user, uts"
        ),
    ),
    ({NAMESPACES: [{"path": "/x"}]}, "linux.namespaces[0].type: missing"),
    ({NAMESPACES: namespaces("pid", "pid")}, 'linux.namespaces[1]: malformed spec file: duplicated ns "pid"'),
    ({NAMESPACES: namespaces("ipc:x")}, 'linux.namespaces[0].path: must be an absolute path, got "x"'),
    (
        {NAMESPACES: namespaces("mount", "user")},
        (
            "linux.namespaces: user namespaces enabled, but no namespace path to join nor mappings to apply "
            "specified: linux.uidMappings and linux.gidMappings are missing"
        ),
    ),
    (
        in_user_ns([]),
        "linux.uidMappings: user namespaces enabled, but no uid mappings found: linux.namespaces has a new one",
    ),
    (
        in_user_ns(ROOT_ONLY, []),
        "linux.gidMappings: user namespaces enabled, but no gid mappings found: linux.namespaces has a new one",
    ),
    (
        in_user_ns([{"containerID": 5, "hostID": 1000, "size": 1}]),
        "linux.uidMappings: user namespaces enabled, but no mapping found for uid 0",
    ),
    ({"linux.uidMappings": ROOT_ONLY}, f'linux.uidMappings: {NO_USER_NS}: linux.namespaces has no "user"'),
    ({"linux.gidMappings": ROOT_ONLY}, f'linux.gidMappings: {NO_USER_NS}: linux.namespaces has no "user"'),
    (in_user_ns([{"containerID": 0, "hostID": 0}]), "linux.uidMappings[0].size: missing"),
    (
        in_user_ns([{"containerID": 0, "hostID": 0, "size": 0}]),
        "linux.uidMappings[0].size: must not be 0",
    ),
    (
        in_user_ns([*ROOT_ONLY, {"containerID": 5, "hostID": 2**32 - 2, "size": 2}]),
        "linux.uidMappings[1]: hostID 4294967294 and size 2 exceed 4294967294",
    ),
    (
        in_user_ns(ROOT_ONLY, [*ROOT_ONLY, {"containerID": 0, "hostID": 5, "size": 1}]),
        "linux.gidMappings[1]: overlaps an earlier range",
    ),
    (
        in_user_ns([{"containerID": 0, "hostID": 1000, "size": 10}, {"containerID": 9, "hostID": 10, "size": 1}]),
        "linux.uidMappings[1]: overlaps an earlier range",
    ),
    (
        in_user_ns([{"containerID": n, "hostID": n, "size": 1} for n in range(341)]),
        "linux.uidMappings: has 341 ranges, the kernel takes 340",
    ),
    (
        {"linux.timeOffsets": {"boottime": {"secs": 1}}},
        (
            "linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the config"
            ': linux.namespaces has no "time"'
        ),
    ),
    (
        {NAMESPACES: namespaces("time:/proc/self/ns/time"), "linux.timeOffsets": {"monotonic": {}}},
        (
            "linux.timeOffsets: time namespace enabled, but both namespace path and time offsets specified"
            " -- you may only provide one: linux.namespaces[0].path joins one"
        ),
    ),
    (
        {NAMESPACES: namespaces("time"), "linux.timeOffsets": {"realtime": {"secs": 1}}},
        'linux.timeOffsets["realtime"]: has no offset: expected boottime or monotonic',
    ),
    (
        {NAMESPACES: namespaces("time"), "linux.timeOffsets": {"boottime": {"nanosecs": 10**9}}},
        'linux.timeOffsets["boottime"].nanosecs: must be below 1000000000, got 1000000000',
    ),
    (
        {NAMESPACES: namespaces("time"), "linux.timeOffsets": {"boottime": {"secs": 2**63}}},
        (
            'linux.timeOffsets["boottime"].secs: expected an integer from -9223372036854775808'
            " to 9223372036854775807, got 9223372036854775808"
        ),
    ),
    (
        {NAMESPACES: [], "linux.maskedPaths": ["/proc/kcore"]},
        (
            "linux.maskedPaths: unable to restrict sys entries without a private MNT namespace: "
            'linux.namespaces has no "mount"'
        ),
    ),
    (
        {NAMESPACES: [], "linux.readonlyPaths": ["/proc/sys"]},
        (
            "linux.readonlyPaths: unable to restrict sys entries without a private MNT namespace: "
            'linux.namespaces has no "mount"'
        ),
    ),
    (
        {"linux.rootfsPropagation": "Shared"},
        (
            "linux.rootfsPropagation: rootfsPropagation=Shared is not supported: expected one of private, "
            "rprivate, rshared, rslave, runbindable, shared, slave, unbindable"
        ),
    ),
    (
        {"linux.devices": [{"type": "x", "path": "/dev/x"}]},
        'linux.devices[0].type: invalid device type "x": expected one of c, u, b, p',
    ),
    ({"linux.devices": [{"type": "c"}]}, "linux.devices[0].path: missing"),
    (
        {"linux.devices": [{"type": "p", "path": "/a"}, {"type": "p", "path": "b"}]},
        'linux.devices[1].path: must be an absolute path, got "b"',
    ),
    (
        {"linux.devices": [{"type": "c", "path": "/a", "major": 4096}]},
        "linux.devices[0].major: expected an integer from 0 to 4095, got 4096",
    ),
    (
        {"linux.devices": [{"type": "b", "path": "/a", "major": 1, "minor": -1}]},
        "linux.devices[0].minor: expected an integer from 0 to 1048575, got -1",
    ),
    (
        {"linux.personality": {}},
        "linux.personality.domain: invalid personality domain : expected one of LINUX, LINUX32",
    ),
    (
        {"linux.personality": {"domain": "BSD"}},
        "linux.personality.domain: invalid personality domain BSD: expected one of LINUX, LINUX32",
    ),
    (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_MAYBE"}},
        (
            "linux.seccomp.defaultAction: string SCMP_ACT_MAYBE is not a valid action for seccomp: expected "
            "one of SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, "
            "SCMP_ACT_KILL_THREAD, SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, SCMP_ACT_TRAP"
        ),
    ),
    (
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NO"}],
            }
        },
        (
            "linux.seccomp.syscalls[0].action: string SCMP_ACT_NO is not a valid action for seccomp: "
            "expected one of SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, "
            "SCMP_ACT_KILL_THREAD, SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, SCMP_ACT_TRAP"
        ),
    ),
    (
        {"linux.seccomp": {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}},
        (
            "linux.seccomp.defaultAction: string  is not a valid action for seccomp: expected one of "
            "SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, "
            "SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, SCMP_ACT_TRAP"
        ),
    ),
    (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}},
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
    ),
    (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4095}},
        "linux.seccomp.defaultErrnoRet: expected an integer from 0 to 4094, got 4095",
    ),
    (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_LOG", "X"]}},
        (
            "linux.seccomp.flags[1]: seccomp flag X is not known to runc: expected one of "
            "SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_LOG, "
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
        ),
    ),
    (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}},
        (
            "linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is for filters with SCMP_ACT_NOTIFY,"
            " which no linux.seccomp.syscalls[].action is"
        ),
    ),
    (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "x"}},
        "linux.seccomp.listenerMetadata: must not be set without linux.seccomp.listenerPath",
    ),
    (
        seccomp_rule({"names": [], "action": "SCMP_ACT_KILL"}),
        "linux.seccomp.syscalls[0].names: must have at least one name",
    ),
    (
        seccomp_rule({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}),
        (
            "linux.seccomp.listenerPath: seccomp listenerPath is not set, which linux.seccomp.syscalls[0].action"
            " SCMP_ACT_NOTIFY needs"
        ),
    ),
    (
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86", "x86"]}},
        (
            "linux.seccomp.architectures[1]: string x86 is not a valid arch for seccomp: expected one of "
            "SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, SCMP_ARCH_LOONGARCH64, SCMP_ARCH_M68K, SCMP_ARCH_MIPS, "
            "SCMP_ARCH_MIPS64, SCMP_ARCH_MIPS64N32, SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL64, "
            "SCMP_ARCH_MIPSEL64N32, SCMP_ARCH_PARISC, SCMP_ARCH_PARISC64, SCMP_ARCH_PPC, SCMP_ARCH_PPC64, "
            "SCMP_ARCH_PPC64LE, SCMP_ARCH_RISCV64, SCMP_ARCH_S390, SCMP_ARCH_S390X, SCMP_ARCH_SH, "
            "SCMP_ARCH_SHEB, SCMP_ARCH_X32, SCMP_ARCH_X86, SCMP_ARCH_X86_64"
        ),
    ),
    (
        seccomp_rule({"names": ["read", ""], "action": "SCMP_ACT_KILL"}),
        "linux.seccomp.syscalls[0].names[1]: empty string is not a valid syscall",
    ),
    (
        seccomp_rule({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536}),
        "linux.seccomp.syscalls[0].errnoRet: expected an integer from 0 to 65535, got 65536",
    ),
    (
        seccomp_rule({"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 6, "value": 0, "op": "x"}]}),
        "linux.seccomp.syscalls[0].args[0].index: expected an integer from 0 to 5, got 6",
    ),
    (
        seccomp_rule({"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 5, "value": 0, "op": "x"}]}),
        (
            "linux.seccomp.syscalls[0].args[0].op: string x is not a valid operator for seccomp: expected "
            "one of SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, "
            "SCMP_CMP_MASKED_EQ"
        ),
    ),
    (
        seccomp_rule({"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": -1, "op": "x"}]}),
        f"linux.seccomp.syscalls[0].args[0].value: expected an integer from 0 to {2**64 - 1}, got -1",
    ),
    (seccomp_rule({"names": ["read"]}), "linux.seccomp.syscalls[0].action: missing"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_is_wrong_is_named(changes: dict[str, object], message: str) -> None:
    assert refusal(changes) == f"config.json: {message}"


ACCEPTED = [
    {NAMESPACES: namespaces("pid", "network", "mount", "ipc", "uts", "cgroup", "time")},
    in_user_ns(ROOT_ONLY),
    in_user_ns([{"containerID": 0, "hostID": 0, "size": 2**32 - 1}]),
    {NAMESPACES: namespaces("user:/proc/self/ns/user", "mount"), "linux.uidMappings": ROOT_ONLY},
    {NAMESPACES: namespaces("user:/proc/self/ns/user", "mount")},
    {NAMESPACES: namespaces("time"), "linux.timeOffsets": {"boottime": {"secs": -5}, "monotonic": {}}},
    {NAMESPACES: []},
    {"linux.rootfsPropagation": "rslave"},
    {"linux.rootfsPropagation": ""},
    {"linux.devices": [{"type": "u", "path": "/dev/x", "major": 10, "minor": 229, "fileMode": 438}]},
    {"linux.devices": [{"type": "p", "path": "/dev/x", "major": -1}]},
    {"linux.cgroupsPath": "/a/b:c:d"},
    {"linux.cgroupsPath": "user.slice"},
    {"linux.personality": {"domain": "LINUX"}},
    {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
    {"linux.seccomp": {}},
    {"linux.seccomp": {"defaultAction": "SCMP_ACT_LOG", "flags": [], "listenerPath": "/no/rule/is/for/it"}},
    seccomp_rule({"names": ["nosuchcall"], "action": "SCMP_ACT_ALLOW"}),
]


@pytest.mark.parametrize("changes", ACCEPTED)
def test_what_is_right_is_accepted(changes: dict[str, object]) -> None:
    loaded(changes)


OTHERS = ("ipc", "uts", "network")
SYSCTLS = [
    ("kernel.shmmax", ("ipc",), ""),
    ("kernel/shmmax", ("ipc",), ""),
    ("kernel.shmmax", ("uts",), 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'),
    ("fs.mqueue.msg_max", ("ipc",), ""),
    ("fs.mqueue.msg_max", (), 'sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc namespace'),
    ("net.core.somaxconn", ("network",), ""),
    ("net/ipv4/conf/eth0.100/forwarding", ("network",), ""),
    ("net.core.somaxconn", (), 'sysctl "net.core.somaxconn" not allowed in host network namespace'),
    (
        "net.core.somaxconn",
        ("network:/proc/self/ns/net",),
        'sysctl "net.core.somaxconn" not allowed in host network namespace',
    ),
    ("kernel.domainname", ("uts",), ""),
    ("kernel.domainname", (), 'sysctl "kernel.domainname" is not in a separate kernel namespace'),
    (
        "kernel.hostname",
        ("uts",),
        'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field',
    ),
    (
        "user.max_user_namespaces",
        ("uts",),
        "setting ucounts without a user namespace not allowed: user.max_user_namespaces",
    ),
    ("vm.swappiness", OTHERS, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
    ("", OTHERS, 'sysctl "" is not in a separate kernel namespace'),
    ("net.../../kernel/core_pattern", ("network",), "is not the name of a sysctl"),
    ("net/../kernel/core_pattern", ("network",), "is not the name of a sysctl"),
    ("net.ipv4..", ("network",), "is not the name of a sysctl"),
]


@pytest.mark.parametrize(("name", "kinds", "why"), SYSCTLS)
def test_a_sysctl_is_set_only_in_a_namespace_of_the_container(name: str, kinds: tuple[str, ...], why: str) -> None:
    changes = {"linux.namespaces": namespaces("mount", *kinds), "linux.sysctl": {name: "1"}}
    if why:
        assert refusal(changes) == f'config.json: linux.sysctl["{name}"]: {why}'
    else:
        loaded(changes)


def test_a_user_sysctl_is_allowed_in_a_user_namespace() -> None:
    loaded(in_user_ns(ROOT_ONLY) | {"linux.sysctl": {"user.max_user_namespaces": "1"}})


def test_a_network_namespace_that_is_not_there_is_named() -> None:
    changes = {"linux.namespaces": namespaces("network:/no/such"), "linux.sysctl": {"net.a": "1"}}
    expected = "config.json: linux.namespaces: invalid netns path: stat /no/such: no such file or directory"
    assert refusal(changes) == expected


def test_a_joined_network_namespace_by_another_path_of_the_hosts_is_the_hosts(tmp_path: Path) -> None:
    link = tmp_path / "net"
    os.symlink("/proc/self/ns/net", link)
    changes = {"linux.namespaces": namespaces(f"network:{link}"), "linux.sysctl": {"net.a.b": "1"}}
    assert refusal(changes).endswith('sysctl "net.a.b" not allowed in host network namespace')


def test_the_first_separator_of_a_sysctl_says_what_the_others_mean() -> None:
    for name, dots, file in (
        ("net.ipv4.conf.eth0/100.mtu", "net.ipv4.conf.eth0/100.mtu", "net/ipv4/conf/eth0.100/mtu"),
        ("net/ipv4/conf/eth0.100/mtu", "net.ipv4.conf.eth0/100.mtu", "net/ipv4/conf/eth0.100/mtu"),
        ("plain", "plain", "plain"),
    ):
        assert (dotted(name), below_proc_sys(name)) == (dots, file)
