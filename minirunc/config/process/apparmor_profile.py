"""process.apparmorProfile: the AppArmor profile the process has from its execve on (apparmor(7))."""

from minirunc.base.errors import ConfigError, Error, SyscallError
from minirunc.kernel import lsm
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

UNCONFINED = "unconfined"
ENOENT = 2


def check(process: "Process") -> None:
    """To be unconfined is what a process is without AppArmor, too."""
    if process.apparmor_profile != UNCONFINED and not lsm.apparmor():
        why = "apparmor failed to apply profile: AppArmor is not enabled on this host"
        raise ConfigError("process.apparmorProfile", why)


def apply(profile: str, proc: int, hand: Hand) -> None:
    """Have the kernel change to it at the next execve; raises Error if it is not loaded."""
    if profile == UNCONFINED and not lsm.apparmor():
        return
    errno = lsm.ask(hand, proc, "apparmor/exec", f"exec {profile}")
    why = "unable to apply apparmor profile: apparmor failed to apply profile"
    if errno == ENOENT:
        raise Error(f'{why}: "{profile}" is not loaded')
    if errno:
        error = SyscallError("write", f'"/proc/thread-self/attr/apparmor/exec", "exec {profile}"', errno)
        error.add_note(why)
        raise error
