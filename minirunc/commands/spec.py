"""`spec`: a config.json to begin with, the same as runc's, member for member and in its order."""

from posix import O_CLOEXEC, O_CREAT, O_EXCL, O_WRONLY, getegid, geteuid, unlink
from posix import open as open_fd

from minirunc.base import seams
from minirunc.base.errors import Error
from minirunc.base.version import SPEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.base.settings import Settings

Json = dict[str, object]

_FILE = "config.json"
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
_MASKED = (
    *("acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug"),
    *("/sys/firmware", "scsi"),
)
_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")  # below /proc
# destination, type, source, options
_MOUNTS = (
    ("/proc", "proc", "proc", ""),
    ("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
    ("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
    ("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
)
_ROOTLESS_SYS = ("/sys", "none", "/sys", "rbind nosuid noexec nodev ro")  # sysfs is for who owns the network


def spec(settings: "Settings", *, bundle: str, file: str, rootless: bool) -> int:  # noqa: ARG001 - every command gets them
    """Write config.json into the bundle directory; one that is there is left alone."""
    name = file or _FILE
    path = f"{bundle}/{name}" if bundle and name[0] != "/" else name
    try:
        fd = open_fd(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Error(f"File {name} exists. Remove it first") from None  # runc's words
    try:
        with open(fd, "w") as written:
            written.write(seams.json().dumps(document(rootless=rootless), indent="\t"))
    except OSError:
        unlink(path)  # half a file would be in the way of the next try
        raise
    return 0


def document(*, rootless: bool) -> Json:
    """The starter's members: `sh` on a terminal in a read-only root with few capabilities."""
    return {
        "ociVersion": SPEC,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            # neither inheritable nor ambient: a program that drops root keeps nothing (CVE-2022-29162)
            "capabilities": {
                "bounding": _CAPABILITIES,
                "effective": _CAPABILITIES,
                "permitted": _CAPABILITIES,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "minirunc",
        "mounts": _mounts(rootless=rootless),
        "linux": _linux(rootless=rootless),
    }


def _mounts(*, rootless: bool) -> list[Json]:
    """The mounts; without root no gid but one's own can be named, and sysfs is bound."""
    mounts: list[Json] = []
    for row in _MOUNTS:
        destination, kind, source, words = _ROOTLESS_SYS if rootless and row[0] == "/sys" else row
        options = [word for word in words.split() if not (rootless and word.startswith("gid="))]
        mount: Json = {"destination": destination, "type": kind, "source": source}
        mounts.append({**mount, "options": options} if options else mount)
    return mounts


def _linux(*, rootless: bool) -> Json:
    """Namespaces, and either all devices refused or, without root, no limits and one's ids mapped to 0."""
    head: Json = {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}
    namespaces = list(_NAMESPACES)
    if rootless:
        head = {
            "uidMappings": [{"containerID": 0, "hostID": geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": getegid(), "size": 1}],
        }
        namespaces.remove("network")
        namespaces.append("user")
    return {
        **head,
        "namespaces": [{"type": kind} for kind in namespaces],
        "maskedPaths": [name if name[0] == "/" else f"/proc/{name}" for name in _MASKED],
        "readonlyPaths": [f"/proc/{name}" for name in _READ_ONLY],
    }
