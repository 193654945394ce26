"""process.apparmorProfile: the AppArmor profile the process changes to at its execve. Not supported yet."""

from minirunc.config import unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    if process.apparmor_profile:
        raise unsupported("process.apparmorProfile")
