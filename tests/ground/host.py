"""All on this host that containers may add to, before and after."""

import os
import re
import time
from pathlib import Path

from tests.ground import bpf, leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Runtime, wait_until

OTHERS = re.compile(r"[0-9a-f]{8}")  # in the names of cgroups of tests that somebody runs beside us
TIDIED = ("units", "device programs")  # by others, in their time


class Host:
    """What is on this host now that containers may add to."""

    def __init__(self, minirunc: Runtime, bundle: Bundle) -> None:
        self.token = minirunc.token
        self.directories = (minirunc.root, bundle.path)

    def now(self) -> dict[str, set[str]]:
        """The things by their kind."""
        return {
            "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
            "processes": {f"{pid} {stat}" for pid, stat in descendants().items()},
            "cgroups": set(self._cgroups()),
            "files": {file for directory in self.directories for file in tree(directory)},
            "file locks": self._locks(),
            "units": set(leftovers.units(self.token)),
            # Those of the kernel's other users come and go: only where there are none.
            "device programs": set(map(str, bpf.loaded())) if IN_UML else set(),
        }

    def _cgroups(self) -> list[str]:
        return [top for top in leftovers.all_cgroups() if self.token in top or not OTHERS.search(top)]

    def _locks(self) -> set[str]:
        """Inode numbers of files that are locked (proc_locks(5)) below the state root."""
        locked = {line.split()[-3].rpartition(":")[2] for line in Path("/proc/locks").read_text().splitlines()}
        return locked & {str(directory.stat().st_ino) for directory in self.directories if directory.exists()}


def descendants() -> dict[int, str]:
    """Our children and theirs, living or dead: the pids and what they are called."""
    found: dict[int, str] = {}
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            head, _, tail = Path(f"/proc/{name}/stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(name)] = (int(tail.split()[1]), head.partition("(")[2])
    wanted = {os.getpid()}
    while more := {pid for pid, (parent, _) in parents.items() if parent in wanted} - found.keys():
        found |= {pid: parents[pid][1] for pid in more}
        wanted = more
    return found


def tree(directory: Path) -> list[str]:
    """Everything below a directory: path, mode, owner and number of links."""
    found = []
    for top, directories, files in os.walk(directory):
        for name in [*directories, *files]:
            entry = os.lstat(f"{top}/{name}")
            found.append(f"{top}/{name} {entry.st_mode:o} {entry.st_uid}:{entry.st_gid} {entry.st_nlink}")
    return found


def nothing_new(host: Host, before: dict[str, set[str]]) -> None:
    """As it was before, when the dead, detached and so left to us, are waited for."""
    wait_until(lambda: not leftovers.alive(set(descendants_in(before))), "no further child lives", 5)
    now = host.now()
    patience = time.monotonic() + 10  # the kernel frees a program, and systemd forgets a unit, when they come to it
    while not settled(now, before) and time.monotonic() < patience:
        time.sleep(0.05)
        now = host.now()
    for kind, things in before.items():
        assert sorted(now[kind] - things) == [], kind
        assert kind in TIDIED or sorted(things - now[kind]) == [], kind


def descendants_in(snapshot: dict[str, set[str]]) -> list[int]:
    """The pids of a snapshot's processes."""
    return [int(line.split()[0]) for line in snapshot["processes"]]


def settled(now: dict[str, set[str]], before: dict[str, set[str]]) -> bool:
    """Whether what others are to tidy up is gone."""
    return all(now[kind] <= before[kind] for kind in TIDIED)


def dying_cgroups() -> int:
    """How many were removed and are kept by the kernel for what still refers to them (cgroup.stat)."""
    text = (leftovers.cgroup2_mounts()[0] / "cgroup.stat").read_text()
    return int(dict(line.split() for line in text.splitlines())["nr_dying_descendants"])


def open_files() -> int:
    """How many open files the whole machine has (proc_sys_fs(5))."""
    return int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
