"""mounts[].uidMappings, gidMappings and the options `idmap`, `ridmap`: the ids of a mount's files are others inside.

    hand       open_tree or fsmount: a mount that is attached nowhere yet
    a 2nd hand unshare(CLONE_NEWUSER); outside its maps are written and its namespace opened, then it ends
    outside    mount_setattr(MOUNT_ATTR_IDMAP) on the mount: only the owner of the file system may
    hand       attaches it

Imported only for containers that have such a mount. Sources: mount_setattr(2), user_namespaces(7).
"""

from posix import O_CLOEXEC, O_RDONLY, close, geteuid, strerror
from posix import open as posix_open

from minirunc.base.errors import ConfigError, Error, SyscallError
from minirunc.config import IDMapping, check_mappings
from minirunc.kernel import procfs
from minirunc.kernel.constants import AT_EMPTY_PATH, AT_RECURSIVE, CLONE_NEWUSER, MOUNT_ATTR_IDMAP
from minirunc.kernel.hand import Hand
from minirunc.kernel.syscalls import Words, local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config
    from minirunc.config.mounts import Mount
    from minirunc.config.mounts.options import Options
    from minirunc.config.mounts.target import Job, Place

EPERM, EINVAL = 1, 22
_BOTH = "id-mapped mounts must have both uid and gid mappings specified"
_KINDS = ("uid", "gid")
_DIGITS = 10  # of an id, which has 32 bits


def check(config: "Config", mount: "Mount", options: "Options", where: str) -> None:
    """Whether the mappings are some that the kernel takes; which file systems it takes is seen when it is asked."""
    listed = (("uidMappings", mount.uid_mappings), ("gidMappings", mount.gid_mappings))
    named = f"{where}.options" if options.idmap else f"{where}.{'uid' if mount.uid_mappings else 'gid'}Mappings"
    if geteuid() != 0:
        raise ConfigError(named, "id-mapped mounts are not supported for rootless containers")
    if options.remount:
        raise ConfigError(named, "the id mapping of a mount that is there cannot be changed: not with remount")
    explicit = _explicit(options.idmap, f"{where}.options")
    user = config.linux.namespace("user")
    if explicit:
        if mount.uid_mappings or mount.gid_mappings:
            raise ConfigError(f"{where}.options", f"{options.idmap}: the mount has mappings already")
        if user is None and any(relative for triplets in explicit.values() for relative, _ in triplets):
            raise ConfigError(f"{where}.options", f"{options.idmap}: @ is relative to a user namespace, there is none")
    elif mount.uid_mappings or mount.gid_mappings:
        for name, mappings in listed:
            if not mappings:
                raise ConfigError(f"{where}.{name}", _BOTH)
            check_mappings(f"{where}.{name}", mappings)
    elif user is None:
        raise ConfigError(f"{where}.options", _BOTH)


def apply(tree: int, job: "Job", place: "Place") -> None:
    """Map the ids of the hand's mount `tree`, which is not attached; with ridmap, of those below it, too."""
    namespace = _namespace(job, place)
    ours = place.hand.receive_fd(tree)
    try:
        recursive = AT_RECURSIVE if job.options.idmap.startswith("ridmap") else 0
        local().mount_setattr(ours, "", AT_EMPTY_PATH | recursive, Words(MOUNT_ATTR_IDMAP, 0, 0, namespace))
    except SyscallError as error:
        if error.errno == EINVAL:
            error.message += f": {_file_system(job)} cannot be id-mapped on this kernel"
        elif error.errno == EPERM:
            error.message += f": {_file_system(job)} is not ours to map, or its mount is id-mapped already"
        raise
    finally:
        close(ours)


def _file_system(job: "Job") -> str:
    mount, options = job.mount, job.options
    which = f'the file system of "{mount.source}"' if options.bind else f'the file system "{mount.type}"'
    return f"{which}, or one mounted below it," if options.idmap.startswith("ridmap") and options.recursive else which


def _namespace(job: "Job", place: "Place") -> int:
    """An fd of a user namespace with the mount's mappings; `place` keeps one of each kind and closes it."""
    maps = _maps(job, place)
    if maps not in place.user_namespaces:
        place.user_namespaces[maps] = _make(*maps)
    return place.user_namespaces[maps]


def _make(uid_map: str, gid_map: str) -> int:
    """By a process that lives as long as it takes to open its namespace."""
    hand = Hand()
    try:
        with hand.batch() as do:
            do.unshare(CLONE_NEWUSER)
        for kind, text in (("uid", uid_map), ("gid", gid_map)):
            try:
                procfs.write_id_map(hand.pid, kind, text)
            except OSError as error:
                shown = text.rstrip("\n").replace("\n", "#").replace(" ", "-")
                raise Error(f"{kind} mappings {shown}: {strerror(error.errno or 0).lower()}") from None
        return posix_open(f"/proc/{hand.pid}/ns/user", O_RDONLY | O_CLOEXEC)
    finally:
        hand.kill()


def _maps(job: "Job", place: "Place") -> tuple[str, str]:
    """The lines of uid_map and gid_map: ids of the file system, the host's ids they become, how many."""
    explicit = _explicit(job.options.idmap, "options")
    if job.mount.uid_mappings:
        return _text(job.mount.uid_mappings), _text(job.mount.gid_mappings)
    # As its namespace has them, so that it makes no difference whether it is new or joined.
    container = {kind: procfs.read(f"{place.hand.pid}/{kind}_map") for kind in _KINDS}
    if explicit:
        container = {kind: _text(_absolute(explicit[kind], container[kind])) for kind in _KINDS}
    if not all(container.values()):
        raise Error(f"{_BOTH}: those of the user namespace are not")
    return container["uid"], container["gid"]


def _text(mappings: list[IDMapping]) -> str:
    return "".join([f"{m.container_id} {m.host_id} {m.size}\n" for m in mappings])


def _explicit(word: str, where: str) -> "dict[str, list[tuple[bool, IDMapping]]]":
    """crun's `idmap=uids=0-1000-10#20-2000-5;gids=@0-5-1`: ids of the file system, of the host, how many; with @
    ids of the container instead of the host's. Returns per kind (is it relative, the mapping); none without `=`.
    """
    found: dict[str, list[tuple[bool, IDMapping]]] = {}
    _, _, text = word.partition("=")
    for part in text.split(";") if text else ():
        name, _, triplets = part.partition("=")
        if name not in ("uids", "gids") or name[:-1] in found:
            raise ConfigError(where, f'{word}: "{part}" is not uids=... or gids=..., each once')
        found[name[:-1]] = [_triplet(triplet, f"{where}: {word}") for triplet in triplets.split("#")]
    if found and len(found) != len(_KINDS):
        raise ConfigError(where, _BOTH)
    for kind, mappings in found.items():
        if not any(relative for relative, _ in mappings):
            check_mappings(f"{where}: {word}: {kind}s", [mapping for _, mapping in mappings])
    return found


def _triplet(text: str, where: str) -> "tuple[bool, IDMapping]":
    words = text.removeprefix("@").split("-")
    if len(words) != 3 or not all(word.isascii() and word.isdigit() and len(word) <= _DIGITS for word in words):
        raise ConfigError(where, f'"{text}" is not FROM-TO-SIZE')
    first, second, size = map(int, words)
    return text.startswith("@"), IDMapping(container_id=first, host_id=second, size=size)


def _absolute(triplets: "list[tuple[bool, IDMapping]]", container: str) -> list[IDMapping]:
    """With the host's ids, which are those of the container by the lines of its uid_map or gid_map."""
    ranges = [tuple(map(int, line.split())) for line in container.splitlines()]
    for relative, mapping in triplets:
        if not relative:
            continue
        first, size = mapping.host_id, mapping.size
        for inside, outside, count in ranges:
            if inside <= first and first + size <= inside + count:
                mapping.host_id += outside - inside
                break
        else:
            raise Error(f"@{mapping.container_id}-{first}-{size} is not in one range of the container's mappings")
    return [mapping for _, mapping in triplets]
