"""What a user does with containers of Docker, and what he sees of it; with limits: scenes_limits.py."""

from tests.ground.compare import Scene, Stage

BLOTS = (
    # The client's, which may print it before or after the engine's message.
    (
        r"(?m)^(time=\"TIME\" level=error msg=\"|\S+ERRO\S+\[\d+\] )error waiting for container: context canceled.*\n?",
        "",
    ),
    (r"\bUp [A-Za-z0-9 ]*(second|minute)s?", "Up A WHILE"),
    (r"[A-Za-z0-9 ]*(second|minute)s? ago", " A WHILE ago"),
    (r"[\d.]+[KMG]?i?B / ", "USED / "),
    (r"/l/[A-Z2-7]{26}", "/l/LAYER"),
    (r"\b(master|shared|propagate_from):\d+", r"\1:GROUP"),
    (r"\[4026532\d{3}\]", "[ITS OWN]"),  # the host's are below
    (r"(?m)^\d+( +sleep)$", r"PID\1"),
    # The superblock of a new network namespace's sysfs: runc's stays read-only for the next container that joins it.
    (r"( /sys r[ow]\S+ - sysfs sysfs) r[ow]", r"\1"),
    # The kernel has only one: runc 1.1 resets its options for all, where a container has no cgroup namespace.
    (r"( - cgroup2 cgroup rw),nsdelegate,memory_recursiveprot", r"\1"),
    # What masks a file is the host's null device here, the container's own with runc (CVE-2025-31133).
    (r"( /null /proc/\w+ rw,nosuid) - \w+ \w+ \S+", r"\1"),
    # runc unshares before it takes the group, so in a user namespace the queues are of nobody's.
    (r"(drwxrwxrwt 0) 65534 mqueue", r"\1 0 mqueue"),
    # runc has the limits since 1.5.
    (r"( /sys/firmware ro,relatime - tmpfs tmpfs ro),size=4k,nr_inodes=1", r"\1"),
)
STATE = "--format={{.State.Status}} {{.State.ExitCode}} OOM {{.State.OOMKilled}} {{.State.Error}} {{.RestartCount}}"
# Waits for signals; says what it gets.
WAITS = "trap 'echo stopped; exit 3' TERM; trap 'echo hup' HUP; echo started; sleep 1000 & while :; do wait; done"


def life(do: Stage) -> None:
    """From create to rm, in steps."""
    do("create", "--name=box1", "box", "sh", "-c", WAITS)
    do("inspect", STATE, "box1")
    do("start", "box1")
    do.until("started", "logs", "box1")
    do("ps", "--format={{.Names}} {{.Status}} {{.Command}} {{.Image}}")
    do("kill", "--signal=HUP", "box1")
    do.until("hup", "logs", "box1")
    do("stop", "box1")
    do("inspect", STATE, "box1")
    do("exec", "box1", "true")
    do("kill", "box1")
    do("restart", "--time=0", "box1")
    do.until("(?s)started.*started", "logs", "box1")
    do("kill", "box1")
    do("wait", "box1")
    do("rm", "box1")
    do("inspect", "box1")


def restarts(do: Stage) -> None:
    """What fails is started again, once."""
    do("run", "--detach", "--name=box1", "--restart=on-failure:1", "box", "sh", "-c", "echo a try; exit 7")
    do.until("exited 7 .* 1$", "inspect", STATE, "box1")
    do("logs", "box1")


def streams(do: Stage) -> None:
    """Pipes and terminals: run, exec, attach, logs."""
    do("run", "--rm", "box", "sh", "-c", "echo wrong >&2; exit 4")
    do("run", "--rm", "-i", "box", "sh", "-c", "read line; echo got $line; wc -c; exit 5", input="a\n" + "b" * 99999)
    do.terminal("run", "--rm", "-it", "box", "sh", "-c", f"read line; echo got $line; {TERMINAL}; exit 6", keys="yes\n")
    do("run", "--detach", "-t", "--name=box1", "box", "sh", "-c", "tty; exec sleep 1000")
    do.terminal("exec", "-it", "box1", "sh", "-c", f"read line; echo got $line; {TERMINAL}; exit 7", keys="yes\n")
    do("exec", "-i", "box1", "sh", "-c", "wc -c; exit 8", input="c" * 99999)
    do("exec", "--detach", "box1", "touch", "/made")
    do.until("made", "exec", "box1", "ls", "/")
    do("exec", "box1", "sh", "-c", "echo wrong >&2; kill -9 $$")
    do("logs", "box1")


# The size is set after the start.
TERMINAL = (
    "until test \"$(stty size 2>&1)\" = '24 80'; do sleep 0.1; done; tty; ls -l $(tty) | cut -c1-40; ls /proc/self/fd"
)


def plain(do: Stage) -> None:
    """What a container sees of itself, without options; and a process that is put into it."""
    do("run", "--detach", "--name=box1", "box", "sh", "-c", "show; exec sleep 1000")
    do.until("(?s)end of show", "logs", "box1")
    do("logs", "box1")
    do("exec", "box1", "show")
    do("exec", "--privileged", "--user=1000:100", "--env=A=b", "--workdir=/tmp", "box1", "show")
    do("inspect", "--format={{.HostConfig.Runtime}} {{.Path}} {{.Args}} {{.AppArmorProfile}} {{.Platform}}", "box1")
    do("top", "box1", "-eo", "pid,comm")


def rights(do: Stage) -> None:
    """Users, capabilities, filters, masks."""
    few = ["--cap-drop=ALL", "--cap-add=NET_BIND_SERVICE", "--security-opt=no-new-privileges"]
    do("run", "--rm", *few, "--user=1000:100", "--group-add=5", "--workdir=/made/here", "box", "show")
    do("run", "--rm", "--privileged", "box", "show")
    shown = ["--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined", "--cap-drop=CHOWN"]
    do("run", "--rm", *shown, "box", "show")
    do("run", "--rm", "--security-opt=seccomp=/run/share/filter.json", "box", "sh", "-c", "mkdir /tmp/made 2>&1; show")
    do("run", "--rm", "--user=user", "box", "sh", "-c", "exec 2>&1; touch /etc/made; mount -t tmpfs x /mnt; id")


def settings(do: Stage) -> None:
    """The rest of what there are options for."""
    limits = ["--ulimit=nofile=100:200", "--ulimit=core=0", "--oom-score-adj=500", "--shm-size=1m"]
    names = ["--hostname=here", "--domainname=there", "--env=A=b", "--env=HOME=/tmp", "--label=a=b"]
    more = ["--sysctl=net.ipv4.ip_forward=1", "--sysctl=kernel.msgmax=4096", "--device=/dev/loop0:/dev/disk:r"]
    do("run", "--rm", *limits, *names, *more, "--add-host=other:10.0.0.1", "box", "show")
    do(
        "run",
        "--rm",
        "--init",
        "box",
        "sh",
        "-c",
        "ls -l /sbin/docker-init | cut -c1-10; tr '\\0' ' ' </proc/1/cmdline",
    )
    do("run", "--rm", "--init", "box", "sh", "-c", "kill -TERM $$")
    do("run", "--rm", "--device-cgroup-rule=c 10:* rwm", "box", "sh", "-c", DEVICES)
    do(
        "run",
        "--rm",
        "--device=/dev/loop0:/dev/disk:r",
        "box",
        "sh",
        "-c",
        f"{DEVICES}; true </dev/disk; true >>/dev/disk",
    )


DEVICES = "exec 2>&1; mknod /tmp/fuse c 10 229; mknod /tmp/mem c 1 1; mknod /tmp/kmsg c 1 11; true </tmp/kmsg; ls /dev"


def namespaces(do: Stage) -> None:
    """The host's, and another container's: a pod."""
    host = ["--pid=host", "--ipc=host", "--uts=host", "--network=host", "--userns=host", "--cgroupns=host"]
    do("run", "--rm", *host, "box", "sh", "-c", "show; cat /proc/1/comm")
    do("run", "--rm", "--cgroup-parent=/made", "--cgroupns=host", "box", "cat", "/proc/self/cgroup")
    do("run", "--detach", "--name=first", "--ipc=shareable", "--hostname=pod", "box", "sleep", "1000")
    pod = ["--pid=container:first", "--network=container:first", "--ipc=container:first", "--volumes-from=first"]
    do("run", "--rm", *pod, "box", "sh", "-c", "ps -o args; ls /dev/shm; hostname; touch /dev/shm/left; show")
    do("run", "--detach", "--name=second", *pod, "box", "sleep", "2000")
    do("exec", "first", "sh", "-c", f"ps -o args; ls /dev/shm; {KILL_SECOND}")
    do("wait", "second")
    do("run", "--detach", "--name=third", *pod, "box", "sleep", "3000")
    do("kill", "first")
    do("wait", "third")
    do("start", "third")


KILL_SECOND = "kill -KILL $(ps -o pid,args | awk '/[s]leep 2000/ { print $1 }')"


def files(do: Stage) -> None:
    """Volumes, binds, tmpfs, a root that is read-only, cp, diff, export."""
    binds = ["--volume=/run/share:/data:ro", "--volume=/run/share/filter.json:/etc/filter.json"]
    tmpfs = ["--tmpfs=/scratch:size=64k,mode=1770,uid=1000,exec", "--mount=type=tmpfs,target=/more,tmpfs-mode=700"]
    volumes = ["--volume=named:/named", "--volume=/anonymous", "--volume=named:/etc/named:ro,nocopy"]
    propagated = ["--mount=type=bind,source=/run/share,target=/slave,bind-propagation=rslave,readonly"]
    do("run", "--detach", "--name=box1", *binds, *tmpfs, *volumes, *propagated, "box", "sh", "-c", f"{WRITES}; {WAITS}")
    do.until("started", "logs", "box1")
    do("logs", "box1")
    do("run", "--rm", "--read-only", "--volumes-from=box1:ro", "--tmpfs=/tmp", "box", "sh", "-c", f"{WRITES}; show")
    do("cp", "/run/share/filter.json", "box1:/tmp/copied")
    do("exec", "box1", "ls", "-l", "--full-time", "/tmp/copied")
    do("cp", "box1:/tmp/copied", "-")
    do("cp", "box1:/nothing", "-")
    do("cp", "/run/share", "box1:/data/there")
    do.keep(["diff", "box1"], 0, "\n".join(sorted(do.quietly("diff", "box1").splitlines())))
    do("stop", "--time=0", "box1")
    do("start", "box1")
    do("exec", "box1", "sh", "-c", "ls /scratch /named; show")


WRITES = "exec 2>&1; for place in / /tmp /data /scratch /more /named /anonymous /slave; do touch $place/made; done"


def health(do: Stage) -> None:
    """A check that passes, then fails."""
    check = ["--health-cmd=echo checked; test -e /well", "--health-interval=300ms", "--health-retries=2"]
    do("run", "--detach", "--name=box1", *check, "box", "sh", "-c", "touch /well; exec sleep 1000")
    do.until("^healthy", "inspect", HEALTH, "box1")
    do("exec", "box1", "rm", "/well")
    do.until("^unhealthy", "inspect", HEALTH, "box1")
    do("ps", "--format={{.Names}} {{.Status}}")
    do("inspect", "--format={{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}", "box1")


HEALTH = "--format={{.State.Health.Status}}"
ALL: list[Scene] = [life, restarts, streams, plain, rights, settings, namespaces, files, health]
