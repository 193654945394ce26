"""What goes wrong, and with which exit status and words."""

from tests.ground.compare import Scene, Stage

# minirunc names the place in config.json, or the system call; what was to be done, and why it cannot be, are the same.
WORDS = (
    (r'(error mounting "\S+" to rootfs at "\S+").*?(not a directory|invalid argument)', r"\1: \2"),
    (r"(: not a directory): a directory cannot be mounted onto a file, nor a file onto a directory", r"\1"),
    (r"(: invalid argument): tmpfs: Bad value for 'size'", r"\1"),
    (r"(open|write) /proc/sys/net/ipv4/(\w+): ", r"sysctl \2: "),
    (r'config.json: linux.sysctl\["net.ipv4.(\w+)"\]: (openat2|write)\(.*?\): ', r"sysctl \1: "),
    (r"error setting rlimits for ready process: error setting rlimit type 7: ", "rlimit: "),
    (r"prlimit64\(\d+, RLIMIT_NOFILE, 99999999999, 99999999999\): ", "rlimit: "),
    # Seen before anything is made, and not by the kernel.
    (r"unable to start container process: error during container init: sethostname: invalid argument", "hostname"),
    (r"config.json: hostname: has 65 bytes, the kernel takes 64", "hostname"),
    (r"config.json: linux.seccomp.syscalls\[0\].action: (.* for seccomp): expected one of SCMP_ACT_.*TRAP", r"\1"),
)
PROGRAMS = ("nothing", "/plain", "/plain/program")
# Debian's runc 1.1 says 1 and "permission denied" (126); runc 1.5 what is here, and so does minirunc.
CHANGED = (
    (255, "exec /garbage: exec format error", "run", "--rm", "box", "/garbage"),
    (125, 'exec: "/etc": is a directory', "run", "--rm", "box", "/etc"),
)


def programs(do: Stage) -> None:
    """That are not there, or are none; in a directory that is none."""
    for program in PROGRAMS:
        do("run", "--rm", "box", program)
    do("run", "--rm", "--entrypoint=", "box", "")
    do("run", "--name=box1", "box", "nothing")
    do("inspect", "--format={{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", "box1")
    do("run", "--detach", "--name=box2", "box", "sleep", "1000")
    for program in PROGRAMS:
        do("exec", "box2", program)
    do("exec", "--workdir=/nothing", "box2", "true")
    do("exec", "--workdir=/plain", "box2", "true")
    do("exec", "--detach", "box2", "nothing")
    do.terminal("exec", "-it", "box2", "nothing")
    do.terminal("run", "--rm", "-it", "box", "nothing")


def options(do: Stage) -> None:
    """That the runtime, or the kernel, refuses; a source that the engine misses."""
    for option in (
        "--mount=type=bind,source=/nothing,target=/mnt",
        "--volume=/etc/hostname:/tmp",
        "--volume=/tmp:/etc/passwd",
        "--tmpfs=/x:size=nonsense",
        "--workdir=/plain",
        "--sysctl=net.ipv4.nothing=1",
        "--sysctl=net.ipv4.ip_forward=nonsense",
        "--ulimit=nofile=99999999999",
        "--oom-score-adj=2000",
        "--device-cgroup-rule=c 1:1 xyz",
        "--cgroup-parent=/a/../../b",
        "--hostname=" + "x" * 65,
        "--security-opt=seccomp=/run/share/wrong.json",
    ):
        do("run", "--rm", option, "box", "true")
    do("ps", "--all")


ALL: list[Scene] = [programs, options]
