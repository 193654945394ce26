"""linux.readonlyPaths: paths bound onto themselves and made read-only; the last mounts."""

from minirunc.base.errors import ConfigError, SyscallError
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
from minirunc.kernel.hand import Hand
from minirunc.kernel.syscalls import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config import Config


def check(config: "Config") -> None:
    """Without a mount namespace of its own the container would change the host's mounts."""
    if config.linux.namespace("mount") is None:
        why = "unable to restrict sys entries without a private MNT namespace"
        raise ConfigError("linux.readonlyPaths", why)
    for index, path in enumerate(config.linux.readonly_paths):
        if not path.strip("/."):
            raise ConfigError(f"linux.readonlyPaths[{index}]", f'"{path}" is the root itself: set root.readonly')


ENOENT, ENOTDIR = 2, 20


def apply(readonly_paths: list[str], root: int, hand: Hand) -> None:
    """Bind each onto itself, read-only with all that is mounted below; other flags stay. What is not there is left."""
    if not readonly_paths:
        return
    with hand.batch() as do:
        tries = []
        for in_root in readonly_paths:
            target = do.tolerate(inroot.openat2(do, root, in_root))
            flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
            tree = do.tolerate(do.open_tree(target, "", flags))
            steps = [tree]
            words = Words(MOUNT_ATTR_RDONLY, 0, 0, 0)
            steps.append(do.tolerate(do.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, words)))
            move = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
            steps.append(do.tolerate(do.move_mount(tree, "", target, "", move)))
            do.tolerate(do.close(tree))
            do.tolerate(do.close(target))
            tries.append((in_root, target, steps))
    for in_root, target, steps in tries:
        if int(target) in (-ENOENT, -ENOTDIR):
            continue
        for name, result in zip(("openat2", "open_tree", "mount_setattr", "move_mount"), [target, *steps], strict=True):
            if int(result) < 0:
                raise SyscallError(name, f'"{in_root}", to be read-only', -int(result))
