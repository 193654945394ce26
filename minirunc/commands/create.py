"""`create`: a container whose process waits for `start`."""

from minirunc.base.settings import Settings
from minirunc.commands.run import born


def create(
    settings: Settings,
    container_id: str,
    *,
    bundle: str,
    config: str,
    console_socket: str,
    pidfd_socket: str,
    pid_file: str,
    no_pivot: bool,
    no_new_keyring: bool,
    preserve_fds: int,
    no_subreaper: bool,  # noqa: ARG001 - crun's, also here
) -> int:
    """Make it; the pid file is written last, when all is there."""
    birth = born(
        settings,
        container_id,
        bundle=bundle,
        config=config,
        console_socket=console_socket,
        waits=True,
        preserve_fds=preserve_fds,
        no_pivot=no_pivot,
        no_new_keyring=no_new_keyring,
    )
    birth.commit(console_socket, pidfd_socket, pid_file)
    return 0
