"""What containers may leave behind: directories, processes, cgroups, mounts, units; minirunc is not asked."""

import os
import subprocess
import time
from pathlib import Path

import prctl


def become_subreaper() -> None:
    """Adopt the orphans among our descendants: a process left by a container is our child, and is found."""
    prctl.set_child_subreaper(True)


def children() -> set[int]:
    """The pids of our children, living or not yet waited for."""
    us = os.getpid()
    return {pid for pid in _pids() if _parent(pid) == us}


def processes(before: set[int]) -> list[str]:
    """Our children that were not there before and live: told and killed. The dead ones are waited for."""
    patience = time.monotonic() + 1  # one that has just been killed may still be on its way out
    while (living := alive(before)) and time.monotonic() < patience:
        time.sleep(0.01)
    left = [f"process {pid}: {_command(pid)}" for pid in living]
    for pid in living:
        os.kill(pid, 9)
    # All together: the first process of a pid namespace ends when the others there have been waited for.
    while alive(before):
        time.sleep(0.01)
    return left


def alive(before: set[int]) -> list[int]:
    """Our children that were not there before, but for the dead, which are waited for."""
    return [pid for pid in sorted(children() - before) if os.waitpid(pid, os.WNOHANG)[0] == 0]


def state_directories(root: Path) -> set[str]:
    """The container ids that have a directory below the state root."""
    try:
        return {entry.name for entry in root.iterdir() if entry.is_dir() and ":" not in entry.name}
    except FileNotFoundError:
        return set()


def cgroups(token: str) -> list[str]:
    """The v2 cgroups with the token in their name: told and, where that is possible, removed."""
    left = []
    for directory in cgroup_directories(token):
        left.append(f"cgroup {directory}")
        try:
            os.rmdir(directory)
        except OSError as error:
            left.append(f"which cannot be removed: {error.strerror}")
    return left


def cgroup_directories(token: str) -> list[str]:
    """The v2 cgroups with the token in their name, innermost first."""
    return [directory for directory in all_cgroups() if token in directory]


def all_cgroups() -> list[str]:
    """The directories of all v2 cgroups, innermost first."""
    found = waiting = list(map(str, cgroup2_mounts()))
    while waiting:  # os.walk is recursive, and there are tests that nest them without end
        below = []
        for directory in waiting:
            try:
                with os.scandir(directory) as entries:
                    below += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError:  # it is just being removed, or too deep for a path
                continue
        found = below + found
        waiting = below
    return found


def units(token: str) -> list[str]:
    """The units of systemd, if it runs here, with the token in their name, failed ones too."""
    if not Path("/run/systemd/system").exists():
        return []
    command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", f"*{token}*"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [f"unit {line}" for line in listed.splitlines()]


def mounts(below: Path) -> list[str]:
    """The mounts in our mount namespace that touch a directory of the test's."""
    return [f"mount {line}" for line in _mountinfo() if f"{below}/" in line]


def host_mounts(directory: Path) -> list[str]:
    """The mounts in our mount namespace, without those that tests beside us make in their directories."""
    return [line for line in _mountinfo() if "/pytest-" not in line or f"{directory}/" in line]


def cgroup2_mounts() -> list[Path]:
    """Where cgroup2 is mounted."""
    lines = [line.split() for line in _mountinfo()]
    return [Path(words[4]) for words in lines if words[words.index("-") + 1] == "cgroup2"]


def _mountinfo() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int:
    try:
        # The command name in parentheses may hold anything, so count from its end.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"
