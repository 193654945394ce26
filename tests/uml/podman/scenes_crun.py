"""What Podman asks of crun and does not ask of runc: of minirunc it gets the same."""

import subprocess

from tests.ground.compare import Stage
from tests.uml.podman.scenes import RUN, podman, script


def no_cgroup(do: Stage) -> None:
    """The container stays in the cgroup that it was begun in."""
    do(*RUN, "--cgroups=disabled", *script("cat /proc/self/cgroup; ls /sys/fs/cgroup | head -3"))


def groups_kept(do: Stage) -> None:
    """The caller's groups are kept, which are not in the image."""
    words = [*RUN, "--group-add=keep-groups", *script("grep Groups /proc/self/status")]
    argv = ["setpriv", "--groups=7,4242", *podman(do).argv(words)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    do.keep(words, done.returncode, done.stdout)
