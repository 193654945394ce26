"""The commands as data: both parsers, the help texts, the tests and the documentation read this one table."""

FLAG = "flag"  # no value needed: --detach, --detach=false
TEXT = "text"  # a string, the last one wins
PATH = "path"  # a string that names a file on the host, the last one wins
NUMBER = "number"  # an integer, the last one wins
DURATION = "duration"  # such as 1m30s, in nanoseconds; the last one wins
TEXTS = "texts"  # strings, collected in order
NUMBERS = "numbers"  # integers, collected in order

Value = str | int | bool | list[str | int] | None


class Option:
    """An option: its long name first, then the short one; a default of None means "not said"."""

    __slots__ = ("default", "help", "hidden", "key", "kind", "names")

    def __init__(
        self,
        names: str,
        kind: str,
        help: str,  # noqa: A002 - the word every reader of a command table expects
        default: str | int | bool | None = None,
        *,
        hidden: bool = False,
    ) -> None:
        self.names = tuple(names.split())
        self.key = self.names[0].replace("-", "_")  # the keyword argument of the target
        self.kind = kind
        self.help = help
        self.default = default
        self.hidden = hidden

    @property
    def name(self) -> str:
        """The long name, without dashes."""
        return self.names[0]

    def unset(self) -> Value:
        """The value where the option is not given; a list is a new one each time."""
        return [] if self.kind in (TEXTS, NUMBERS) else self.default


class Command:
    """A command: what it is called with, which function does it, and how it is explained."""

    __slots__ = ("about", "failure", "help", "least", "most", "name", "options", "target", "usage")

    def __init__(  # noqa: PLR0913 - a row has as many columns as it has
        self,
        name: str,
        help: str,  # noqa: A002
        options: tuple[Option, ...] = (),
        *,
        usage: str = "<container-id>",
        operands: tuple[int, int | None] = (1, 1),
        failure: int = 1,
        about: str = "",
        target: str = "",
    ) -> None:
        self.name = name
        self.help = help
        self.options = options
        self.usage = usage
        self.least, self.most = operands  # how many; None is any number
        self.failure = failure  # exit status where the target raises
        self.about = about
        self.target = target or f"minirunc.commands.{name}:{name}"

    @property
    def interspersed(self) -> bool:
        """Options may follow operands; not where the further operands are a command line of their own."""
        return self.most is not None

    def accepts(self, count: int) -> bool:
        """Whether this many operands are right."""
        return self.least <= count and (self.most is None or count <= self.most)


GLOBALS = (
    Option("debug", FLAG, "log every step: each system call with its arguments and result", False),
    Option("log", PATH, "append log lines to this file (or journald:NAME, syslog:NAME), not to stderr", ""),
    Option("log-format", TEXT, "form of the log lines: text or json", "text"),
    Option("log-level", TEXT, "what is logged: error, warning or debug (default: warning)", ""),
    Option("root", PATH, "directory of the containers' state, best on a tmpfs (default: /run/minirunc)"),
    Option("systemd-cgroup", FLAG, "ask systemd for cgroups; cgroupsPath is then slice:prefix:name", False),
    Option("cgroup-manager", TEXT, "who makes cgroups: cgroupfs, systemd or disabled (default: cgroupfs)", ""),
    Option("rootless", TEXT, "go on where cgroups cannot be written: true, false or auto", "auto"),
)

_BUNDLE = Option("bundle b", PATH, "bundle directory (default: the current directory)", "")
_CONFIG = Option("config f", PATH, "configuration to use (default: config.json in the bundle)", "")
_REGEX = Option("regex r", FLAG, "the id is a regular expression: do it to all that match, warn of what fails", False)
_CONSOLE = Option("console-socket", PATH, "unix socket that receives the terminal's master end", "")
_PIDFD = Option("pidfd-socket", PATH, "unix socket that receives a pidfd of the new process", "")
_PID_FILE = Option("pid-file", PATH, "file that receives the new process's pid", "")
_DETACH = Option("detach d", FLAG, "return once the process runs instead of waiting for it", False)
_PRESERVE = Option("preserve-fds", NUMBER, "pass this many more fds, from 3 + $LISTEN_FDS on", 0)
_CREATE = (
    _BUNDLE,
    _CONFIG,
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    Option("no-pivot", FLAG, "move the root mount instead of pivot_root, for a rootfs on a ramdisk", False),
    Option("no-new-keyring", FLAG, "keep the caller's session keyring", False),
    _PRESERVE,
)
_RUN = (
    *_CREATE,
    _DETACH,
    Option("keep", FLAG, "keep the container's state and cgroup after its process ended", False),
    Option("no-subreaper", FLAG, "do not adopt the container's orphaned processes while waiting", False),
)
_EXEC = (
    _CONSOLE,
    _PIDFD,
    Option("cwd", TEXT, "working directory in the container", ""),
    Option("env e", TEXTS, "NAME=value for the environment, once for each variable"),
    Option("tty t", FLAG, "give the process a terminal", False),
    Option("user u", TEXT, "uid[:gid] to run as, in numbers", ""),
    Option("additional-gids g", NUMBERS, "a further group id, once for each"),
    Option("process p", PATH, "JSON file that describes the whole process, in the form of config.json's", ""),
    _DETACH,
    _PID_FILE,
    Option("process-label", TEXT, "SELinux label of the process", ""),
    Option("apparmor", TEXT, "AppArmor profile of the process", ""),
    Option("no-new-privs", FLAG, "let the process gain no privileges by execve"),
    Option("cap c", TEXTS, "a capability to add, once for each"),
    _PRESERVE,
    Option("cgroup", TEXTS, "run in this existing cgroup below the container's"),
    Option("ignore-paused", FLAG, "allow it in a paused container; the process waits for resume", False),
)
_UPDATE = (
    Option("resources r", PATH, "JSON file in the form of linux.resources, or - for stdin", ""),
    Option("blkio-weight", NUMBER, "weight of its input and output, 10 to 1000", 0),
    Option("cpu-period", TEXT, "microseconds in which cpu-quota may be used", ""),
    Option("cpu-quota", TEXT, "microseconds of CPU time in a period; -1: no limit", ""),
    Option("cpu-burst", TEXT, "microseconds of unused quota that may be used later", ""),
    Option("cpu-share", TEXT, "share of the CPUs, 2 to 262144; one without a limit has 1024", ""),
    Option("cpu-rt-period", TEXT, "(without effect: cgroup v2 has no real-time limits)", ""),
    Option("cpu-rt-runtime", TEXT, "(without effect: cgroup v2 has no real-time limits)", ""),
    Option("cpuset-cpus", TEXT, "CPUs to run on: 0-3,7", ""),
    Option("cpuset-mems", TEXT, "memory nodes to use: 0-1", ""),
    Option("kernel-memory", TEXT, "(without effect)", "", hidden=True),
    Option("kernel-memory-tcp", TEXT, "(without effect)", "", hidden=True),
    Option("memory", TEXT, "bytes of memory; -1: no limit", ""),
    Option("cpu-idle", TEXT, "1: run only where nobody else wants to; 0: as others", ""),
    Option("memory-reservation", TEXT, "bytes of memory that are taken away last; -1: all", ""),
    Option("memory-swap", TEXT, "bytes of memory and swap together; -1: no limit of swap", ""),
    Option("pids-limit", NUMBER, "number of tasks; -1: no limit"),
    Option("l3-cache-schema", TEXT, "Intel RDT: parts of the L3 cache, L3:0=ff;1=f", ""),
    Option("mem-bw-schema", TEXT, "Intel RDT: memory bandwidths, MB:0=20;1=70", ""),
)
_FORMAT = Option("format f", TEXT, "table or json", "table")

_BIRTH = """A bundle is a directory with a config.json (see "spec") and, as a rule, a root file system.
The id is of your choice; no other container below the same --root may have it.
"""

# What runc has and minirunc has not. Engines take a `checkpoint --help` that succeeds for a yes.
NOT_SUPPORTED = {
    "checkpoint": "checkpoint is not supported: minirunc does not use CRIU",
    "restore": "restore is not supported: minirunc does not use CRIU",
}

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "create",
            "create a container; its process waits for start",
            (*_CREATE, Option("no-subreaper", FLAG, "(without effect: create waits for nothing)", False, hidden=True)),
            about=_BIRTH + "When create returns the container is complete, but for the program of process.args.",
        ),
        Command(
            "start",
            "start the process of a created container",
            about="Runs process.args of the container that create left waiting.",
        ),
        Command(
            "run",
            "create and start a container and wait for its end",
            _RUN,
            about=_BIRTH + "The exit status is that of the container's process, 128 + N where signal N ended it.",
        ),
        Command(
            "exec",
            "run one more process in a container",
            _EXEC,
            usage="<container-id> <command> [arguments...] | --process FILE <container-id>",
            operands=(1, None),
            failure=255,
            target="minirunc.commands.exec:exec_",
            about="""Everything after the container id belongs to the command.
Without --process the process is that of the bundle's config.json, changed by the options here.
The exit status is that of the process, 255 where it could not be started.""",
        ),
        Command(
            "kill",
            "send a signal to the container's first process (default: SIGTERM)",
            (Option("all a", FLAG, "do not complain of a container that has stopped", False, hidden=True), _REGEX),
            usage="<container-id> [signal]",
            operands=(1, 2),
            about="The signal is a number or a name, with or without SIG, in upper or lower case.",
        ),
        Command(
            "delete",
            "remove what a stopped container left",
            (Option("force f", FLAG, "kill a container that still runs", False), _REGEX),
            about="Removes state and cgroup, runs the poststop hooks. One that was never started is killed.",
        ),
        Command(
            "state",
            "print the state of a container as JSON",
        ),
        Command(
            "list",
            "list the containers below --root",
            (_FORMAT, Option("quiet q", FLAG, "only the ids", False)),
            usage="",
            operands=(0, 0),
            target="minirunc.commands.list:list_",
        ),
        Command(
            "events",
            "print what a container uses, and when memory runs out, as JSON lines",
            (
                Option("interval", DURATION, "time between two stats, such as 100ms or 1m30s (default: 5s)", 5 * 10**9),
                Option("stats", FLAG, "one record, at once", False),
            ),
            about="""Each interval a line {"type":"stats",...}, and when the kernel killed a process of the container
for want of memory, {"type":"oom",...}; until the last process in the container's cgroup has ended.""",
        ),
        Command(
            "ps",
            "list the processes of a container",
            (_FORMAT,),
            usage="<container-id> [ps options]",
            operands=(1, None),
            about="Everything after the container id is given to ps(1), -ef where there is nothing.",
        ),
        Command("pause", "freeze all processes of a container"),
        Command("resume", "let the processes of a paused container run again"),
        Command(
            "update",
            "change the limits of a container",
            _UPDATE,
            about="""What is not named stays as it is; where one limit is refused all do.
Bytes may end in b, k, m or g. With --resources the other options are ignored but for
--l3-cache-schema and --mem-bw-schema.""",
        ),
        Command(
            "mounts",
            "add mounts to a container that exists, or remove some",
            usage="add|remove <container-id> FILE",
            operands=(3, 3),
            about="""FILE, or - for stdin, is a JSON array in the form of config.json's mounts. Sources are the host's,
destinations the container's; to remove, only those count. Where one cannot be added none is.""",
        ),
        Command(
            "spec",
            "write a config.json to begin with",
            (
                Option("bundle b", PATH, "directory to write it in (default: the current directory)", ""),
                Option("file f", PATH, "file to write, seen from there (default: config.json)", ""),
                Option("rootless", FLAG, "for a container that needs no root", False),
            ),
            usage="",
            operands=(0, 0),
            about="""It runs "sh" on a terminal, with rootfs/ as a read-only root file system:

    mkdir -p bundle/rootfs && cp -a <root file system>/. bundle/rootfs
    minirunc spec --bundle bundle
    minirunc run --bundle bundle <container-id>

An existing config.json is left alone. --rootless maps your user and group to root in a user namespace.""",
        ),
        Command(
            "features",
            "print what this runtime supports as JSON",
            usage="",
            operands=(0, 0),
            about="In the form of the runtime-spec's features.md.",
        ),
    )
}
