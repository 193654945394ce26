"""The ground: packages where missing, root, and a mount namespace of our own with pure cgroup v2."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
OUTSIDE = "MINIRUNC_BENCH_OUTSIDE"  # names the mount namespace we came from
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# program: Debian package
PACKAGES = {"runc": "runc", "crun": "crun", "busybox": "busybox-static", "linux.uml": "user-mode-linux"}


class NoGround(Exception):
    """The benchmark cannot run here: why, on one line."""


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def find(program: str) -> str | None:
    """Debian's program first: PATH may begin with somebody's own build."""
    return shutil.which(program, path=SEARCH) or shutil.which(program)


def install_missing(programs: list[str]) -> None:
    """Get Debian's packages for programs that are not there; what cannot be got is said and left out."""
    for program in programs:
        if find(program):
            continue
        package = PACKAGES[program]
        say(f"{program} is missing: installing Debian's package {package}")
        # --no-remove: runc is also part of Docker's own packages, which conflict with Debian's
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "--no-remove", package]
        try:
            done = subprocess.run([*_sudo(), *command], capture_output=True, text=True, check=False)
            problem = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] if done.returncode else []
        except OSError as error:
            problem = [str(error)]
        if not find(program):
            say(f"cannot get {package}: {' '.join(problem) or 'the package has no such program'}")


def _sudo() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo"]


def enter(arguments: list[str]) -> None:
    """Start this program again as root in a private mount namespace; returns only if this is it already."""
    here = os.readlink("/proc/self/ns/mnt")
    outside = os.environ.get(OUTSIDE)
    if outside is not None:
        if outside == here:
            raise NoGround("still in the host's mount namespace: not touching its mounts")
        return
    again = ["unshare", "--mount", "--propagation", "private", "env", f"{OUTSIDE}={here}"]
    command = [*_sudo(), *again, sys.executable, "-m", "tests.bench", *arguments]
    if find(command[0]) is None:
        raise NoGround("needs root, and there is no sudo here" if command[0] == "sudo" else "there is no unshare here")
    os.chdir(REPO)
    os.execvp(command[0], command)


def _mount(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoGround(f"{' '.join(command)}: {done.stderr.strip()}")


def prepare() -> Path:
    """Mount cgroup2, and the tmpfs for roots and bundles that is returned; both end with this process."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    if " shared:" in mountinfo:
        raise NoGround("this mount namespace shares its mounts with another: not touching them")
    mounted = [line.split()[4] for line in mountinfo.splitlines()]
    if "/sys/fs/cgroup" in mounted:
        _mount("umount", "--recursive", "/sys/fs/cgroup")
    _mount("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
    # runtimes keep their state on /run, a tmpfs; and a tmpfs of this namespace leaves nothing behind
    work = Path(tempfile.mkdtemp(prefix="minirunc-bench-"))
    _mount("mount", "-t", "tmpfs", "-o", "mode=0700", "minirunc-bench", str(work))
    return work


def clean(work: Path) -> None:
    subprocess.run(["umount", "--lazy", str(work)], check=False)
    work.rmdir()
