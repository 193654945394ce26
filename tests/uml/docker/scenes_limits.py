"""What depends on cgroups, and so on who makes them: limits, their change, statistics, pause, out of memory."""

from tests.ground.compare import Scene, Stage
from tests.uml.docker.scenes import STATE

FILES = "memory.max memory.low memory.swap.max cpu.max cpu.weight pids.max io.max cgroup.freeze"
LIMITS = ["sh", "-c", f"cd /sys/fs/cgroup; grep -s . {FILES}; cat /proc/self/cgroup"]
FORKS = "for i in $(seq 50); do sleep 2 >/dev/null 2>&1 & done"
STATS = ["stats", "--no-stream", "--format={{.Name}} {{.MemUsage}}"]


def limits(do: Stage) -> None:
    """As given, as updated, and as they are after a restart; paused."""
    few = ["--memory=64m", "--memory-reservation=32m", "--cpus=0.5", "--cpu-shares=2", "--pids-limit=30"]
    disk = ["--device-write-bps=/dev/loop0:1mb", "--device-read-iops=/dev/loop0:100"]
    do("run", "--detach", "--name=box1", *few, *disk, "box", "sleep", "1000")
    do("exec", "box1", *LIMITS)
    more = ["--memory=96m", "--memory-swap=160m", "--cpus=0.7", "--cpu-shares=262144", "--pids-limit=40"]
    do("update", *more, "box1")
    do("exec", "box1", *LIMITS)
    do(*STATS, "box1")
    do("exec", "box1", "sh", "-c", FORKS)
    do("pause", "box1")
    do("inspect", STATE, "box1")
    do("exec", "box1", "true")
    do("unpause", "box1")
    do("unpause", "box1")
    do("restart", "--time=0", "box1")
    do("exec", "box1", *LIMITS)
    do("pause", "box1")
    do("rm", "--force", "box1")
    do("run", "--rm", "--cgroupns=host", "box", "cat", "/proc/self/cgroup")


def memory(do: Stage) -> None:
    """Out of it, another than the first process. Not at once: containerd begins to look after a start has returned."""
    script = "exec 2>&1; sleep 1; tail /dev/zero; echo $?; sleep 1"
    do("run", "--name=box1", "--memory=16m", "box", "sh", "-c", script)
    do("inspect", STATE, "box1")


def memory_of_the_first(do: Stage) -> None:
    """Out of it, the first process. (With systemd its cgroup may be gone before containerd has looked.)"""
    do("run", "--name=box1", "--memory=16m", "box", "sh", "-c", "sleep 1; exec tail /dev/zero")
    do("inspect", STATE, "box1")


BOTH: list[Scene] = [limits, memory]
ALL: list[Scene] = [*BOTH, memory_of_the_first]
