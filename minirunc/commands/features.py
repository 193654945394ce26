"""`features`: what this runtime supports, as features.md of the spec puts it, read from the working tables."""

import sys

from minirunc.base import seams
from minirunc.base.errors import Error, SyscallError
from minirunc.base.version import SPEC, SPEC_OLDEST, VERSION, commit
from minirunc.config import IGNORED, UNSUPPORTED
from minirunc.config.annotations import UNSAFE
from minirunc.config.hooks import Hooks
from minirunc.config.linux import memory_policy, seccomp
from minirunc.config.linux.namespaces import FLAGS
from minirunc.config.mounts.options import EXTENSIONS, IDMAP, OF_THE_FILE_SYSTEM, PROPAGATION, RECURSIVE, WORDS
from minirunc.config.process.capabilities import NAMES
from minirunc.kernel.seccomp import Library
from minirunc.kernel.syscalls import local

_EFAULT = 14

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.base.settings import Settings


def features(settings: "Settings") -> int:  # noqa: ARG001 - every command gets them
    """Print them as JSON and nothing else: containerd reads all of stdout."""
    sys.stdout.write(seams.json().dumps(document(), indent=4) + "\n")
    return 0


def document() -> dict[str, object]:
    """The members, in the order of features.md."""
    annotations = {"minirunc.version": VERSION, "org.opencontainers.runc.checkpoint.enabled": "false"}
    try:
        library: Library | None = Library()
    except Error:
        library = None  # without it no filter can be had
    if library:
        annotations["io.github.seccomp.libseccomp.version"] = library.version()
    known = commit()
    if known:
        annotations["minirunc.commit"] = known
    return {
        "ociVersionMin": SPEC_OLDEST,
        "ociVersionMax": SPEC,
        "hooks": list(Hooks.fields),
        "mountOptions": sorted({*WORDS, *OF_THE_FILE_SYSTEM, *PROPAGATION, *RECURSIVE, *EXTENSIONS, *IDMAP}),
        "linux": {
            "namespaces": sorted(FLAGS),
            "capabilities": list(NAMES),
            "cgroup": {
                "v1": False,
                "v2": True,
                "systemd": True,
                "systemdUser": True,
                "rdma": _does("linux.resources.rdma"),
            },
            "seccomp": _seccomp(library) if library else {"enabled": False},
            "apparmor": {"enabled": _does("process.apparmorProfile")},
            "selinux": {"enabled": _does("process.selinuxLabel")},
            "intelRdt": {
                "enabled": _does("linux.intelRdt"),
                "schemata": _does("linux.intelRdt.schemata"),
                "monitoring": _does("linux.intelRdt.enableMonitoring"),
            },
            "memoryPolicy": {"modes": sorted(memory_policy.MODES), "flags": sorted(memory_policy.FLAGS)},
            "mountExtensions": {"idmap": {"enabled": _does("mounts[].uidMappings")}},
            "netDevices": {"enabled": _does("linux.netDevices")},
        },
        "annotations": dict(sorted(annotations.items())),
        "potentiallyUnsafeConfigAnnotations": sorted(UNSAFE),
    }


def _seccomp(library: Library) -> dict[str, object]:
    """What a filter may ask for, with this libseccomp on this kernel."""
    return {
        "enabled": True,
        "actions": sorted(name for name, word in seccomp.ACTIONS.items() if _kernel_does(word)),
        "operators": sorted(seccomp.OPERATORS),
        "archs": [name for name in seccomp.ARCHITECTURES if library.architecture(name)],
        "knownFlags": list(seccomp.FLAGS),
        "supportedFlags": [name for name, flag in seccomp.FLAGS.items() if _kernel_knows(flag)],
    }


def _kernel_does(action: int) -> bool:
    """SECCOMP_GET_ACTION_AVAIL."""
    try:
        local().call("seccomp", 2, 0, action.to_bytes(4, sys.byteorder))
    except SyscallError:
        return False
    return True


def _kernel_knows(flag: int) -> bool:
    """Whether seccomp(2) gets as far as the filter, of which there is none: EFAULT."""
    try:
        local().seccomp(1, flag | seccomp.NEW_LISTENER, None)
    except SyscallError as error:
        return error.errno == _EFAULT
    return False


def _does(where: str) -> bool:
    """Whether what stands at this JSON path is done: neither it nor what it is in is refused or ignored."""
    steps = where.split(".")
    paths = {".".join(steps[: end + 1]) for end in range(len(steps))}
    return not paths & {*UNSUPPORTED, *IGNORED}
