"""process.cwd: where the process starts, a path in the container; a birth makes it if missing, an exec does not."""

from posix import strerror

from minirunc.base.errors import ConfigError, Error
from minirunc.kernel import inroot
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    if not process.cwd:
        raise ConfigError("process.cwd", "Cwd property must not be empty")
    if not process.cwd.startswith("/"):
        raise ConfigError("process.cwd", "Cwd must be an absolute path")


ENOENT, EPERM, EACCES = 2, 1, 13


def apply(cwd: str, entered: int, hand: Hand, root: int, *, make: bool) -> bool:
    """See to it that the hand is there, with `make` made if missing; `entered` is what chdir(2) answered.

    False if it takes the user's own rights to enter (a home on NFS, a private mount).
    """
    if entered == -ENOENT and make:
        fd = inroot.directory(hand, root, cwd)
        with hand.batch() as do:
            do.close(fd)
            again = do.tolerate(do.chdir(cwd))
        entered = int(again)
    if entered in (-EPERM, -EACCES):
        return False
    if entered < 0:
        raise failed(cwd, -entered)
    return True


def failed(cwd: str, errno: int) -> Error:
    """The error, in runc's words."""
    return Error(f'chdir to cwd ("{cwd}") set in config.json failed: {strerror(errno).lower()}')
