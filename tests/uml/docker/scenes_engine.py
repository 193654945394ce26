"""Containers that live longer than the engine, and users who are others outside."""

import signal
from pathlib import Path

from tests.ground.compare import Scene, Stage
from tests.uml.docker.engine import Docker
from tests.uml.docker.scenes import STATE, WAITS

LIVES = ["sh", "-c", WAITS]
ENDS = ["sh", "-c", "until test -e /end; do sleep 0.1; done; exit 9"]


def restart_of_the_engine(do: Stage) -> None:
    """Of dockerd and its containerd, once as it should be, once by SIGKILL; one container ends meanwhile."""
    assert isinstance(do.engine, Docker)
    do("run", "--detach", "--name=lives", "--memory=64m", "box", *LIVES)
    do("run", "--detach", "--name=paused", "box", "sleep", "1000")
    do("run", "--detach", "--name=ends", "box", *ENDS)
    do("pause", "paused")
    root = do.quietly("inspect", "--format={{.GraphDriver.Data.MergedDir}}", "ends").strip()
    for number in (signal.SIGTERM, signal.SIGKILL):
        do.until("started", "logs", "lives")
        do.engine.stop(number)
        if number == signal.SIGTERM:
            Path(root, "end").touch()
        do.engine.start()
        do.until("exited 9", "inspect", STATE, "ends")
        do("ps", "--format={{.Names}} {{.Status}}")
        do("exec", "lives", "cat", "/sys/fs/cgroup/memory.max", "/proc/1/comm")
        do("kill", "--signal=HUP", "lives")
        do.until("hup", "logs", "lives")
    do("update", "--memory=96m", "lives")
    do("exec", "lives", "cat", "/sys/fs/cgroup/memory.max")
    do("stop", "lives")
    do("unpause", "paused")
    do("rm", "--force", "paused")
    do("start", "lives")
    do.until("(?s)stopped.*started", "logs", "lives")
    do("ps", "--all", "--format={{.Names}} {{.Status}}")


def remapped(do: Stage) -> None:
    """With userns-remap: root inside is nobody outside."""
    do("run", "--rm", "--volume=named:/named", "box", "sh", "-c", f"touch /named/made; ls -ln /named; {OUTSIDE}; show")
    look = "touch /data/made 2>&1; ls -ln /data"
    do("run", "--rm", "--volume=/run/share:/data", "--user=1000", "box", "sh", "-c", look)
    do("run", "--rm", "--userns=host", "box", "show")
    do("run", "--rm", "--privileged", "box", "true")
    do("run", "--rm", "--pid=host", "box", "true")
    do("run", "--detach", "--name=box1", "--read-only", "--tmpfs=/tmp", "box", "sleep", "1000")
    do("exec", "box1", "sh", "-c", f"{OUTSIDE}; touch /tmp/made /made; id")
    do.terminal("exec", "-it", "box1", "sh", "-c", "tty; ls -ln $(tty) | cut -c1-40")
    do("run", "--rm", "--pid=container:box1", "--ipc=container:box1", "box", "sh", "-c", f"ps -o user,args; {OUTSIDE}")


OUTSIDE = "exec 2>&1; cat /proc/self/uid_map /proc/self/gid_map"
SURVIVAL: list[Scene] = [restart_of_the_engine]
REMAPPED: list[Scene] = [remapped]
