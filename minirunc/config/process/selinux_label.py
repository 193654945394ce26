"""process.selinuxLabel: the SELinux context the process has from its execve on, and its session keyring."""

from minirunc.base.errors import ConfigError, Error, SyscallError
from minirunc.kernel import lsm
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

EINVAL = 22


def check(process: "Process") -> None:  # noqa: ARG001 - every field's check gets it
    """Not ignored where there is no SELinux: the container would be less safe than it says."""
    if not lsm.selinux():
        why = "selinux label is specified in config, but selinux is disabled or not supported"
        raise ConfigError("process.selinuxLabel", why)


def apply(label: str, proc: int, hand: Hand) -> None:
    """Have the kernel change to it at the next execve, and give it to keyrings made until then; raises Error."""
    for attribute in ("exec", "keycreate"):
        errno = lsm.ask(hand, proc, attribute, label)
        if errno == EINVAL:
            raise Error(f'can\'t set process label: "{label}" is not a context of the loaded policy')
        if errno:
            error = SyscallError("write", f'"/proc/thread-self/attr/{attribute}", "{label}"', errno)
            error.add_note("can't set process label")
            raise error
