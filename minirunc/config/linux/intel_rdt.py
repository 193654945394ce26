"""linux.intelRdt: the resctrl group that the container's processes are in, and one that measures them; from outside.

Made by a birth before there is a process, joined by each process before its execve, removed by `delete` as far as it is
named after the container. Not run on a machine with RDT so far: the tests have an emulated resctrl.
"""

from minirunc.base import log
from minirunc.base.errors import ConfigError, Error
from minirunc.base.record import Record
from minirunc.kernel.resctrlfs import NotMounted, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config

_WHERE = "linux.intelRdt"
_KERNELS = ("info", "mon_data", "mon_groups")  # directories beside the groups
_LONGEST = 255  # bytes of a name
_DECIMAL = ("MB", "SMBA")  # the others have masks
_FAILED = "unable to apply Intel RDT configuration"


class IntelRdt(Record):
    NAMES = {"clos_id": "closID"}
    clos_id: str = ""  # "/" is the default group; none is one named after the container
    schemata: list[str] = []
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_monitoring: bool = False


def check(config: "Config") -> None:
    """Values, whether this machine can, and whether a group that exists is what is asked for."""
    rdt = config.linux.intel_rdt
    if rdt is None:
        return
    lines = [("closID", rdt.clos_id), ("memBwSchema", rdt.mem_bw_schema)]
    lines += [(f"schemata[{index}]", line) for index, line in enumerate(rdt.schemata)]
    for member, line in lines:
        if "\n" in line:
            raise ConfigError(f"{_WHERE}.{member}", "must not contain newlines")
    name = rdt.clos_id
    if name != "/" and ("/" in name or name in (".", "..", *_KERNELS) or len(name.encode()) > _LONGEST):
        why = f'invalid intelRdt.ClosID "{name}": the name of a directory, or "/" for the default group'
        raise ConfigError(f"{_WHERE}.closID", why)
    if rdt.mem_bw_schema and not rdt.mem_bw_schema.startswith("MB:"):
        raise ConfigError(f"{_WHERE}.memBwSchema", f'must start with "MB:", got "{rdt.mem_bw_schema}"')
    try:
        with Tree() as tree:
            _check_kernel(rdt, tree)
            if rdt.clos_id:
                _check_existing(rdt, tree)
    except NotMounted as missing:
        why = f"intelRdt is specified in config, but Intel RDT is not enabled: {missing}; or remove it from config.json"
        raise ConfigError(_WHERE, why) from None


def _check_kernel(rdt: IntelRdt, tree: Tree) -> None:
    for value, name, what, kinds in (
        (rdt.l3_cache_schema, "l3CacheSchema", "Intel RDT/CAT", ("L3", "L3CODE")),
        (rdt.mem_bw_schema, "memBwSchema", "Intel RDT/MBA", ("MB",)),
        (rdt.enable_monitoring, "enableMonitoring", "monitoring", ("L3_MON",)),
    ):
        if value and not any(tree.has(f"/info/{kind}") for kind in kinds):
            why = f"intelRdt.{name} is specified in config, but {what} is not enabled: no info/{kinds[0]} in resctrl"
            raise ConfigError(f"{_WHERE}.{name}", why)


def _check_existing(rdt: IntelRdt, tree: Tree) -> None:
    path = _group(rdt, "")
    if not tree.has(path):
        if not _lines(rdt):
            why = "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty)"
            raise ConfigError(f"{_WHERE}.closID", f'{why}: no group "{rdt.clos_id}" in resctrl')
        return
    try:
        has = _values(tree.read(f"{path}/schemata"))
        step = int(tree.read("/info/MB/bandwidth_gran")) or 1 if rdt.mem_bw_schema else 1
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_WHERE}.closID", f'"{rdt.clos_id}" is not to be read: {error}') from None
    for name, line in (("l3CacheSchema", rdt.l3_cache_schema), ("memBwSchema", rdt.mem_bw_schema)):
        for key, wanted in _values(line).items():
            up = -(-wanted // step) * step if key[0] in _DECIMAL and isinstance(wanted, int) else wanted
            if has.get(key) not in (wanted, up):  # the kernel rounds bandwidths up
                line = line.replace("\n", "\\n")
                why = f'"{line}" is not what the existing group of linux.intelRdt.closID "{rdt.clos_id}" has: {key[0]}:'
                raise ConfigError(f"{_WHERE}.{name}", f"{why}{key[1]}={_shown(key[0], has.get(key))}")


def _values(schemata: str) -> "dict[tuple[str, str], int | str]":
    """The values of lines like `L3:0=7f0;1=1f`, by resource and domain; leading zeros do not count."""
    found: dict[tuple[str, str], int | str] = {}
    for line in schemata.split("\n"):
        resource, _, rest = line.strip().partition(":")
        for part in rest.split(";"):
            domain, equals, value = part.strip().partition("=")
            if equals:
                number: int | str = value
                try:
                    number = int(value, 10 if resource in _DECIMAL else 16)
                except ValueError:
                    pass  # the kernel's to refuse
                found[resource, domain.lstrip("0") or "0"] = number
    return found


def _shown(resource: str, value: "int | str | None") -> str:
    if value is None:
        return "nothing"
    return f"{value:x}" if isinstance(value, int) and resource not in _DECIMAL else str(value)


def _group(rdt: IntelRdt, container_id: str) -> str:
    return "/" if rdt.clos_id == "/" else f"/{rdt.clos_id or container_id}"


def _monitoring(rdt: IntelRdt, container_id: str) -> str:
    return f"{_group(rdt, container_id).rstrip('/')}/mon_groups/{container_id}"


def _lines(rdt: IntelRdt) -> list[str]:
    """What is written to `schemata`, in the specification's order.

    Before 1.3 of it the bandwidth could stand in l3CacheSchema, too; memBwSchema wins.
    """
    l3 = rdt.l3_cache_schema.split("\n")
    if rdt.mem_bw_schema:
        l3 = [line for line in l3 if not line.startswith("MB:")]
    return [line for line in (*l3, rdt.mem_bw_schema, *rdt.schemata) if line]


def own(rdt: IntelRdt, container_id: str) -> list[str]:
    """The groups that are named after the container, and end with it."""
    group = [] if rdt.clos_id else [_group(rdt, container_id)]
    return [*group, _monitoring(rdt, container_id)] if rdt.enable_monitoring else group


def measured(rdt: IntelRdt, container_id: str) -> tuple[str, str]:
    """The group the container is in, and where its use is measured: that group, with all who are in it, or its own."""
    group = _group(rdt, container_id)
    return group, _monitoring(rdt, container_id) if rdt.enable_monitoring else group


def intent(rdt: IntelRdt, container_id: str) -> list[str]:
    """The groups that `apply` will make, for the record. One that monitors is the container's even if it is there."""
    group = _group(rdt, container_id)
    if group.strip("/") in _KERNELS:
        raise ConfigError(f"{_WHERE}.closID", f"must be given: a group cannot be named {container_id}")
    with Tree() as tree:
        made = [] if tree.has(group) or rdt.clos_id == container_id else [group]
    return [*made, _monitoring(rdt, container_id)] if rdt.enable_monitoring else made


def apply(rdt: IntelRdt, container_id: str, pid: int, made: list[str]) -> None:
    """Make the groups, say what may be used in them, put the process in.

    What somebody else was quicker to make is taken from `made`.
    """
    group = _group(rdt, container_id)
    with Tree() as tree:
        try:
            if not tree.make(group) and group in made:
                made.remove(group)
            if lines := _lines(rdt):
                _write_schemata(tree, group, lines)
            if rdt.enable_monitoring:
                tree.make(_monitoring(rdt, container_id))
        except OSError as error:
            raise Error(f"{_FAILED}: {group}: {tree.why(error)}") from None
        _join(tree, rdt, container_id, pid)


def _write_schemata(tree: Tree, group: str, lines: list[str]) -> None:
    try:
        tree.write(f"{group}/schemata", "".join(f"{line}\n" for line in lines))
    except OSError as error:
        why = f'{_FAILED}: intelrdt: unable to write "{", ".join(lines)}": {tree.why(error)}'
        raise ConfigError(_WHERE, why) from None


def check_update(rdt: IntelRdt | None, l3_cache_schema: str, mem_bw_schema: str) -> None:
    """Whether `update` can set these. Raises Error in runc's words."""
    for schema, kinds, why in (
        (l3_cache_schema, ("L3", "L3CODE"), "Intel RDT/CAT: l3 cache schema is not enabled"),
        (mem_bw_schema, ("MB",), "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ):
        if not schema:
            continue
        try:
            with Tree() as tree:
                if not any(tree.has(f"/info/{kind}") for kind in kinds):
                    raise Error(f"{why}: no info/{kinds[0]} in resctrl")
        except NotMounted as missing:
            raise Error(f"{why}: {missing}") from None
    if rdt is None:
        raise Error("updating a non-existent Intel RDT configuration is not supported: config.json has no intelRdt")
    if mem_bw_schema and (not mem_bw_schema.startswith("MB:") or "\n" in mem_bw_schema):
        raise Error(f'--mem-bw-schema: must be one line that starts with "MB:", got {mem_bw_schema!r}')


def rewrite(rdt: IntelRdt, container_id: str, lines: list[str]) -> list[str]:
    """Other schemata for the group of a container that exists; returns what it had."""
    group = _group(rdt, container_id)
    with Tree() as tree:
        try:
            was = tree.read(f"{group}/schemata")
        except OSError as error:
            raise Error(f"{_FAILED}: {group}: {tree.why(error)}") from None
        _write_schemata(tree, group, lines)
    return was.rstrip("\n").split("\n")


def join(rdt: IntelRdt, container_id: str, pid: int) -> None:
    """Put another process in, of exec; without groups that are gone, as the container's own processes are by then."""
    group = _group(rdt, container_id)
    with Tree() as tree:
        if tree.has(group):
            _join(tree, rdt, container_id, pid)
        else:
            log.warning(f"the resctrl group {group} is gone: process {pid} is not limited by it")


def _join(tree: Tree, rdt: IntelRdt, container_id: str, pid: int) -> None:
    try:
        tree.write(f"{_group(rdt, container_id)}/tasks", str(pid))
        if rdt.enable_monitoring:  # takes only who is in the group it is part of
            tree.write(f"{_monitoring(rdt, container_id)}/tasks", str(pid))
    except OSError as error:
        raise Error(f"{_FAILED}: intelrdt: unable to add pid {pid}: {tree.why(error)}") from None


def undo(made: list[str], container_id: str) -> None:
    """Remove what is named after the container; or, if it was not born (no `container_id`), all that nobody uses.

    A group that was made under its closID may have others in it by then.
    """
    try:
        with Tree() as tree:
            for path in reversed(made):
                if path.endswith(f"/{container_id}") if container_id else not tree.in_use(path):
                    _remove(tree, path)
    except NotMounted as missing:  # all groups went with the mount
        log.warning(f"resctrl groups are not removed: {missing}")


def _remove(tree: Tree, path: str) -> None:
    try:
        tree.remove(path)
    except OSError as error:
        raise Error(f"unable to remove container's IntelRDT group: {path}: {tree.why(error)}") from None
