"""A config.json that has every member of the schema we know, and pieces to graft anywhere into one."""

from typing import Any

from tests.ground.bundle import default_config


def _everything() -> dict[str, Any]:
    config = default_config()
    config["process"] |= {
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5, 6]},
        "rlimits": [
            {"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024},
            {"type": "RLIMIT_CORE", "hard": 0, "soft": 0},
        ],
        "oomScoreAdj": 100,
        "scheduler": {"policy": "SCHED_OTHER", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0", "final": "0-1"},
    }
    config["process"]["capabilities"] |= {"inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    config["annotations"] = {"org.example": "value"}
    config["domainname"] = "example"
    hook = {"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}
    config["hooks"] = {
        kind: [dict(hook)]
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    }
    config["linux"] |= {
        "sysctl": {"net.core.somaxconn": "256", "kernel.shm_rmid_forced": "1"},
        "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
        "cgroupsPath": "/fuzz/id",
        "rootfsPropagation": "rprivate",
        "personality": {"domain": "LINUX", "flags": []},
        "timeOffsets": {"boottime": {"secs": 100, "nanosecs": 5}, "monotonic": {"secs": -1}},
        "uidMappings": [{"containerID": 0, "hostID": 0, "size": 4294967295}],
        "gidMappings": [{"containerID": 0, "hostID": 0, "size": 4294967295}],
        "resources": {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rm"},
                {"allow": True, "type": "b", "access": "m"},
            ],
            "memory": {"limit": 1 << 26, "reservation": 1 << 25, "swap": 1 << 27, "checkBeforeUpdate": True},
            "cpu": {
                "shares": 512,
                "quota": 50000,
                "period": 100000,
                "burst": 1000,
                "cpus": "0-1",
                "mems": "0",
                "idle": 0,
            },
            "pids": {"limit": 64},
            "blockIO": {
                "weight": 100,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 200}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1 << 20}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
            "rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 100}},
            "unified": {"memory.high": "100000000", "pids.max": "50"},
        },
    }
    config["linux"]["namespaces"] += [{"type": "user"}, {"type": "time"}]
    return config


EVERYTHING = _everything()
SECCOMP: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls": [
        {"names": ["read", "write", "execve", "nosuchcall"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
         "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS"},
    ],
}  # fmt: skip

GRAFTS: list[Any] = [
    {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["rw", "size=4k", "tmpcopyup"]},
    {"destination": "/mnt/../../x", "type": "bind", "source": "/", "options": ["rbind", "ro", "rnosuid", "ratime"]},
    {"destination": "/proc/self/fd", "type": "proc", "source": "proc", "options": ["remount"]},
    {"destination": "rel", "type": "cgroup2", "source": "x", "options": ["rslave", "idmap"]},
    {"type": "user", "path": "/proc/1/ns/user"},
    {"type": "mount"},
    {"containerID": 0, "hostID": 4294967295, "size": 1},
    {"containerID": 1, "hostID": 1, "size": 0},
    {"allow": True, "type": "a", "major": -1, "minor": -1, "access": "rwm"},
    {"path": "/dev/../x", "type": "b", "major": 4095, "minor": 1048575},
    {"path": "/hook", "timeout": -1},
    {"type": "RLIMIT_STACK", "soft": 2, "hard": 1},
    {"major": 1, "minor": 1, "rate": 2**64 - 1},
    "CAP_SYS_ADMIN", "ro", "rbind", "mode=1777", "A=B", "=", "/proc/../..", "net/ipv4/../../x", "0-65536", "", "\x00",
    2**64, -1, 0, None, True, [], {}, 1.5, ["a"], {"a": "b"},
]  # fmt: skip

# By the name of a member: what may well stand there, to be changed to by `adjusted`.
WORDS: dict[str, list[str]] = {
    "destination": [
        "/mnt", "/a/b/c", "/dev/x/y", "/proc/cpuinfo", "/proc/sys", "/sys/fs/cgroup/x", "/etc/passwd", "/bin/../lib",
        "relative", "/", "/dev/console", "/tmp", "/proc", "/dev", "/sys", "/a b\n", "/é",
    ],
    "type": ["tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind", "none", "", "c", "b", "p", "u",
             "pid", "user", "time", "mount", "network", "cgroup", "ipc", "uts", "nosuch", "RLIMIT_CORE"],
    "source": ["/dev/null", "rootfs/etc", "rootfs/etc/passwd", "none", "tmpfs", "/nosuch"],
    "options": [
        "bind", "rbind", "ro", "rw", "nosuid", "suid", "nodev", "noexec", "rprivate", "rshared", "rslave", "unbindable",
        "private", "remount", "size=4k", "mode=700", "tmpcopyup", "rro", "rnosuid", "ratime", "rstrictatime", "noatime",
        "relatime", "nosymfollow", "gid=5", "newinstance", "silent", "lazytime", "nosuchoption", "uid=5", "idmap", "",
    ],
    "path": ["/dev/x", "/dev/null", "/a/b", "dev/y", "/bin/true", "/bin/false", "/nosuch", "rootfs", "/dev"],
    "bounding": ["CAP_SYS_ADMIN", "CAP_SETPCAP", "CAP_CHOWN", "CAP_NOSUCH", "ALL"],
    "cwd": ["/tmp", "/a/b", "/etc/passwd", "/proc/self/fd/3", "/nosuch/../bin", "/root"],
    "args": ["sh", "/bin/true", "nosuch", "/etc/passwd", "", "/bin"],
    "env": ["A=b", "PATH=/bin", "HOME=", "PATH=", "A=", "A=c=d"],
    "maskedPaths": ["/proc/kcore", "/etc/passwd", "/etc", "/nosuch", "/proc", "/dev/null", "/", "a", "/bin/../etc"],
    "rootfsPropagation": ["", "private", "rprivate", "shared", "rshared", "slave", "unbindable", "runbindable"],
    "policy": ["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR", "SCHED_DEADLINE", "SCHED_ISO"],
    "class": ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE", "IOPRIO_CLASS_NONE"],
    "domain": ["LINUX", "LINUX32", "linux", ""],
    "hostname": ["", "x" * 64, "a.b", "\n"],
    "defaultAction": ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_TRACE", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", ""],
    "architectures": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X", "SCMP_ARCH_RISCV64", "SCMP_ARCH_MIPS", "SCMP_ARCH_NO"],
    "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_NO"],
    "names": ["openat2", "socketcall", "open", "clone3", "", "read ", "x32_nothing", "é", "futex_waitv"],
    "op": ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_GE", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_XX"],
    "access": ["r", "rwm", "m", "x", ""],
}  # fmt: skip
WORDS["action"] = WORDS["defaultAction"]
WORDS["readonlyPaths"] = WORDS["maskedPaths"]
for _set in ("effective", "permitted", "inheritable", "ambient"):
    WORDS[_set] = WORDS["bounding"]
