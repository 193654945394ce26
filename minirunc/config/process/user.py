"""process.user: set inside, after the groups and before execve."""

from struct import pack

from minirunc.base.errors import ConfigError, SyscallError
from minirunc.base.record import Record, UInt32
from minirunc.kernel import procfs
from minirunc.kernel.constants import PR_SET_DUMPABLE, PR_SET_KEEPCAPS
from minirunc.kernel.hand import Batch
from minirunc.kernel.syscalls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

KEPT: list[int] = []  # as additional_gids, this very list: no setgroups(2) (annotation run.oci.keep_original_groups)

_NO_ID = 2**32 - 1  # "leave as it is" to setuid(2) and its kin
_GROUPS = 8192  # of the kernel's 65536 (NGROUPS_MAX): they have to fit into a batch beside all else


class User(Record):
    uid: UInt32 = 0
    gid: UInt32 = 0
    umask: UInt32 | None
    additional_gids: list[UInt32] = []


def check(process: "Process") -> None:
    """Whether the ids are mapped in the container's user namespace is for the kernel to say."""
    user = process.user
    for name, value in (("uid", user.uid), ("gid", user.gid)):
        if value == _NO_ID:
            raise ConfigError(f"process.user.{name}", f"{_NO_ID} is not an id")
    if _NO_ID in user.additional_gids:
        where = f"process.user.additionalGids[{user.additional_gids.index(_NO_ID)}]"
        raise ConfigError(where, f"{_NO_ID} is not an id")
    if len(user.additional_gids) > _GROUPS:
        why = f"has {len(user.additional_gids)} groups, at most {_GROUPS} are supported"
        raise ConfigError("process.user.additionalGids", why)
    if user.umask is not None and user.umask > 0o777:
        raise ConfigError("process.user.umask", f"must be at most 511 (octal 777), got {user.umask}")


def keep_groups(annotations: dict[str, str], user: User) -> None:
    """Leave the caller's supplementary groups to the process, if an annotation says so."""
    if annotations.get("run.oci.keep_original_groups", "0") != "0":
        user.additional_gids = KEPT


def assume(user: User, do: Batch) -> Fd:
    """Become the user for a while, keeping the way back: effective ids only. Returns setgroups(2)'s, to be checked."""
    groups = _setgroups(user, do)
    do.setresgid(-1, user.gid, -1)
    do.setresuid(-1, user.uid, -1)
    if user.uid or user.gid:
        hide(do)
    return groups


def check_groups(groups: Fd, pid: int) -> None:
    """None were asked for, and the caller's are still there: right only where nobody may change them."""
    if int(groups) < 0 and procfs.read(f"{pid}/setgroups") != "deny\n":
        raise SyscallError("setgroups", "0, NULL", -int(groups))


def give_back(do: Batch) -> None:
    """Undo `assume`."""
    do.setresuid(-1, 0, -1)
    do.setresgid(-1, 0, -1)
    hide(do)


def be_root(do: Batch) -> None:
    """Become root of the user namespace that was entered."""
    do.setresgid(0, 0, 0)
    do.setresuid(0, 0, 0)
    hide(do)


def hide(do: Batch) -> None:
    """Changed ids, and another's user namespace, make it as dumpable as fs.suid_dumpable says: take it back."""
    do.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def apply(user: User, do: Batch) -> None:
    """The ids for good; before the capabilities, which PR_SET_KEEPCAPS carries over."""
    do.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    _setgroups(user, do)
    do.setresgid(user.gid, user.gid, user.gid)
    do.setresuid(user.uid, user.uid, user.uid)
    if user.uid or user.gid:
        hide(do)  # while no tracer inside has all that is still permitted


def _setgroups(user: User, do: Batch) -> Fd:
    gids = user.additional_gids
    if gids is KEPT:
        return 0
    setting = do.setgroups(pack(f"<{len(gids)}I", *gids), len(gids))
    if not gids:
        do.tolerate(setting)  # a user namespace made without privilege denies it (user_namespaces(7))
    return setting
