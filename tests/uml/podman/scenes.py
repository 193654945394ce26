"""What a user of Podman does: a function a scene, in few calls, as Podman needs a second to start here.

Each scene's container has the scene's name: none is removed but by a scene that shows it.
"""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.ground.compare import Stage
from tests.ground.notify import Manager, sender
from tests.uml.podman.engine import IMAGE, Podman

# What a container sees of itself; of mounts all but their ids and the device numbers.
LOOK = """exec 2>&1
id; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status; cat /proc/self/oom_score_adj; ulimit -a
env | sort; pwd; ls -l /dev | cut -c1-40; ls /proc/self/fd; cut -d' ' -f4- /proc/self/mountinfo | sort
cat /proc/self/cgroup /proc/sys/net/ipv4/ping_group_range; """
LIMITS = """cd /sys/fs/cgroup; for file in memory.max memory.low memory.high memory.swap.max cpu.max pids.max
do echo $file $(cat $file); done; """
RUN = ("run", "--rm", "--network=none")
START = ("run", "--detach", "--network=none", "--stop-timeout=0")
STATE = "--format={{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Error}} {{.OCIRuntime}}"


def podman(do: Stage) -> Podman:
    """The Podman of this stage."""
    assert isinstance(do.engine, Podman)
    return do.engine


def script(text: str) -> Sequence[str]:
    """The image, and the command line of its shell."""
    return (IMAGE, "sh", "-c", text)


def container(do: Stage, name: str, *words: str) -> None:
    """One that runs, which nobody looks at yet."""
    do.quietly(*START, f"--name={name}", *words)


def shared(do: Stage) -> Path:
    """A directory of the host for this engine's containers."""
    directory = podman(do).directory / "shared"
    directory.mkdir(exist_ok=True)
    return directory


def run(do: Stage) -> None:
    """In the foreground: what it sees, its status, its input."""
    do(*RUN, "--hostname=here", *script(LOOK))
    do(*RUN, "--interactive", *script("wc -c; sleep 0.1; echo err >&2; kill -9 $$; exit 42"), input="some bytes")


def run_with_options(do: Stage) -> None:
    """Much of what `run` can be asked for, in one."""
    options = """
        --read-only --user=1000:100 --group-add=7 --cap-drop=ALL --cap-add=NET_RAW --security-opt=no-new-privileges
        --env=ONE=1 --workdir=/tmp --hostname=named --add-host=other:10.1.2.3 --umask=0027 --network=none --name=options
        --ulimit=nofile=100:200 --ulimit=core=0 --shm-size=1m --tmpfs=/scratch:size=64k,mode=1777 --oom-score-adj=100
        --device=/dev/null:/dev/zip:r --label=a=b --annotation=c=d
        --memory=32m --memory-reservation=16m --memory-swap=48m --cpus=0.5 --pids-limit=50
        --cgroup-conf=memory.high=20971520 --mount=type=tmpfs,destination=/other,tmpfs-size=4096,ro --init
    """
    words = [*options.split(), "--sysctl=net.ipv4.ping_group_range=1 2"]
    look = "cat /etc/hosts; hostname; df /dev/shm /scratch; touch /x /scratch/y; ps -o user,comm; "
    look += "cat /dev/zip; echo >/dev/zip; "
    do("run", "--rm", *words, *script(LOOK + look + LIMITS))


def privileged(do: Stage) -> None:
    """All rights, the host's namespaces."""
    names = ("pid", "ipc", "uts", "cgroup", "net", "user", "mnt")
    for name in names:
        (shared(do) / name).write_text(os.readlink(f"/proc/self/ns/{name}"))
    host = ("--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host", "--network=host")
    same = f"for n in {' '.join(names)}; do test $(readlink /proc/self/ns/$n) = $(cat /shared/$n); echo $n $?; done; "
    look = "exec 2>&1; grep -E '^(Cap|Seccomp:)' /proc/self/status; ls -d /dev/loop-control; cat /proc/1/comm; "
    look += "grep -E ' /(proc|sys)' /proc/self/mountinfo | cut -d' ' -f5- | sort; "
    do("run", "--rm", "--privileged", *host, f"--volume={shared(do)}:/shared", *script(look + same))


def in_background(do: Stage) -> None:
    """Its logs, its end, what is said of it."""
    container(do, "back", *script("echo out; sleep 0.1; echo err >&2; read line; exit 3"))
    do("wait", "back")
    do("logs", "back")
    do("inspect", STATE, "back")
    do("start", "--attach", "back")


def created(do: Stage) -> None:
    """Made, made ready, started."""
    do.quietly("create", "--network=none", "--name=created", "--init", *script("echo begun; sleep 1000"))
    do("init", "created")
    do("exec", "created", "true")
    do("start", "created")
    do("start", "created")
    do("inspect", STATE, "created")


def execs(do: Stage) -> None:
    """More processes in it, each a little different."""
    container(do, "execs", "--user=1000", "--env=A=1", IMAGE, "sleep", "1000")
    do("exec", "execs", "sh", "-c", LOOK)
    options = ("--user=daemon", "--env=B=2", "--workdir=/usr", "--privileged", "--interactive")
    do("exec", *options, "execs", "sh", "-c", "id; env; pwd; grep Cap /proc/self/status; wc -c; exit 7", input="bytes")
    do("exec", "execs", "sh", "-c", "kill -9 $$")
    do("exec", "execs", "nosuch")
    do("exec", "execs", "/etc/passwd")


def terminals(do: Stage) -> None:
    """A pty for the first process and for another."""
    ask = "ls -l /dev/console /dev/pts; tty; stty size; echo 'name?'; read a; echo got $a; exit 5"
    on_terminal = ("--interactive", "--tty")
    do.terminal(*RUN, *on_terminal, *script(ask), keys="word\n", prompt="name?")
    container(do, "terminals", "--tty", IMAGE, "sleep", "1000")
    do.terminal("exec", *on_terminal, "terminals", "sh", "-c", ask, keys="word\n", prompt="name?")


def signals(do: Stage) -> None:
    """Kill, stop."""
    trap = "trap 'echo term; exit 9' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.1; done"
    container(do, "signals", "--stop-timeout=60", *script(trap))
    do.until("ready", "logs", "signals")
    do("kill", "--signal=USR1", "signals")
    do.until("usr1", "logs", "signals")
    do("stop", "signals")
    do("inspect", STATE, "signals")
    do("kill", "signals")


def paused(do: Stage) -> None:
    """Frozen: what is refused then, what is not."""
    container(do, "paused", IMAGE, "sleep", "1000")
    do("pause", "paused")
    do("inspect", STATE, "paused")
    do("exec", "paused", "true")
    do("unpause", "paused")
    do("exec", "paused", "true")
    do("pause", "paused")
    do("rm", "--force", "--time=0", "paused")


def limits(do: Stage) -> None:
    """Given, seen from inside and in stats, changed, given again."""
    container(do, "limits", "--memory=32m", "--pids-limit=50", "--cpus=0.5", IMAGE, "sleep", "1000")
    do("exec", "limits", "sh", "-c", LIMITS)
    do("stats", "--no-stream", "--format={{.Name}} {{.MemLimit}}", "limits")
    do("update", "--memory=64m", "--memory-swap=128m", "--memory-reservation=48m", "--cpus=0.25", "limits")
    do("exec", "limits", "sh", "-c", LIMITS)
    do("update", "--memory=1g", "--memory-swap=512m", "limits")
    do("pause", "limits")
    do("unpause", "limits")
    do("restart", "--time=0", "limits")
    do("exec", "limits", "sh", "-c", LIMITS)


def out_of_memory(do: Stage) -> None:
    """More than is allowed."""
    do(*START, "--name=oom", "--memory=16m", "--memory-swap=16m", IMAGE, "tail", "/dev/zero")
    do("wait", "oom")
    do("inspect", STATE, "oom")


def files(do: Stage) -> None:
    """Volumes, mounts, copies in and out."""
    here = shared(do)
    (here / "file").write_text("from the host\n")
    (here / "sub").mkdir()
    volumes = [f"{here}:/rw", f"{here}/sub:/ro:ro,rslave", f"{here}/file:/etc/issue", "named:/named"]
    mount = f"--mount=type=bind,src={here},dst=/deep/er,ro,bind-propagation=shared"
    look = "ls -l /named /rw; touch /rw/new /ro/x /named/x; cat /etc/issue; sleep 1000"
    options = [*(f"--volume={volume}" for volume in volumes), mount, "--tmpfs=/t:size=1m"]
    container(do, "files", *options, *script(LOOK + look))
    do.until("from the host", "logs", "files")
    do("logs", "files")
    do("cp", f"{here}/file", "files:/tmp/copied")
    do("cp", "files:/tmp/copied", f"{here}/back")
    do("exec", "files", "ls", "-l", "/tmp", "/rw")


def user_namespace(do: Stage) -> None:
    """Other ids inside than outside."""
    here = shared(do)
    (here / "mine").write_text("")
    here.chmod(0o777)
    os.chown(here / "mine", 100005, 200005)
    maps = ["--uidmap=0:100000:65536", "--gidmap=0:200000:65536", f"--volume={here}:/shared"]
    look = "cat /proc/self/uid_map /proc/self/gid_map; ls -ln /shared/mine; ls -ld /root; echo end; sleep 1000"
    container(do, "userns", *maps, "--memory=32m", *script(LOOK + look))
    do.until("(?m)^end", "logs", "userns")
    do("logs", "userns")
    look = "exec 2>&1; id; touch /shared/new; ls -ln /shared/new; grep Cap /proc/self/status"
    do("exec", "--user=1000", "userns", "sh", "-c", look)


def seccomp(do: Stage) -> None:
    """A profile of one's own, and none."""
    refused = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    file = shared(do) / "profile.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}))
    look = "grep Seccomp: /proc/self/status; mkdir /x; unshare -U true; echo $?; grep -c ' /proc/' /proc/self/mountinfo"
    do(*RUN, f"--security-opt=seccomp={file}", *script(look))
    do(*RUN, "--security-opt=seccomp=unconfined", "--security-opt=unmask=ALL", *script(look))


def errors(do: Stage) -> None:
    """What cannot be run, and why."""
    do(*RUN, IMAGE, "nosuch")
    do(*RUN, IMAGE, "/etc/passwd")
    do(*RUN, IMAGE, "/etc")
    do(*RUN, "--volume=/nosuch:/x", IMAGE, "true")
    do(*RUN, "--volume=/etc/passwd:/etc", IMAGE, "true")
    do(*RUN, "--sysctl=net.nosuch=1", IMAGE, "true")
    do(*RUN, "--cgroup-conf=nosuch.max=1", IMAGE, "true")
    do(*RUN, "--ulimit=nofile=2000000000", IMAGE, "true")
    do(*RUN, "--memory=1k", IMAGE, "true")  # not with systemd: its unit may be gone before runc has looked


def health(do: Stage) -> None:
    """Asked by hand, as its timer would."""
    asked = ("--health-cmd=test -e /well", "--health-interval=disable", "--health-retries=1")
    container(do, "health", *asked, IMAGE, "sleep", "1000")
    do("healthcheck", "run", "health")
    do("exec", "health", "touch", "/well")
    do("healthcheck", "run", "health")
    log = "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}};{{end}}"
    do("inspect", f"--format={{{{.State.Health.Status}}}} {log}", "health")


def pod(do: Stage) -> None:
    """Two containers that share namespaces, and what joins another's."""
    infra = (f"--infra-image={IMAGE}", "--infra-command=sleep 1000")
    do.quietly("pod", "create", "--name=p", *infra, "--network=none", "--share=net,ipc,uts,pid", "--hostname=pod")
    do.quietly("run", "--detach", "--pod=p", "--name=inpod", *script("echo hello >/dev/shm/there; exec sleep 1000"))
    look = script("hostname; cat /dev/shm/there; ps -o comm,args | grep -v ps; ls /sys/class/net")
    do("run", "--rm", "--pod=p", *look)
    do("run", "--rm", "--pid=container:inpod", "--network=container:inpod", "--ipc=container:inpod", *look)
    do("pod", "stop", "--time=0", "p")
    do("pod", "start", "p")
    do("exec", "inpod", "hostname")


def hooks(do: Stage) -> None:
    """OCI hooks of a directory, each told the state."""
    directory = shared(do) / "hooks"
    directory.mkdir()
    log = shared(do) / "hooks.log"
    program = directory / "hook.sh"
    program.write_text(f"""#!/bin/sh
        echo $1 $(sed 's/.*"status": *"\\([a-z]*\\)".*/\\1/') >>{log}
    """)
    program.chmod(0o755)
    for stage in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        hook: dict[str, Any] = {"path": str(program), "args": ["hook", stage]}
        if stage == "startContainer":
            hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat >/hooked"]}
        one = {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": [stage]}
        (directory / f"{stage}.json").write_text(json.dumps(one))
    do(f"--hooks-dir={directory}", *RUN, *script('sed \'s/.*"status": *"\\([a-z]*\\)".*/\\1/\' /hooked'))
    do.keep(["(what the hooks saw)"], 0, log.read_text())
    program.write_text("#!/bin/sh\necho why; exit 3\n")
    do(f"--hooks-dir={directory}", *RUN, IMAGE, "true")


def restarted(do: Stage) -> None:
    """A container that is begun again when it fails."""
    container(do, "restarted", "--restart=on-failure:1", *script("echo begun; exit 1"))
    state = "--format={{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}"
    do.until("exited 1 1", "inspect", state, "restarted")
    do("logs", "restarted")


def as_systemd(do: Stage) -> None:
    """What an init that is systemd needs."""
    look = "ls -ld /sys/fs/cgroup; mkdir /sys/fs/cgroup/sub && echo made"
    do(*RUN, "--systemd=always", *script(LOOK + look))


def passed_on(do: Stage) -> None:
    """Open files that the caller hands in: of its own, and as systemd passes sockets."""
    look = script("ls /proc/self/fd; cat <&3; env | grep LISTEN")
    for option, variables in (("--preserve-fds=1", ""), ("--quiet", "LISTEN_FDS=1 LISTEN_PID=$$")):
        caller = f'exec 3</etc/debian_version; {variables} exec "$@"'
        argv = ["sh", "-c", caller, "sh", *podman(do).argv([*RUN, option, *look])]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        do.keep([variables, *RUN, option, *look], done.returncode, done.stdout + done.stderr)


def service_restarted(do: Stage) -> None:
    """Containers go on while `podman system service` is not there, and obey it afterwards."""
    with podman(do).service():
        do.quietly("--remote", *START, "--name=served", IMAGE, "sleep", "1000")
        do("--remote", "exec", "served", "id")
    do("exec", "served", "id")
    with podman(do).service():
        do("--remote", "exec", "served", "sh", "-c", "exit 5")
        do("--remote", "stop", "--time=0", "served")
        do("--remote", "inspect", STATE, "served")
        do("--remote", "rm", "served")


def notified(do: Stage) -> None:
    """A service whose program says itself when it is ready."""
    here = shared(do)
    sender(here)
    manager = Manager(str(here / "socket"))
    say = script("env | grep NOTIFY; notify READY=1 STATUS=working; exec sleep 1000")
    words = [*START, "--name=notified", "--sdnotify=container", f"--volume={here}/notify:/bin/notify", *say]
    done = subprocess.run(podman(do).argv(words), env=manager.environment, stdin=subprocess.DEVNULL, check=False)
    heard: list[str] = []
    with manager.socket:
        while "READY=1" not in heard:
            heard += manager.hear()
    do.keep(["(what the service manager heard)"], done.returncode, re.sub(r"\d\d+", "PID", "\n".join(heard)))
    do.until("NOTIFY", "logs", "notified")
    do("logs", "notified")
