"""linux.readonlyPaths: paths bound onto themselves and made read-only; the last mounts."""

from minirunc.base.errors import ConfigError, SyscallError
from minirunc.config import need_namespace
from minirunc.kernel import inroot
from minirunc.kernel.constants import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
)
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.syscalls import Fd, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    """Without a mount namespace of its own the container would change the host's mounts."""
    why = "unable to restrict sys entries without a private MNT namespace"
    need_namespace(config, "mount", "linux.readonlyPaths", why)
    for index, path in enumerate(config.linux.readonly_paths):
        if not path.startswith("/"):
            raise ConfigError(f"linux.readonlyPaths[{index}]", f'must be an absolute path, got "{path}"')
        if not path.strip("/."):
            raise ConfigError(f"linux.readonlyPaths[{index}]", f'"{path}" is the root itself: set root.readonly')


ENOENT, EAGAIN, ENOTDIR = 2, 11, 20


def apply(readonly_paths: list[str], tree: inroot.Tree, hand: Hand) -> None:
    """Bind each onto itself, read-only with all that is mounted below; other flags stay. What is not there is left."""
    if not readonly_paths:
        return
    with hand.batch() as do:
        tries = [(path, _bind(do.tolerate(inroot.openat2(do, *tree.at(path))), do)) for path in readonly_paths]
    for in_root, results in tries:
        if int(results[0]) == -EAGAIN:
            found = inroot.find(hand, *tree.at(in_root))
            if found >= 0:
                with hand.batch() as do:
                    results = _bind(found, do)
            else:
                results = [found]
        if int(results[0]) in (-ENOENT, -ENOTDIR):
            continue
        for name, result in zip(("openat2", "open_tree", "mount_setattr", "move_mount"), results, strict=False):
            if int(result) < 0:
                raise SyscallError(name, f'"{in_root}", to be read-only', -int(result))


def _bind(target: Fd, do: Batch) -> list[Fd]:
    """What became of the target and of each step."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
    copy = do.tolerate(do.open_tree(target, "", flags))
    words = Words(MOUNT_ATTR_RDONLY, 0, 0, 0)
    made = do.tolerate(do.mount_setattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE, words))
    move = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    moved = do.tolerate(do.move_mount(copy, "", target, "", move))
    do.tolerate(do.close(copy))
    do.tolerate(do.close(target))
    return [target, copy, made, moved]
