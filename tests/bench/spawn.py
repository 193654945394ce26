"""Starting a command and taking its figures: posix_spawn and wait4, nothing else inside the clock."""

import ctypes
import os
import signal
import time
from resource import struct_rusage
from types import FrameType

from .stats import Sample

PR_SET_CHILD_SUBREAPER = 36
LIMIT_S = 30.0  # a command that takes longer has hung
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


class Failed(Exception):
    """A measured command ended with an error: its words, on one line."""


def become_subreaper() -> None:
    """Orphans come to us: created containers, reaped at once, and what `Spawner.small` starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def usage_of(usage: struct_rusage, wall_ns: int = 0) -> Sample:
    return Sample(wall_ns / 1e6, (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_maxrss / 1024)


def reap(pid: int) -> Sample:
    """What the dead process `pid` took, if it is ours to reap."""
    try:
        return usage_of(os.wait4(pid, 0)[2])
    except ChildProcessError:
        return Sample()


class Spawner:
    """Starts commands with no input, no output, and errors in a file that is read only when one fails."""

    def __init__(self, busybox: str, errors_file: str) -> None:
        self.busybox = busybox
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.errors = os.open(errors_file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        signal.signal(signal.SIGALRM, self._hung)

    def times(self, argv: list[str]) -> Sample:
        """Wall and CPU time of one command.

        The peak is worthless here: at exec the resident set of the process that spawned goes into the new
        one's ru_maxrss (fs/exec.c: exec_mmap), and a harness in Python is bigger than a small runtime.
        """
        os.ftruncate(self.errors, 0)
        actions = self._stdio()
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        begin = time.perf_counter_ns()
        pid = os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=actions, setsigdef=[signal.SIGPIPE])
        status, usage = self._wait(pid, argv)
        end = time.perf_counter_ns()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._check(status, argv)
        return usage_of(usage, end - begin)

    def small(self, argv: list[str]) -> Sample:
        """Peak memory of one command, started by a static shell of about one MiB; its times are worthless.

        The shell's child waits until the shell is reaped and it has become our own child, then execs.
        """
        os.ftruncate(self.errors, 0)
        script = '{ read -r go <&4; exec "$@" 3>&- 4<&-; } & echo $! >&3'
        told, tell = os.pipe2(os.O_CLOEXEC)
        wait, go = os.pipe2(os.O_CLOEXEC)
        try:
            actions = [*self._stdio(), (os.POSIX_SPAWN_DUP2, tell, 3), (os.POSIX_SPAWN_DUP2, wait, 4)]
            shell = [self.busybox, "sh", "-c", script, "sh", *argv]
            signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
            started = os.posix_spawn(self.busybox, shell, ENVIRONMENT, file_actions=actions)
            self._wait(started, argv)
            pid = int(os.read(told, 32))
            os.write(go, b"\n")
            status, usage = self._wait(pid, argv)
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            for fd in (told, tell, wait, go):
                os.close(fd)
        self._check(status, argv)
        return usage_of(usage)

    def _stdio(self) -> list[tuple[int, int, int]]:
        return [
            (os.POSIX_SPAWN_DUP2, self.null, 0),
            (os.POSIX_SPAWN_DUP2, self.null, 1),
            (os.POSIX_SPAWN_DUP2, self.errors, 2),
        ]

    def _wait(self, pid: int, argv: list[str]) -> tuple[int, struct_rusage]:
        try:
            _, status, usage = os.wait4(pid, 0)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise Failed(f"{' '.join(argv)}: not done after {LIMIT_S:.0f} s") from None
        return status, usage

    def _check(self, status: int, argv: list[str]) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            words = os.pread(self.errors, 4096, 0).decode(errors="replace").split()
            raise Failed(f"{' '.join(argv)}: exit status {code}: {' '.join(words)[-300:]}")

    @staticmethod
    def _hung(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError
