"""What a user of ctr does, as scenes for compare.py."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ground.compare import Stage
from tests.uml.containerd.engine import IMAGE

# Who and where a process is, as it can see by itself.
LOOK = r"""exec 2>&1
id; pwd; hostname; umask; ulimit -a; env | sort; tr '\0' ' ' </proc/1/cmdline | wc -w
grep -E '^(Cap|NoNewPrivs|Seccomp|Groups)' /proc/self/status
cat /proc/self/cgroup /proc/self/oom_score_adj /proc/self/uid_map /proc/self/gid_map
sed -E 's/^[0-9]+ [0-9]+ [0-9]+:[0-9]+ //; s/(master|shared):[0-9]+/\1/' /proc/self/mountinfo
cd /dev; stat -c '%A %U %G %t:%T %N' *; ls /proc/self/fd; ls /sys/fs/cgroup; ip link | cut -d ' ' -f 2-
cd /sys/fs/cgroup; grep . memory.max memory.swap.max cpu.max cpu.weight pids.max
head -c 1 /proc/kcore | wc -c; cat /proc/sys/net/ipv4/ping_group_range
touch /x; mknod /tmp/sda b 8 0; chown 1 /tmp; hostname "$(hostname)"; mount -t tmpfs tmpfs /mnt
"""
BLOTS = [
    (r"containerd-runc\b", "containerd"),
    (r"snapshots/\d+", "snapshots/N"),
    (r"(lowerdir|upperdir|workdir)=[^,\n]*", r"\1"),
    (r"containerd-mount\d+", "containerd-mount"),
    (r"(?m)^((?:box|ends) +|)\d+( +(?:-$|&Process|RUNNING|PAUSED|STOPPED))", r"\1PID\2"),
    (r'"pid":\d+', '"pid":PID'),
    (r"/proc/\d+/ns", "/proc/PID/ns"),
    (r"(?m)^.*resize pty.*cannot resize a stopped container.*$", ""),  # ctr is sometimes late with it
    (r"/usr/(sbin|local/bin)/runc", "runc"),
    # What is read-only is a mount; runc makes the file system so, too, for all who share the network namespace.
    (r"( /sys ro\S* .* sysfs) r[ow]\n", r"\1\n"),
    # The null device that masks is the host's, the tmpfs that does has room for nothing, as those of runc 1.5.
    (r"(/null /\S+ )\S+ - .*", r"\1"),
    (r"(/ /(sys/firmware|etc) ro,relatime) - .*", r"\1"),
    # `--rootfs-propagation shared` has its effect on / in runc 1.5, not yet in Debian's 1.1.
    (r"(?m)^(/ / rw,relatime) shared -", r"\1 -"),
    # What runc 1.5 says, as Go's exec.LookPath does.
    (r'(exec: "/etc"): (permission denied|is a directory)', r"\1"),
    # Which call failed, or which member of config.json was wrong, each tells in its own words; what, where and why not.
    (r'(error mounting "\S+" to rootfs at "\S+").*: (no such file or directory|not a directory)', r"\1: \2"),
    (r'(error mounting "\S+" to rootfs at "\S+").*: (invalid argument).*', r"\1: \2"),
    (r"(not a directory): a directory cannot be mounted onto a file, nor a file onto a directory", r"\1"),
    (r"create failed: .*(/no/such: no such file or directory)", r"create failed: \1"),
    (r"create failed: .*(/etc/passwd|set in config.json failed)(: not a directory)", r"create failed\2"),
    (r"create failed: .*(container init was) (possibly )?(OOM-killed \(memory limit too low\?\)).*", r"\1 \3: unknown"),
    (r'create failed: .*namespace ({")?"?sideways"?( ""})? does not exist.*', "create failed: no such namespace"),
    (r"create failed: .*(unified resource)", r"create failed: \1"),
]
SLEEP = ("sleep", "100000")


def looks(do: Stage) -> None:
    """What a container is like if nothing is asked for."""
    do("run", "--rm", IMAGE, "box", "sh", "-c", LOOK)


def limited(do: Stage) -> None:
    """All that makes it smaller, together."""
    scratch = Path(f"/run/tmp/{do.engine.runtime}")
    scratch.mkdir(exist_ok=True)
    (scratch / "file").write_text("from the host\n")
    options = [
        "--read-only",
        "--seccomp",
        "--cap-drop",
        "CAP_CHOWN",
        "--cap-drop",
        "CAP_MKNOD",
        "--cap-add",
        "CAP_SYS_TIME",
        "--env",
        "A=b c",
    ]
    options += ["--cwd", "/tmp", "--cpus", "0.5", "--cpu-shares", "2", "--memory-limit", str(64 << 20)]
    options += ["--mount", "type=tmpfs,src=tmpfs,dst=/tmp,options=nosuid:size=1m", "--device", "/dev/loop0"]
    options += ["--mount", f"type=bind,src={scratch},dst=/new/place,options=rbind:ro", "--no-pivot"]
    script = f"{LOOK} cat /new/place/file; touch /new/place/other; unshare -U true"
    do("run", "--rm", *options, IMAGE, "box", "sh", "-c", script)


def allowed(do: Stage) -> None:
    """All that makes it larger."""
    more = ["--privileged", "--net-host", "--allow-new-privs", "--rootfs-propagation", "shared"]
    do("run", "--rm", *more, IMAGE, "box", "sh", "-c", LOOK)


def mapped(do: Stage) -> None:
    """A user namespace."""
    users = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", "--remap-labels"]
    do("run", "--rm", *users, IMAGE, "box", "sh", "-c", LOOK)


def own_configuration(do: Stage) -> None:
    """A directory as root file system, and a config.json."""
    directory = Path(f"/run/tmp/{do.engine.runtime}-bundle")
    directory.mkdir(exist_ok=True)
    do("run", "--rm", "--rootfs", "/run/tmp/box", "box", "/bin/sh", "-c", "cat /proc/self/uid_map; /bin/ls /")
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": "/run/tmp/box", "readonly": True},
        "hostname": "its-own",
        "mounts": mounts,
        "process": {"cwd": "/", "args": ["/bin/hostname"], "user": {"uid": 0, "gid": 0}},
        "linux": {"cgroupsPath": f"/{do.engine.runtime}/box", "namespaces": namespaces},
    }
    (directory / "config.json").write_text(json.dumps(config))
    do("run", "--rm", "--config", str(directory / "config.json"), "box")
    config["linux"]["namespaces"].append({"type": "sideways"})  # type: ignore[index]
    (directory / "config.json").write_text(json.dumps(config))
    do("run", "--rm", "--config", str(directory / "config.json"), "box2")


def life(do: Stage) -> None:
    """A container from its start to its end."""
    log = Path("/run/tmp", do.engine.runtime, "log")
    script = "trap 'echo ended; exit 5' TERM; echo begun; while :; do sleep 0.1; done"
    log.parent.mkdir(exist_ok=True)
    do("run", "--detach", "--log-uri", f"file://{log}", IMAGE, "box", "sh", "-c", script)
    do("run", "--detach", IMAGE, "box", "true")
    do("containers", "ls")
    do("tasks", "ls")
    do("tasks", "exec", "--exec-id", "a", "--user", "user", "--cwd", "/tmp", "box", "sh", "-c", "id; pwd; exit 3")
    do("tasks", "exec", "--exec-id", "b", "--user", "1:5", "box", "sh", "-c", "id; kill -9 $$")
    do("tasks", "exec", "--detach", "--exec-id", "c", "box", *SLEEP)
    do("tasks", "ps", "box")
    do("tasks", "pause", "box")
    do("tasks", "ls")
    do("tasks", "exec", "--exec-id", "d", "box", "true")
    do("tasks", "pause", "box")
    do("tasks", "resume", "box")
    do("tasks", "resume", "box")
    do("tasks", "kill", "--exec-id", "c", "--signal", "KILL", "box")
    do("tasks", "delete", "--exec-id", "c", "box")
    do("tasks", "delete", "box")
    do("tasks", "kill", "box")
    do.until("STOPPED", "tasks", "ls")
    do("tasks", "kill", "box")
    do("tasks", "exec", "--exec-id", "e", "box", "true")
    do("tasks", "delete", "box")
    do("containers", "delete", "box")
    do.keep(["cat", "log"], 0, log.read_text())


def terminal(do: Stage) -> None:
    """A pty, of the first process and of another one; ctr tells it its size when it has begun."""
    sized = "until stty size 2>/dev/null | grep -q .; do sleep 0.1; done"
    script = f"""{sized}; tty; ls -l /dev/console | cut -c 1-40; test -t 1; echo "$?, type:"
        read x; echo "got $x"; stty size; exit 6"""
    do.terminal("run", "--rm", "--tty", IMAGE, "box", "sh", "-c", script, keys="typed\n", prompt="type:")
    do("run", "--detach", IMAGE, "box", *SLEEP)
    do.terminal("tasks", "exec", "--tty", "--exec-id", "a", "box", "sh", "-c", script, keys="more\n", prompt="type:")
    script = f"trap 'echo interrupted; exit 4' INT; {sized}; echo go; sleep 1000"
    do.terminal("tasks", "exec", "--tty", "--exec-id", "b", "box", "sh", "-c", script, keys="\x03", prompt="go")


def errors(do: Stage) -> None:
    """What cannot be."""
    do("run", "--rm", IMAGE, "box1", "no-such-program")
    do("run", "--rm", IMAGE, "box3", "/etc/passwd")
    do("run", "--rm", "--mount", "type=bind,src=/no/such,dst=/mnt,options=rbind", IMAGE, "box5", "true")
    do("run", "--rm", "--mount", "type=tmpfs,src=x,dst=/mnt,options=size=lots", IMAGE, "box8", "true")
    do("run", "--rm", "--with-ns", "network:/no/such", IMAGE, "box9", "true")
    do("run", "--rm", IMAGE, "box12", "sh", "-c", "sh -c 'kill -9 $$'; exit $?")
    do("run", "--rm", "--memory-limit", "1", IMAGE, "box13", "true")
    do("run", "--detach", IMAGE, "box", *SLEEP)
    do("tasks", "exec", "--exec-id", "a", "box", "no-such-program")
    do("tasks", "exec", "--exec-id", "b", "box", "/etc/passwd")
    do("tasks", "exec", "--exec-id", "c", "--cwd", "/no/such", "box", "true")
    do("tasks", "exec", "--exec-id", "d", "--user", "nobody-here", "box", "true")
    do("tasks", "kill", "--signal", "100", "box")
    do("containers", "delete", "box")


def pod(do: Stage) -> None:
    """Two that share namespaces, by path."""
    do("run", "--detach", IMAGE, "box", *SLEEP)
    first = pid(do)
    shared = ("network:net", "pid:pid", "ipc:ipc", "uts:uts")
    paths = (f"{kind}:/proc/{first}/ns/{name}" for kind, name in (pair.split(":") for pair in shared))
    options = [word for path in paths for word in ("--with-ns", path)]
    script = """
    hostname changed; ps | grep -c 'sleep 100000$'
    for name in net pid ipc uts mnt cgroup; do
        test "$(readlink /proc/1/ns/$name)" = "$(readlink /proc/self/ns/$name)"; echo $name $?
    done"""
    do("run", "--rm", *options, IMAGE, "other", "sh", "-c", script)
    do("tasks", "exec", "--exec-id", "a", "box", "hostname")


def driver(do: Stage) -> None:
    """Where it matters who makes the cgroup: limits, what is measured, pause, exec, want of memory."""
    limits = ["--memory-limit", str(64 << 20), "--cpus", "0.25", "--cpu-shares", "262144"]
    with told(do):
        do("run", "--detach", *limits, IMAGE, "box", *SLEEP)
        do("tasks", "exec", "--exec-id", "a", "box", "cat", "/proc/1/cgroup", "/proc/self/cgroup")
        do.keep(["limits"], 0, limits_of(pid(do)))
        measured = json.loads(do.quietly("tasks", "metrics", "--format", "json", "box"))
        do.keep(["metrics"], 0, str(sorted(measured)))
        do.keep(["metrics", "limits"], 0, str([measured["memory"]["usage_limit"], measured["pids"]["limit"]]))
        do("tasks", "pause", "box")
        do("tasks", "ls")
        do("tasks", "resume", "box")
        do("tasks", "exec", "--exec-id", "b", "box", "tail", "/dev/zero")
        do("tasks", "kill", "--all", "--signal", "KILL", "box")
        do.until("STOPPED", "tasks", "ls")
        do("tasks", "delete", "box")


def upgrade(do: Stage) -> None:
    """containerd is stopped and started while a container lives."""
    do("run", "--detach", IMAGE, "box", *SLEEP)
    do("run", "--detach", IMAGE, "ends", "sleep", "2")
    do.engine.daemon.stop()  # type: ignore[attr-defined]
    do.engine.daemon.start()  # type: ignore[attr-defined]
    do.until(r"ends\s+\d+\s+STOPPED", "tasks", "ls")
    do.until(r"box\s+\d+\s+RUNNING", "tasks", "ls")
    do("tasks", "exec", "--exec-id", "a", "box", "hostname")
    do("tasks", "pause", "box")
    do("tasks", "resume", "box")
    do("tasks", "kill", "--signal", "KILL", "box")
    do.until(r"box\s+\d+\s+STOPPED", "tasks", "ls")
    do("tasks", "delete", "box", "ends")
    do("containers", "delete", "box", "ends")


def pid(do: Stage) -> str:
    """Of the first process of `box`, on the host."""
    found = re.search(r"^box\s+(\d+)", do.quietly("tasks", "ls"), re.MULTILINE)
    assert found
    return found[1]


def limits_of(pid: str) -> str:
    """What the cgroup of a process says of limits; ctr shows its containers none."""
    cgroup = Path("/sys/fs/cgroup" + Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::"))
    names = ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max")
    return "\n".join(f"{name} {(cgroup / name).read_text().strip()}" for name in names)


@contextmanager
def told(do: Stage) -> Iterator[None]:
    """Keep what the engine tells meanwhile of want of memory, and of the end of `box`."""
    with subprocess.Popen(do.engine.argv(["events"]), stdout=subprocess.PIPE, text=True) as process:
        yield
        assert process.stdout
        for line in process.stdout:
            first_process = '"id"' not in line  # others have one
            if "/tasks/oom" in line or ("/tasks/delete" in line and first_process):
                do.keep(["events"], 0, line[line.index("/tasks") :])
            if "/tasks/delete" in line and first_process:
                process.terminate()


EVERYWHERE = [driver, upgrade]
SCENES = [looks, limited, allowed, mapped, own_configuration, life, terminal, errors, pod]
