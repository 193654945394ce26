"""annotations: passed on to `state`, `list` and hooks; those in HONOURED change what the runtime does, as in crun.

Each is read where it acts, by its name. `features` lists them as unsafe: who passes on what less trusted users wrote
is to strip them.
"""

from minirunc.base import log
from minirunc.base.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirunc.config import Config

CONTEXTS = ("context", "fscontext", "defcontext", "rootcontext")  # mount(8), "Mounting with SELinux"

_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_POD = "io.kubernetes.cri.container-type"


def _any(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001 - every annotation's check gets both
    return ""


def _path(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001
    return "" if value else "must be a path"


def _context(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001
    known = value in CONTEXTS
    return "" if known else f'invalid mount context type "{value}" (must be one of: {", ".join(CONTEXTS)})'


def _below(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001
    if ".." in value.split("/"):
        return f'invalid ".." component in delegate-cgroup "{value}"'
    return "must name a cgroup below the container's" if value and not value.strip("/.") else ""


def _handler(value: str, annotations: dict[str, str]) -> str:
    """A pod's sandbox is an ordinary process whatever the handler (as in crun)."""
    if not value or annotations.get(_POD) == "sandbox":
        return ""
    return f'there is no handler "{value}"; take the annotation out to have an ordinary process, or use crun'


def _version_1(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001
    return "cgroup v1 is not used; take the annotation out to have cgroup v2, or use crun"


def _receiver(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001
    return "" if value.startswith("/") else f'the seccomp receiver "{value}" is not an absolute path'


def _plugins(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001
    return "there are no seccomp plugins; have an agent listen at linux.seccomp.listenerPath, or use crun"


def _bpf(value: str, annotations: dict[str, str]) -> str:  # noqa: ARG001
    """The kernel looks at the instructions themselves."""
    from binascii import Error, a2b_base64

    try:
        length = len(a2b_base64(value, strict_mode=True))
    except (Error, ValueError) as error:
        return f"invalid seccomp BPF data: not base64: {str(error).lower()}"
    if not length or length % 8 or length > 8 * _MOST_INSTRUCTIONS:
        return f"invalid seccomp BPF data: has {length} bytes, not 8 for each of 1 to {_MOST_INSTRUCTIONS} instructions"
    return ""


# What changes what the runtime does, and how a value is checked: a function that says what is wrong with it.
HONOURED: "dict[str, Callable[[str, dict[str, str]], str]]" = {
    "run.oci.delegate-cgroup": _below,
    "run.oci.handler": _handler,
    "run.oci.hooks.stderr": _path,
    "run.oci.hooks.stdout": _path,
    "run.oci.keep_original_groups": _any,
    "run.oci.mount_context_type": _context,
    "run.oci.pidfd_receiver": _path,
    "run.oci.seccomp.plugins": _plugins,
    "run.oci.seccomp.receiver": _receiver,
    "run.oci.seccomp_bpf_data": _bpf,
    "run.oci.seccomp_fail_unknown_syscall": _any,
    "run.oci.systemd.force_cgroup_v1": _version_1,
}

# What other runtimes act on, by name or, ending in ".", by how the name begins, and why it is without effect here.
WITHOUT_EFFECT = {
    "bundle": "the bundle is --bundle",
    "krun.": "there is no krun handler",
    "module.wasm.image/variant": "there is no WebAssembly handler",
    "org.criu.": "there is no checkpoint",
    "run.oci.systemd.subgroup": "the process is in the scope itself, as with runc; there is run.oci.delegate-cgroup",
    "run.oci.": "it is not known",
}

# Of the container's unit, where the systemd driver makes it: unit_properties().
PROPERTY = "org.systemd.property."

# Listed by `features`: systemd runs what some of the last say, as root (CVE-2024-3154).
UNSAFE = (*HONOURED, PROPERTY)


def check(config: "Config") -> None:
    """The values of those that are honoured; a debug line for each that other runtimes would act on."""
    for name, value in config.annotations.items():
        says = HONOURED.get(name)
        if says is None:
            if log.debugging():
                _tell(name)
            continue
        wrong = says(value, config.annotations) or _unfit(value)
        if wrong:
            raise ConfigError(f'annotations["{name}"]', wrong)


def _unfit(value: str) -> str:
    """Annotations may hold anything, but no system call takes this."""
    try:
        return "contains a NUL byte" if b"\0" in value.encode("utf-8", "surrogateescape") else ""
    except UnicodeEncodeError:
        return "contains half of a surrogate pair"


def _tell(name: str) -> None:
    if name.startswith(PROPERTY):
        log.debug(f"annotation {name} is for the systemd cgroup driver")
    for start, why in WITHOUT_EFFECT.items():
        if name == start or (start.endswith(".") and name.startswith(start)):
            log.debug(f"annotation {name} has no effect: {why}")
            return


def unit_properties(annotations: dict[str, str]) -> list[tuple[str, str, object]]:
    """Those for the container's unit: (name, D-Bus signature, value), in words of runc's. Raises ConfigError."""
    found = []
    for name, value in annotations.items():
        if name.startswith(PROPERTY):
            where, what = f'annotations["{name}"]', name.removeprefix(PROPERTY)
            wrong = "" if what.isascii() and what.isalpha() else "contains non-alphabetic character"
            if wrong := "too short" if len(what) < 3 else wrong:
                raise ConfigError(where, f"annotation {name} name incorrect: {wrong}")
            try:
                found.append(_property(what, value))
            except ValueError as error:
                raise ConfigError(where, f"annotation {name}={value} value parse error: {error}") from None
    return found


def _property(name: str, text: str) -> tuple[str, str, object]:
    """What a unit's file has in seconds as TimeoutStopSec, D-Bus has in microseconds as TimeoutStopUSec."""
    from minirunc.base import gvariant

    kind, value = gvariant.parse(text)
    stem = name.removesuffix("Sec")
    if stem == name or not stem[-1:].islower():
        return name, kind, value
    if kind not in "ynqiuxtd":
        raise ValueError("not a number")
    if not 0 <= value * 1000000 < 2**64:
        raise ValueError("out of range")
    return f"{stem}USec", "t", int(value * 1000000)
