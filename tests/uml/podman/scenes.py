"""What a user of Podman does: a function a scene."""

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


def container(do: Stage, *words: str, name: str = "c") -> None:
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
    do(*RUN, *script("echo out; sleep 0.1; echo err >&2; exit 42"))
    do(*RUN, "--interactive", *script("wc -c; kill -9 $$; exit 4"), input="some bytes")


def run_with_options(do: Stage) -> None:
    """Much of what `run` can be asked for, in one."""
    options = """
        --read-only --user=1000:100 --group-add=7 --cap-drop=ALL --cap-add=NET_RAW --security-opt=no-new-privileges
        --env=ONE=1 --workdir=/tmp --hostname=named --add-host=other:10.1.2.3 --umask=0027 --network=none --name=c
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
    do.quietly(*START, "--name=c", *script("echo out; sleep 0.1; echo err >&2; read line; exit 3"))
    do("wait", "c")
    do("logs", "c")
    do("inspect", STATE, "c")
    do("ps", "--all", "--format={{.Names}} {{.Image}} {{.Command}} {{.ExitCode}}")
    do("start", "--attach", "c")


def created(do: Stage) -> None:
    """Made, made ready, started."""
    do.quietly("create", "--network=none", "--name=c", "--init", *script("echo begun; sleep 1000"))
    do("init", "c")
    do("inspect", STATE, "c")
    do("exec", "c", "true")
    do("start", "c")
    do("start", "c")
    do("inspect", STATE, "c")
    do("rm", "c")


def execs(do: Stage) -> None:
    """More processes in it, each a little different."""
    container(do, "--user=1000", "--env=A=1", IMAGE, "sleep", "1000")
    do("exec", "c", "sh", "-c", LOOK)
    options = ("--user=daemon", "--env=B=2", "--workdir=/usr", "--privileged", "--interactive")
    do("exec", *options, "c", "sh", "-c", "id; env; pwd; grep Cap /proc/self/status; wc -c; exit 7", input="bytes")
    do("exec", "c", "sh", "-c", "kill -9 $$")
    do("exec", "c", "nosuch")
    do("exec", "c", "/etc/passwd")
    do("exec", "--workdir=/nosuch", "c", "true")
    do("exec", "--user=nobody", "c", "true")
    do("exec", "--detach", "c", "sleep", "999")
    do("top", "c", "args", "user")


def terminals(do: Stage) -> None:
    """A pty for the first process and for another."""
    ask = "tty; stty size; echo 'name?'; read a; echo got $a; exit 5"
    on_terminal = ("--interactive", "--tty")
    do.terminal(*RUN, *on_terminal, *script(ask), keys="word\n", prompt="name?")
    container(do, "--tty", IMAGE, "sleep", "1000")
    do.terminal(
        "exec", *on_terminal, "c", "sh", "-c", f"ls -l /dev/console /dev/pts; {ask}", keys="a\n", prompt="name?"
    )
    do.terminal("exec", *on_terminal, "c", "nosuch")


def signals(do: Stage) -> None:
    """Kill, stop, restart."""
    trap = "trap 'echo term; exit 9' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.1; done"
    do.quietly(*START, "--stop-timeout=60", "--name=c", *script(trap))
    do.until("ready", "logs", "c")
    do("kill", "--signal=USR1", "c")
    do.until("usr1", "logs", "c")
    do("stop", "c")
    do("inspect", STATE, "c")
    do("kill", "c")
    do("restart", "c")
    do.until("(?s)ready.*ready", "logs", "c")
    do("restart", "--time=0", "c")
    do("kill", "c")
    do("wait", "c")
    do("stop", "--time=0", "c")


def paused(do: Stage) -> None:
    """Frozen: what is refused then, what is not."""
    container(do, IMAGE, "sleep", "1000")
    do("pause", "c")
    do("pause", "c")
    do("inspect", STATE, "c")
    do("exec", "c", "true")
    do("unpause", "c")
    do("unpause", "c")
    do("pause", "c")
    do("rm", "--force", "--time=0", "c")


def limits(do: Stage) -> None:
    """Given, seen from inside and in stats, changed."""
    container(do, "--memory=32m", "--pids-limit=50", "--cpus=0.5", IMAGE, "sleep", "1000")
    do("exec", "c", "sh", "-c", LIMITS)
    do("stats", "--no-stream", "--format={{.Name}} {{.MemLimit}}", "c")
    do("update", "--memory=64m", "--memory-swap=128m", "--memory-reservation=48m", "--cpus=0.25", "c")
    do("exec", "c", "sh", "-c", LIMITS)
    do("update", "--cpus=0.75", "c")
    do("exec", "c", "sh", "-c", LIMITS)
    do("update", "--memory=1g", "--memory-swap=512m", "c")


def out_of_memory(do: Stage) -> None:
    """More than is allowed."""
    do(*START, "--name=c", "--memory=16m", "--memory-swap=16m", IMAGE, "tail", "/dev/zero")
    do("wait", "c")
    do("inspect", STATE, "c")
    do(*RUN, "--memory=1k", IMAGE, "true")


def files(do: Stage) -> None:
    """Volumes, mounts, copies in and out."""
    here = shared(do)
    (here / "file").write_text("from the host\n")
    (here / "sub").mkdir()
    volumes = [f"{here}:/rw", f"{here}/sub:/ro:ro,rslave", f"{here}/file:/etc/issue", "named:/named"]
    mount = f"--mount=type=bind,src={here},dst=/deep/er,ro,bind-propagation=shared"
    look = "ls -l /named /rw; touch /rw/new /ro/x /named/x; cat /etc/issue; sleep 1000"
    container(do, *(f"--volume={volume}" for volume in volumes), mount, "--tmpfs=/t:size=1m", *script(LOOK + look))
    do.until("from the host", "logs", "c")
    do("logs", "c")
    do("cp", f"{here}/file", "c:/tmp/copied")
    do("cp", "c:/etc/passwd", f"{here}/copied")
    do("exec", "c", "ls", "-l", "/tmp", "/rw")
    do.keep(["diff", "c"], 0, "\n".join(sorted(do.quietly("diff", "c").splitlines())))
    do("rm", "--force", "--time=0", "--volumes", "c")


def user_namespace(do: Stage) -> None:
    """Other ids inside than outside."""
    here = shared(do)
    (here / "mine").write_text("")
    here.chmod(0o777)
    os.chown(here / "mine", 100005, 200005)
    maps = ["--uidmap=0:100000:65536", "--gidmap=0:200000:65536", f"--volume={here}:/shared"]
    look = "cat /proc/self/uid_map /proc/self/gid_map; ls -ln /shared/mine; ls -ld /root; echo end; sleep 1000"
    container(do, *maps, "--memory=32m", *script(LOOK + look))
    do.until("(?m)^end", "logs", "c")
    do("logs", "c")
    look = "exec 2>&1; id; touch /shared/new; ls -ln /shared/new; grep Cap /proc/self/status"
    do("exec", "--user=1000", "c", "sh", "-c", look)


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
    do(*RUN, IMAGE, "/nosuch")
    do(*RUN, IMAGE, "/etc/passwd")
    do(*RUN, IMAGE, "/etc")
    do(*RUN, "--volume=/nosuch:/x", IMAGE, "true")
    do(*RUN, "--volume=/etc/passwd:/etc", IMAGE, "true")
    do(*RUN, "--workdir=/etc/passwd", IMAGE, "true")
    do(*RUN, "--sysctl=net.nosuch=1", IMAGE, "true")
    do(*RUN, "--cgroup-conf=nosuch.max=1", IMAGE, "true")
    do(*RUN, "--ulimit=nofile=2000000000", IMAGE, "true")


def health(do: Stage) -> None:
    """Asked by hand, as its timer would."""
    asked = ("--health-cmd=test -e /well", "--health-interval=disable", "--health-retries=1")
    container(do, *asked, IMAGE, "sleep", "1000")
    do("healthcheck", "run", "c")
    do("exec", "c", "touch", "/well")
    do("healthcheck", "run", "c")
    do("inspect", "--format={{.State.Health.Status}} {{range .State.Health.Log}}{{.ExitCode}} {{.Output}};{{end}}", "c")


def pod(do: Stage) -> None:
    """Two containers that share namespaces, and what joins another's."""
    infra = (f"--infra-image={IMAGE}", "--infra-command=sleep 1000")
    do.quietly("pod", "create", "--name=p", *infra, "--network=none", "--share=net,ipc,uts,pid", "--hostname=pod")
    do.quietly("run", "--detach", "--pod=p", "--name=c", *script("echo hello >/dev/shm/there; exec sleep 1000"))
    look = script("hostname; cat /dev/shm/there; ps -o comm,args | grep -v ps; ls /sys/class/net")
    do("run", "--rm", "--pod=p", *look)
    do("run", "--rm", "--pid=container:c", "--network=container:c", "--ipc=container:c", *look)
    do("pod", "pause", "p")
    do("pod", "unpause", "p")
    do("pod", "stop", "--time=0", "p")
    do("pod", "start", "p")
    do("pod", "inspect", "--format={{.State}} {{.NumContainers}}", "p")
    do("exec", "c", "hostname")
    do("pod", "kill", "p")


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
    do.quietly(*START, "--name=c", "--restart=on-failure:2", *script("echo begun; exit 1"))
    do.until("exited 1 2", "inspect", "--format={{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "c")
    do("logs", "c")


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
        do.quietly("--remote", *START, "--name=c", IMAGE, "sleep", "1000")
        do("--remote", "exec", "c", "id")
    do("ps", "--format={{.Names}} {{.Command}}")
    with podman(do).service():
        do("--remote", "ps", "--format={{.Names}} {{.Command}}")
        do("--remote", "exec", "c", "sh", "-c", "exit 5")
        do("--remote", "stop", "--time=0", "c")
        do("--remote", "inspect", STATE, "c")
        do("--remote", "rm", "c")


def notified(do: Stage) -> None:
    """A service whose program says itself when it is ready."""
    here = shared(do)
    sender(here)
    manager = Manager(str(here / "socket"))
    say = script("env | grep NOTIFY; notify READY=1 STATUS=working; exec sleep 1000")
    words = [*START, "--name=c", "--sdnotify=container", f"--volume={here}/notify:/bin/notify", *say]
    done = subprocess.run(podman(do).argv(words), env=manager.environment, stdin=subprocess.DEVNULL, check=False)
    heard: list[str] = []
    with manager.socket:
        while "READY=1" not in heard:
            heard += manager.hear()
    do.keep(["(what the service manager heard)"], done.returncode, re.sub(r"\d\d+", "PID", "\n".join(heard)))
    do.until("NOTIFY", "logs", "c")
    do("logs", "c")
