"""config.json process, linux.sysctl, linux.personality: what the process finds of itself, by /proc and by doing."""

import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirunc.config.process.capabilities import NAMES
from tests import inside
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until
from tests.test_namespaces import mapped

STATUS = ["cat", "/proc/self/status"]
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
FIELDS = ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb")
PATH = "PATH=/bin"


def status(minirunc: Runtime, made: Bundle) -> dict[str, str]:
    """/proc/self/status of the container's first process, which has executed nothing else before."""
    made.args(STATUS)
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    return inside.status(result.out)


def refusal(minirunc: Runtime, made: Bundle) -> str:
    """The error a run ends with; nothing has run."""
    result = minirunc.run(made)
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1), result.err
    return result.err.replace('\\"', '"')


def held() -> set[str]:
    """The capabilities we have ourselves: no container can have more."""
    bits = int(inside.status(Path("/proc/self/status").read_text())["CapBnd"], 16)
    return {name for number, name in enumerate(NAMES) if bits >> number & 1}


def mask(*names: str) -> str:
    """The capabilities as /proc/PID/status shows them."""
    return f"{sum(1 << NAMES.index(name) for name in names):016x}"


# --- args ---


def program(made: Bundle, path: str, mode: int, text: str = "#!/bin/sh\necho $0\n") -> None:
    file = made.rootfs / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def test_program_is_looked_up_in_the_containers_path(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.args: args[0] without a slash is searched in PATH of process.env, as execvp(3) does."""
    made = bundle(["prog"])
    made.process["env"] = ["PATH=/none:/a:/b:/c"]
    program(made, "a/prog/file", 0o755)  # a directory of that name
    program(made, "b/prog", 0o644)  # may not be executed
    program(made, "c/prog", 0o755)
    assert minirunc.run(made) == (0, "/c/prog\n", "")


def test_relative_program_starts_from_cwd(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.args: args[0] with a slash is a path from process.cwd."""
    made = bundle(["./prog", "x"])
    made.process["cwd"] = "/opt/app"
    program(made, "opt/app/prog", 0o755, "#!/bin/sh\necho $0 $1 $(pwd)\n")
    assert minirunc.run(made) == (0, "./prog x /opt/app\n", "")


NOT_FOUND = [
    (["nosuch"], 'exec: "nosuch": executable file not found in $PATH'),
    (["noexec"], 'exec: "noexec": executable file not found in $PATH'),
    ([""], 'exec: "": executable file not found in $PATH'),
    (["/bin/nosuch"], 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory'),
    (["./nosuch"], 'exec: "./nosuch": stat ./nosuch: no such file or directory'),
    (["/bin/noexec"], 'exec: "/bin/noexec": permission denied'),
    (["/etc"], 'exec: "/etc": is a directory'),
    (["/etc/passwd/x"], 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory'),
]


@pytest.mark.parametrize(("args", "why"), NOT_FOUND, ids=[args[0] or "empty" for args, _ in NOT_FOUND])
def test_missing_program_fails_create(
    minirunc: Runtime, bundle: Callable[..., Bundle], args: list[str], why: str
) -> None:
    """process.args: what cannot be executed is told by `create` already, in the words that callers look for."""
    made = bundle(args)
    program(made, "bin/noexec", 0o644)
    made.write()
    result = minirunc("create", "--bundle", made.path, minirunc.id())
    assert (result.status, result.out) == (1, "")
    assert result.err.replace('\\"', '"').endswith(f'unable to start container process: {why}"\n')


def test_program_the_user_may_not_execute(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.args: looked at with the rights of process.user."""
    made = bundle(["/bin/mine"])
    program(made, "bin/mine", 0o700)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    assert 'exec: "/bin/mine": permission denied' in refusal(minirunc, made)


def test_bad_interpreter_is_said_on_stderr(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What only execve(2) finds out is one raw line on the process's stderr, and a status that is not 0."""
    made = bundle(["/run.sh"])
    program(made, "run.sh", 0o755, "#!/no/such/interpreter\n")
    result = minirunc.run(made)
    assert (result.status, result.out, result.err) == (255, "", "exec /run.sh: no such file or directory\n")
    program(made, "run.sh", 0o755, "\x7fELF nonsense")
    assert minirunc.run(made)[1:] == ("", "exec /run.sh: exec format error\n")


@pytest.mark.observes("process.args[]", "process.env[]")
def test_arguments_are_passed_as_they_are(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.args, process.env: bytes and order kept; the first argument is the program's name as given."""
    args = ["cat", "/proc/self/cmdline", "/proc/self/environ", "/dev/null", "--", "/dev/null"]
    made = bundle(args)
    made.process["env"] = [PATH, "HOME=/", "Ä=ö\n\t\U0001f600", "EMPTY=", "EQUALS=a=b", "-odd name=1"]
    result = minirunc.run(made)
    assert result.out.split("\0")[:-1] == args + made.process["env"]


def test_a_megabyte_of_arguments_and_environment(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.args, process.env: a few long strings, and many short ones: more than a batch of the hand holds."""
    long = ["x" * 131000] * 4
    many = [f"argument {number}" for number in range(30000)]
    made = bundle(
        ["sh", "-c", 'cat /proc/self/cmdline | wc -c; env | wc -c; echo $#; shift 9999; echo "$1"', *many, *long]
    )
    made.process["env"] = [PATH, "HOME=/", *(f"NAME{number}={'y' * 30}" for number in range(10000))]
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    environment = sum(len(entry) + 1 for entry in [*made.process["env"], "SHLVL=1", "PWD=/"])
    assert result.out.splitlines() == [
        str(len("cat\0/proc/self/cmdline\0")),
        str(environment),
        "30003",
        "argument 10000",
    ]
    made.args(["cat", "/proc/self/cmdline", "/dev/null", *long[:1]])
    assert len(minirunc.run(made).out) == len("cat\0/proc/self/cmdline\0/dev/null\0") + len(long[0]) + 1


def test_too_many_arguments(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.args: more than the kernel takes is told before the start, with what it takes."""
    result = minirunc.run(bundle(["true", "x" * 132000]))
    assert (result.status, result.out) == (1, "")
    why = "process.args[1] has 132000 bytes, the kernel takes 131071"
    assert f"unable to start container process: exec: argument list too long: {why}" in result.err


def test_arguments_have_a_quarter_of_the_stack(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.rlimits: RLIMIT_STACK bounds them, in create, too, and no closer than the kernel does."""
    made = bundle(["true", *["x" * 999] * 250])
    made.process["rlimits"].append({"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 20})
    assert minirunc.run(made).status == 0
    made.process["args"] += ["x" * 999] * 20
    made.write()
    for command in ("run", "create"):
        result = minirunc(command, "--bundle", made.path, minirunc.id())
        assert result.status == 1
        assert "process.args and process.env take " in result.err
        assert ", the kernel takes 262144: a quarter of RLIMIT_STACK, at most 6 MiB" in result.err


# --- env ---


def test_last_of_equal_names_wins(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.env: of a name given twice the last value counts, in the place of the first, as in runc."""
    made = bundle(["cat", "/proc/self/environ"])
    made.process["env"] = ["A=1", PATH, "B=1", "A=2", "HOME=/x", "B=", "A=3"]
    assert minirunc.run(made).out.split("\0") == ["A=3", PATH, "B=", "HOME=/x", ""]


HOMES = [
    ([], 1000, "/home/user"),
    (["HOME="], 1000, "/home/user"),
    (["HOME=/given"], 1000, "/given"),
    ([], 0, "/root"),
    ([], 4711, "/"),
]


def test_home_is_looked_up(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """HOME: where process.env has none, from the container's /etc/passwd; "/" where the user is not in it."""
    made = bundle(["cat", "/proc/self/environ"])
    seen = []
    for env, uid, _ in HOMES:
        made.process["user"] = {"uid": uid, "gid": uid}
        made.process["env"] = [PATH, *env]
        seen.append(minirunc.run(made).out)
    assert seen == [f"{PATH}\0HOME={home}\0" for _, _, home in HOMES]
    with (made.rootfs / "etc/passwd").open("w") as file:
        file.writelines(f"user{number}:x:{number}:0::/home/{number}:/bin/sh\n" for number in range(20000, 0, -1))
    made.process["user"] = {"uid": 3, "gid": 3}
    made.process["env"] = [PATH]
    assert minirunc.run(made).out == f"{PATH}\0HOME=/home/3\0"
    (made.rootfs / "etc/passwd").unlink()
    os.mkfifo(made.rootfs / "etc/passwd")
    assert minirunc.run(made).out == f"{PATH}\0HOME=/\0"


# --- cwd ---


def test_cwd_is_made_in_a_read_only_root(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.cwd, root.readonly: it is made before the root is read-only, as runc does."""
    made = bundle("pwd; touch x")
    made.process["cwd"] = "/opt/app"
    made.config["root"]["readonly"] = True
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, "/opt/app\n")
    assert "Read-only file system" in result.err


@pytest.mark.observes("process.cwd")
def test_cwd_is_made_and_entered(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.cwd: made with its parents where missing, mode 0755 of root; links lead inside the root."""
    made = bundle("pwd -P; stat -c '%a %u:%g' . ..")
    (made.rootfs / "link").symlink_to("/../../real")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    for cwd, real in (("/a/b/c", "/a/b/c"), ("/link/deep", "/real/deep"), ("/a/./b/../b", "/a/b")):
        made.process["cwd"] = cwd
        assert minirunc.run(made, umask=0o077) == (0, f"{real}\n755 0:0\n755 0:0\n", "")


def test_cwd_is_entered_as_root_first(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.cwd: a directory the user may not enter is entered all the same, as in runc."""
    made = bundle("pwd; ls . 2>&1")
    (made.rootfs / "private").mkdir(mode=0o700)
    made.process.update(cwd="/private", user={"uid": 1000, "gid": 1000})
    result = minirunc.run(made)
    assert result.out == "/private\nls: .: Permission denied\n"


def test_cwd_may_need_the_users_rights(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.cwd: where root of a user namespace may not go, the user goes."""
    made = mapped(bundle("pwd; touch x && ls"))
    (made.rootfs / "home/other").mkdir(mode=0o700)
    os.chown(made.rootfs / "home/other", 200000, 200000)
    made.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 1000},
        {"containerID": 1000, "hostID": 200000, "size": 1},
    ]
    made.process.update(cwd="/home/other", user={"uid": 1000, "gid": 1000})
    assert minirunc.run(made) == (0, "/home/other\nx\n", "")
    made.process["user"]["uid"] = 7
    assert "/home/other" in (why := refusal(minirunc, made))
    assert "permission denied" in why


@pytest.mark.parametrize(
    ("cwd", "why"), [("/etc/passwd", "not a directory"), ("/loop/x", "too many levels of symbolic links")]
)
def test_bad_cwd_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle], cwd: str, why: str) -> None:
    """process.cwd: the error names it."""
    made = bundle()
    (made.rootfs / "loop").symlink_to("loop")
    made.process["cwd"] = cwd
    assert f'chdir to cwd ("{cwd}") set in config.json failed: {why}' in refusal(minirunc, made)


def test_cwd_leads_to_no_file_of_the_runtime(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.cwd in /proc/self/fd: no directory of the host is held there (CVE-2024-21626)."""
    made = bundle("cat /mark; ls ../../../../../../../../mark")
    (made.rootfs / "mark").write_text("inside\n")
    for number in range(3, 12):
        made.process["cwd"] = f"/proc/self/fd/{number}"
        result = minirunc.run(made)
        assert result.status == 1 or result.out == "inside\n../../../../../../../../mark\n", number


@pytest.mark.parametrize("length", [254, 255, 256, 257, 2000, 4000])
def test_cwd_may_be_long(minirunc: Runtime, bundle: Callable[..., Bundle], length: int) -> None:
    """process.cwd: every path that the kernel takes."""
    made = bundle("pwd -P")
    made.process["cwd"] = "".join(f"/{'d' * 99}" for _ in range(length // 100))
    made.process["cwd"] += f"/{'d' * (length - len(made.process['cwd']) - 1)}" if length % 100 else ""
    assert minirunc.run(made) == (0, f"{made.process['cwd']}\n", "")


@pytest.mark.parametrize("depth", [0, 3])
def test_cwd_in_a_kept_directory_of_the_host_is_refused(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, depth: int
) -> None:
    """process.cwd by an fd of --preserve-fds: outside of the root, however long the path (CVE-2024-21626)."""
    kept = tmp_path.joinpath("kept", *["d" * 200] * depth)
    kept.mkdir(parents=True)
    made = bundle("echo ran")
    made.process["cwd"] = "/proc/self/fd/3"
    minirunc.prefix = ["sh", "-c", 'cd "$0"; exec "$@" 3<.', str(kept)]
    status, out, err = minirunc.run(made, "--preserve-fds", "1")
    assert (status, out) == (1, "")
    assert "current working directory is outside of container mount namespace root" in err


# --- user ---


@pytest.mark.observes("process.user.uid", "process.user.gid", "process.user.additionalGids[]")
def test_user_and_groups(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.user: real, effective, saved and file system ids, and exactly the additional groups."""
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 100, "additionalGids": [5, 2**32 - 2, 1]}
    seen = status(minirunc, made)
    assert seen["Uid"].split() == ["1000"] * 4
    assert seen["Gid"].split() == ["100"] * 4
    assert sorted(seen["Groups"].split()) == ["1", "4294967294", "5"]
    made.process["user"] = {"uid": 0, "gid": 0}
    seen = status(minirunc, made)
    assert (seen["Uid"].split(), seen["Gid"].split(), seen["Groups"]) == (["0"] * 4, ["0"] * 4, "")


@pytest.mark.parametrize(
    "user", [{"uid": 70000, "gid": 0}, {"uid": 0, "gid": 70000}, {"uid": 0, "gid": 0, "additionalGids": [70000]}]
)
def test_unmapped_user_is_refused(
    minirunc: Runtime, bundle: Callable[..., Bundle], user: dict[str, int | list[int]]
) -> None:
    """process.user: ids MUST be mapped in the user namespace."""
    made = mapped(bundle())
    made.process["user"] = user
    why = refusal(minirunc, made)
    assert "unable to setup user: " in why
    assert "invalid argument" in why


@pytest.mark.observes("process.user.umask")
@pytest.mark.parametrize(("umask", "expected"), [(None, "0022"), (0, "0000"), (0o077, "0077"), (0o777, "0777")])
def test_umask(minirunc: Runtime, bundle: Callable[..., Bundle], umask: int | None, expected: str) -> None:
    """process.user.umask: as given, else 0022, whatever the runtime's is."""
    made = bundle()
    if umask is not None:
        made.process["user"]["umask"] = umask
    made.args(STATUS)
    assert inside.status(minirunc.run(made, umask=0o137).out)["Umask"] == expected


# --- capabilities ---


@pytest.mark.observes(
    "process.capabilities.bounding[]", "process.capabilities.inheritable[]", "process.capabilities.ambient[]"
)
def test_five_capability_sets(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.capabilities: each set exactly as given, for an ordinary user, as far as execve(2) keeps it."""
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SETPCAP", "CAP_CHECKPOINT_RESTORE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
        "ambient": ["CAP_NET_RAW"],
    }
    seen = status(minirunc, made)
    assert [seen[field] for field in FIELDS] == [
        mask(*made.process["capabilities"]["bounding"]),
        mask("CAP_NET_RAW"),  # execve(2): P'(effective) = P'(ambient)
        mask("CAP_NET_RAW"),
        mask("CAP_KILL", "CAP_NET_RAW"),
        mask("CAP_NET_RAW"),
    ]


@pytest.mark.observes("process.capabilities.effective[]")
@pytest.mark.parametrize(("effective", "status"), [(["CAP_DAC_OVERRIDE"], 0), ([], 1)])
def test_effective_capabilities_count_for_the_execve(
    minirunc: Runtime, bundle: Callable[..., Bundle], effective: list[str], status: int
) -> None:
    """process.capabilities.effective: with which an ordinary user's program is executed; then the kernel takes them."""
    made = bundle(["/private/cat", "/proc/self/status"])
    (made.rootfs / "private").mkdir(mode=0o700)
    shutil.copy(made.rootfs / "bin/busybox", made.rootfs / "private/cat")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    sets: dict[str, list[str]] = {name: ["CAP_DAC_OVERRIDE"] for name in ("bounding", "permitted")}
    made.process["capabilities"] = sets | {"effective": effective}
    result = minirunc.run(made)
    assert result.status == status
    if effective:
        assert [inside.status(result.out)[field] for field in FIELDS[:3]] == [mask("CAP_DAC_OVERRIDE"), mask(), mask()]
    else:
        assert "permission denied" in result.err


def test_capabilities_of_root(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.capabilities for root: execve(2) gives it bounding and inheritable; nothing beyond."""
    made = bundle()
    made.process["capabilities"] = {name: ["CAP_KILL", "CAP_CHOWN"] for name in SETS}
    seen = status(minirunc, made)
    assert [seen[field] for field in FIELDS] == [mask("CAP_KILL", "CAP_CHOWN")] * 5


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("capabilities", [None, {}, {"bounding": []}])
def test_no_capabilities(
    minirunc: Runtime, bundle: Callable[..., Bundle], uid: int, capabilities: dict[str, list[str]] | None
) -> None:
    """process.capabilities absent or empty: all five sets are empty, the bounding set, too."""
    made = bundle()
    made.process["user"] = {"uid": uid, "gid": uid}
    made.process["capabilities"] = capabilities
    seen = status(minirunc, made)
    assert [seen[field] for field in FIELDS] == [mask()] * 5


def test_all_capabilities_there_are(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.capabilities: all of them, in all sets."""
    made = bundle()
    made.process["capabilities"] = {name: sorted(held()) for name in SETS}
    seen = status(minirunc, made)
    assert [seen[field] for field in FIELDS] == [mask(*held())] * 5


def test_unknown_and_unavailable_capabilities_are_left_out(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.capabilities: names that are none, and those the runtime lacks: one warning, the others are had."""
    made = bundle(STATUS)
    lacking = sorted(set(NAMES) - held())[:1]
    sets = {name: ["CAP_KILL", "CAP_UNKNOWN", "cap_kill", *lacking] for name in SETS}
    made.process["capabilities"] = sets
    result = minirunc.run(made)
    names = " ".join(sorted(["CAP_UNKNOWN", "cap_kill", *lacking]))
    assert result.err.count("\n") == 1
    assert f'level=warning msg="ignoring unknown or unavailable capabilities: [{names}]"' in result.err
    assert [inside.status(result.out)[field] for field in FIELDS] == [mask("CAP_KILL")] * 5


@pytest.mark.observes("process.capabilities.permitted[]", "process.capabilities.ambient[]")
def test_ambient_capability_that_cannot_be_raised(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.capabilities.ambient: one not permitted and inheritable: left out with runc's warning, by exec, too."""
    made = bundle(STATUS)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_FOWNER"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_CHOWN", "CAP_KILL", "CAP_FOWNER"],
    }
    result = minirunc.run(made)
    warnings = [
        f"can't raise ambient capability {name}: operation not permitted" for name in ("CAP_CHOWN", "CAP_FOWNER")
    ]
    assert [line.partition("msg=")[2] for line in result.err.splitlines()] == [f'"{line}"' for line in warnings]
    assert inside.status(result.out)["CapAmb"] == mask("CAP_KILL")
    made.args("exec sleep 1000")
    executed = minirunc("exec", minirunc.start(made), *STATUS)
    assert [line.partition("msg=")[2] for line in executed.err.splitlines()] == [f'"{line}"' for line in warnings]
    assert inside.status(executed.out)["CapAmb"] == mask("CAP_KILL")


def test_sets_the_kernel_refuses(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.capabilities: effective beyond permitted, inheritable beyond bounding: refused by name, nothing runs."""
    made = bundle()
    made.process["capabilities"] = {"bounding": ["CAP_KILL"], "permitted": [], "effective": ["CAP_KILL"]}
    assert "config.json: process.capabilities.effective: CAP_KILL is not in the permitted set" in refusal(
        minirunc, made
    )
    made.process["capabilities"] = {"bounding": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]}
    assert "config.json: process.capabilities.inheritable: CAP_CHOWN is not in the bounding set" in refusal(
        minirunc, made
    )


@pytest.mark.observes("process.noNewPrivileges")
@pytest.mark.parametrize(("given", "seen"), [(True, "1"), (False, "0"), (None, "0")])
def test_no_new_privileges(minirunc: Runtime, bundle: Callable[..., Bundle], given: bool | None, seen: str) -> None:
    """process.noNewPrivileges: set, and not set where it is false or absent."""
    made = bundle()
    made.process["noNewPrivileges"] = given
    assert status(minirunc, made)["NoNewPrivs"] == seen


# --- limits, scheduling ---

LIMITS = {
    "RLIMIT_AS": ("Max address space", 1 << 40, 2**64 - 1),
    "RLIMIT_CORE": ("Max core file size", 0, 2**63 + 1),
    "RLIMIT_CPU": ("Max cpu time", 3600, 7200),
    "RLIMIT_DATA": ("Max data size", 2**63, 2**64 - 2),
    "RLIMIT_FSIZE": ("Max file size", 2**63 - 1, 2**63),
    "RLIMIT_LOCKS": ("Max file locks", 1, 2),
    "RLIMIT_MEMLOCK": ("Max locked memory", 4096, 8192),
    "RLIMIT_MSGQUEUE": ("Max msgqueue size", 1000, 2000),
    "RLIMIT_NICE": ("Max nice priority", 0, 0),
    "RLIMIT_NOFILE": ("Max open files", 17, 1000),
    "RLIMIT_NPROC": ("Max processes", 50, 60),
    "RLIMIT_RSS": ("Max resident set", 2**64 - 1, 2**64 - 1),
    "RLIMIT_RTPRIO": ("Max realtime priority", 0, 0),
    "RLIMIT_RTTIME": ("Max realtime timeout", 1, 2),
    "RLIMIT_SIGPENDING": ("Max pending signals", 10, 20),
    "RLIMIT_STACK": ("Max stack size", 1 << 20, 8 << 20),
}


def shown(value: int) -> str:
    return "unlimited" if value == 2**64 - 1 else str(value)


@pytest.mark.observes("process.rlimits[].type", "process.rlimits[].soft", "process.rlimits[].hard")
def test_rlimits_are_exact(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.rlimits: all sixteen, soft and hard, to the last bit; what is not named is the runtime's."""
    made = bundle(["cat", "/proc/self/limits"])
    made.process["rlimits"] = [
        {"type": kind, "soft": soft, "hard": hard} for kind, (_, soft, hard) in LIMITS.items() if kind != "RLIMIT_LOCKS"
    ]
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    expected = {name: (shown(soft), shown(hard)) for name, soft, hard in LIMITS.values()}
    name = LIMITS["RLIMIT_LOCKS"][0]
    expected[name] = inside.limits(Path("/proc/self/limits").read_text())[name]
    assert inside.limits(result.out) == expected


def test_limit_on_file_locks(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.rlimits: RLIMIT_LOCKS, the one of the sixteen that the test above leaves out."""
    made = bundle(["cat", "/proc/self/limits"])
    made.process["rlimits"] = [{"type": "RLIMIT_LOCKS", "soft": 1, "hard": 2**64 - 1}]
    assert inside.limits(minirunc.run(made).out)["Max file locks"] == ("1", "unlimited")


def test_small_limits_do_not_stop_the_start(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.rlimits: 0 files, 0 processes, hardly any memory: the process starts, and only then they bind."""
    made = bundle(["cat", "/proc/self/limits"])
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["rlimits"] = [
        {"type": "RLIMIT_NPROC", "soft": 0, "hard": 0},
        {"type": "RLIMIT_AS", "soft": 4 << 20, "hard": 4 << 20},
        {"type": "RLIMIT_NOFILE", "soft": 4, "hard": 4},
    ]
    made.process["args"] += ["/dev/null"] * 20000  # they need memory of the hand's
    assert inside.limits(minirunc.run(made).out)["Max open files"] == ("4", "4")


def test_limit_above_the_hosts_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.rlimits: what the kernel refuses names the type and the values."""
    made = bundle()
    made.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 2**63}]
    why = refusal(minirunc, made)
    assert f"RLIMIT_NOFILE, 5, {2**63}): operation not permitted" in why


@pytest.mark.observes("process.oomScoreAdj")
@pytest.mark.parametrize("score", [0, 500, 1000])
def test_oom_score_adj(minirunc: Runtime, bundle: Callable[..., Bundle], score: int) -> None:
    """process.oomScoreAdj: as given."""
    made = bundle(["cat", "/proc/self/oom_score_adj"])
    made.process["oomScoreAdj"] = score
    assert minirunc.run(made) == (0, f"{score}\n", "")


def test_oom_score_adj_below_the_runtimes(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.oomScoreAdj: lowering it takes CAP_SYS_RESOURCE; without it the error names the field."""
    made = bundle(["cat", "/proc/self/oom_score_adj"])
    made.process["oomScoreAdj"] = -1000
    if "CAP_SYS_RESOURCE" in held():
        assert minirunc.run(made) == (0, "-1000\n", "")
    minirunc.prefix = ["setpriv", "--bounding-set=-sys_resource", "--"]
    assert "config.json: process.oomScoreAdj: -1000 is below the runtime's own" in refusal(minirunc, made)


def test_oom_score_adj_absent_is_inherited(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.oomScoreAdj: without it the runtime's own."""
    minirunc.prefix = ["sh", "-c", 'echo 123 >/proc/self/oom_score_adj; exec "$@"', "sh"]
    assert minirunc.run(bundle(["cat", "/proc/self/oom_score_adj"])) == (0, "123\n", "")


SCHEDULERS = [  # process.scheduler; policy, nice, real-time priority of proc_pid_stat(5)
    ({"policy": "SCHED_OTHER", "nice": 7}, "0 7 0"),
    ({"policy": "SCHED_BATCH", "nice": -3}, "3 -3 0"),
    ({"policy": "SCHED_IDLE"}, "5 own 0"),
    ({"policy": "SCHED_FIFO", "priority": 3}, "1 own 3"),
    ({"policy": "SCHED_RR", "priority": 99, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, "2 own 99"),
    ({"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**7, "period": 10**8}, "6 own 0"),
]


@pytest.mark.observes("process.scheduler.policy", "process.scheduler.nice", "process.scheduler.priority")
@pytest.mark.parametrize(("scheduler", "expected"), SCHEDULERS, ids=[str(given["policy"]) for given, _ in SCHEDULERS])
def test_scheduler(
    minirunc: Runtime, bundle: Callable[..., Bundle], scheduler: dict[str, str | int | list[str]], expected: str
) -> None:
    """process.scheduler: policy, nice, priority and flags of the process itself."""
    made = bundle(["cat", "/proc/self/stat"])
    made.process["scheduler"] = scheduler
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    fields = ["", "", "", *result.out.rpartition(")")[2].split()]
    policy, nice, priority = (fields[place] for place in (41, 19, 40))
    assert f"{policy} {nice} {priority}" == expected.replace("own", str(os.getpriority(os.PRIO_PROCESS, 0)))


ATTRIBUTES = [  # process.scheduler; policy, flags, runtime, deadline, period of sched_getattr(2)
    ({"policy": "SCHED_OTHER", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, (0, 0x1)),
    ({"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"]}, (0, 0)),
    (
        {
            "policy": "SCHED_DEADLINE",
            "runtime": 10**6,
            "deadline": 10**7,
            "period": 10**8,
            "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"],
        },
        (6, 0x6, 10**6, 10**7, 10**8),
    ),
]


@pytest.mark.observes(
    "process.scheduler.flags[]", "process.scheduler.runtime", "process.scheduler.deadline", "process.scheduler.period"
)
@pytest.mark.parametrize(("scheduler", "expected"), ATTRIBUTES, ids=["other", "keep", "deadline"])
def test_scheduler_attributes(
    minirunc: Runtime, bundle: Callable[..., Bundle], scheduler: dict[str, Any], expected: tuple[int, ...]
) -> None:
    """process.scheduler: what no file of /proc tells, as the kernel tells it of the process; for exec, too."""
    made = bundle(["sleep", "1000"])
    made.process["scheduler"] = scheduler
    id = minirunc.start(made)
    assert attributes(minirunc.pid(id))[: len(expected)] == expected
    pid_file = made.path / "pid"
    minirunc.ok("exec", "--detach", "--pid-file", pid_file, "--process", process_file(made), id)
    assert attributes(int(pid_file.read_text()))[: len(expected)] == expected


def attributes(pid: int) -> tuple[int, int, int, int, int]:
    """Policy, flags, runtime, deadline and period of a process."""
    room = ctypes.create_string_buffer(48)
    number = 315 if os.uname().machine == "x86_64" else 275  # sched_getattr
    assert ctypes.CDLL(None).syscall(number, pid, room, len(room), 0) == 0
    _, policy, flags, _, _, runtime, deadline, period = struct.unpack("<IIQiIQQQ", room.raw)
    return policy, flags, runtime, deadline, period


def process_file(made: Bundle) -> Path:
    """The bundle's process for `exec --process`."""
    file = made.path / "process.json"
    file.write_text(json.dumps(made.process))
    return file


@pytest.mark.parametrize(
    ("scheduler", "why"),
    [
        ({"policy": "SCHED_ISO"}, "invalid argument"),
        ({"policy": "SCHED_FIFO", "priority": 100}, "invalid argument"),
        ({"policy": "SCHED_DEADLINE", "runtime": 10**8, "deadline": 10**7, "period": 10**8}, "invalid argument"),
    ],
)
def test_scheduler_the_kernel_refuses(
    minirunc: Runtime, bundle: Callable[..., Bundle], scheduler: dict[str, Any], why: str
) -> None:
    """process.scheduler: its no names the field and the policy."""
    made = bundle()
    made.process["scheduler"] = scheduler
    message = refusal(minirunc, made)
    assert f"process.scheduler: {scheduler['policy']}: sched_setattr(" in message
    assert message.endswith(f'): {why}"\n')


def test_deadline_on_a_part_of_the_cpus(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.scheduler: what the kernel denies for want of CPUs is no matter of rights: runc's words."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("this machine has one CPU: nothing to be bound to")
    made = bundle(["sleep", "1000"])
    id = minirunc.start(made)
    made.process["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**7, "period": 10**8}
    made.process["execCPUAffinity"] = {"final": "0"}
    result = minirunc("exec", "--process", process_file(made), id)
    assert result.status == 255
    assert "process.scheduler: SCHED_DEADLINE: process scheduler can't be used together with AllowedCPUs" in result.err


IO_PRIORITIES = [
    ("IOPRIO_CLASS_BE", 5, "best-effort: prio 5"),
    ("IOPRIO_CLASS_RT", 0, "realtime: prio 0"),
    ("IOPRIO_CLASS_IDLE", 7, "idle"),
]


@pytest.mark.observes("process.ioPriority.class", "process.ioPriority.priority")
@pytest.mark.parametrize(("class_", "priority", "expected"), IO_PRIORITIES)
def test_io_priority(
    minirunc: Runtime, bundle: Callable[..., Bundle], class_: str, priority: int, expected: str
) -> None:
    """process.ioPriority: ioprio_get(2) shows class and priority."""
    made = bundle(["ionice", "-p", "1"])
    made.process["ioPriority"] = {"class": class_, "priority": priority}
    assert minirunc.run(made) == (0, f"{expected}\n", "")


@pytest.mark.observes("linux.personality.domain")
@pytest.mark.parametrize(("domain", "machine"), [("LINUX32", "i686"), ("LINUX", "x86_64")])
def test_personality(minirunc: Runtime, bundle: Callable[..., Bundle], domain: str, machine: str) -> None:
    """linux.personality.domain: LINUX32 makes uname(2) tell a 32-bit machine; exec and hooks inside get it, too."""
    if os.uname().machine != "x86_64":
        pytest.skip("the machine's 32-bit name is known for x86_64 only")
    made = bundle(["uname", "-m"])
    made.linux["personality"] = {"domain": domain}
    assert minirunc.run(made) == (0, f"{machine}\n", "")
    made.args("exec sleep 1000")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "uname -m > /hook"], "env": [PATH]}
    made.config["hooks"] = {"startContainer": [hook]}
    assert minirunc.ok("exec", minirunc.start(made), "uname", "-m") == f"{machine}\n"
    assert (made.rootfs / "hook").read_text() == f"{machine}\n"


SYSCTLS = {
    "kernel.msgmax": "4096",
    "kernel/shmmni": "17",
    "kernel.sem": "250\t32000\t32\t99",
    "fs.mqueue.queues_max": "33",
    "net.ipv4.ip_forward": "1",
    "net/ipv4/conf/lo/forwarding": "0",
    "net.core.somaxconn": "77",
    "kernel.domainname": "example.org",
}


@pytest.mark.observes("linux.sysctl[]")
def test_sysctls(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.sysctl: written in the container's namespaces though /proc/sys is read-only there; the host's stay."""
    files = [f"/proc/sys/{name.replace('.', '/')}" for name in SYSCTLS]
    before = [Path(file).read_text() for file in files]
    made = bundle(["cat", *files])
    made.linux["sysctl"] = {name: value.replace("\t", " ") for name, value in SYSCTLS.items()}
    assert minirunc.run(made).out.splitlines() == list(SYSCTLS.values())
    assert [Path(file).read_text() for file in files] == before


def test_sysctls_in_a_user_namespace(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.sysctl in a user namespace: those of namespaces it owns."""
    made = mapped(bundle("cat /proc/sys/net/ipv4/ping_group_range /proc/sys/user/max_net_namespaces"))
    made.linux["sysctl"] = {"net.ipv4.ping_group_range": "0 65535", "user.max_net_namespaces": "5"}
    assert minirunc.run(made) == (0, "0\t65535\n5\n", "")


def test_sysctl_the_kernel_refuses(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.sysctl: an unknown name and a bad value end in an error that names it."""
    made = bundle()
    for name, value, why in (("net.nosuch", "1", "no such file or directory"), ("net.core.somaxconn", "x", "invalid")):
        made.linux["sysctl"] = {name: value}
        error = refusal(minirunc, made)
        assert f'config.json: linux.sysctl["{name}"]' in error
        assert why in error


# --- files, signals, session ---


def fds(minirunc: Runtime, made: Bundle, *options: object) -> list[str]:
    """The fds that the first process has open, as another one inside sees them."""
    made.args("ls /proc/1/fd; true")
    result = minirunc.run(made, *options)
    assert (result.status, result.err) == (0, "")
    return result.out.split()


def opening(tmp_path: Path, count: int, env: str = "") -> list[str]:
    """A prefix that opens `count` files as fds from 3 on, each holding its number."""
    words = []
    for number in range(3, 3 + count):
        (tmp_path / f"fd{number}").write_text(f"{number}\n")
        words.append(f"{number}<{tmp_path}/fd{number}")
    return ["sh", "-c", f'exec {" ".join(words)}; {env} exec "$@"', "sh"]


def test_only_the_standard_streams_are_open(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """No fd but 0 to 2 reaches the process, whatever the runtime has inherited; also not through create and exec."""
    minirunc.prefix = opening(tmp_path, 5)
    made = bundle()
    assert fds(minirunc, made) == ["0", "1", "2"]
    made.args(["sleep", "1000"])  # no shell, which has fds of its own for a moment
    id = minirunc.create(made)
    waiting = [os.readlink(f"/proc/{minirunc.pid(id)}/fd/{fd}") for fd in os.listdir(f"/proc/{minirunc.pid(id)}/fd")]
    assert len(waiting) == 4
    assert sum(link.endswith("/exec.fifo") for link in waiting) == 1
    minirunc.ok("start", id)
    process = Path(f"/proc/{minirunc.pid(id)}")
    wait_until(lambda: (process / "comm").read_text() == "sleep\n", "the hand becomes the process")
    assert sorted(os.listdir(process / "fd")) == ["0", "1", "2"]
    minirunc.ok("exec", "--detach", "--pid-file", tmp_path / "pid", id, "sleep", "1000")
    process = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
    wait_until(lambda: (process / "comm").read_text() == "sleep\n", "the hand becomes the process")
    assert sorted(os.listdir(process / "fd")) == ["0", "1", "2"]


def test_preserved_fds(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """--preserve-fds N: 3 to 3+N-1 are kept, with their content, and no others; by run, create and exec."""
    minirunc.prefix = opening(tmp_path, 5)
    made = bundle()
    assert fds(minirunc, made, "--preserve-fds", 2) == ["0", "1", "2", "3", "4"]
    made.args("cat <&3 >/out; cat <&4 >>/out; cat <&5 2>>/out; exec sleep 1000")
    id = minirunc.create(made, "--preserve-fds", 2)
    minirunc.ok("start", id)
    script = "cat <&3; cat <&4; cat <&5; ls /proc/$$/fd; true"
    assert minirunc.ok("exec", "--preserve-fds", 3, id, "sh", "-c", script).split() == list("345012345")
    assert (made.rootfs / "out").read_text().splitlines()[:2] == ["3", "4"]


def test_preserved_fd_that_is_not_open(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """--preserve-fds: each must be open."""
    result = minirunc.run(bundle(), "--preserve-fds", 1)
    assert result.status == 1
    assert "unable to stat preserved-fd 0 (of 1): bad file descriptor" in result.err


def test_activated_sockets_are_passed_on(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """LISTEN_FDS (sd_listen_fds(3)): the sockets come first, the process is told; --preserve-fds ones follow."""
    made = bundle("env | grep LISTEN | sort; ls /proc/$$/fd; cat <&5")
    minirunc.prefix = opening(tmp_path, 5, "LISTEN_FDS=2 LISTEN_PID=$$")
    assert minirunc.run(made, "--preserve-fds", 1).out.split() == ["LISTEN_FDS=2", "LISTEN_PID=1", *"0123455"]
    minirunc.prefix = opening(tmp_path, 5, "LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web")
    made.args("env | grep LISTEN | sort; cat <&3; exec sleep 1000")
    with (tmp_path / "out").open("w") as out:
        id = minirunc.create(made, stdout=out)  # the process has them, though others start it
    minirunc.prefix = []
    minirunc.ok("start", id)
    wait_until(lambda: (tmp_path / "out").read_text().count("\n") == 4, "it says what it has")
    assert (tmp_path / "out").read_text().split() == ["LISTEN_FDNAMES=web", "LISTEN_FDS=1", "LISTEN_PID=1", "3"]
    made.without_namespace("pid")
    minirunc.prefix = opening(tmp_path, 5, "LISTEN_FDS=1 LISTEN_PID=$$")
    made.args('test "$LISTEN_PID" = $$ && echo "of this process"')
    assert minirunc.run(made).out == "of this process\n"
    made.namespace("pid")
    minirunc.prefix = opening(tmp_path, 5, "LISTEN_FDS=2 LISTEN_PID=1")  # meant for another process
    made.args("env | grep LISTEN; ls /proc/1/fd; true")
    assert minirunc.run(made).out.split() == ["0", "1", "2"]


def test_standard_streams_belong_to_the_user(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.user owns the streams, so that /dev/stdout can be opened; /dev/null, which all share, is left alone."""
    made = bundle("echo opened >/dev/stdout; stat -L -c %u:%g /proc/self/fd/1 /proc/self/fd/2")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    null = os.stat("/dev/null")
    result = minirunc.run(made, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert result.status == 0
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_mode) == (null.st_uid, null.st_mode)
    with (tmp_path / "out").open("w+") as out:
        assert minirunc.run(made, stdout=out).status == 0
        assert os.fstat(out.fileno()).st_uid == 1000
        assert (tmp_path / "out").read_text().split()[-2:] == ["1000:0", "1000:0"]


def test_signals_are_as_at_the_beginning(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Whatever the runtime or its caller ignores or blocks: inside nothing is ignored, blocked, caught or pending."""
    script = "trap '' HUP INT QUIT PIPE TERM CHLD USR1 TSTP; exec env --block-signal \"$@\""
    minirunc.prefix = ["sh", "-c", script, "sh"]
    made = bundle()
    none = dict.fromkeys(("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"), "0" * 16)
    seen = status(minirunc, made)
    assert {name: seen[name] for name in none} == none
    made.args(["cp", "/proc/self/status", "/out"])
    id = minirunc.create(made)
    minirunc.ok("start", id)
    minirunc.wait_for_status(id, "stopped")
    seen = inside.status((made.rootfs / "out").read_text())
    assert {name: seen[name] for name in none} == none
    made.args("exec sleep 1000")
    seen = inside.status(minirunc.ok("exec", minirunc.start(made), *STATUS))
    assert {name: seen[name] for name in none} == none


def test_process_leads_a_session(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The process is pid 1, alone in a session and process group of its own, not traced, its name its program's."""
    result = minirunc.run(bundle(["cat", "/proc/self/stat", "/proc/self/status"]))
    stat, _, text = result.out.partition("\n")
    assert stat.split()[:8] == ["1", "(cat)", "R", "0", "1", "1", "0", "-1"]
    seen = inside.status(text)
    assert (seen["Threads"], seen["TracerPid"], seen["Seccomp"]) == ("1", "0", "0")


@pytest.mark.parametrize("options", [(), ("--no-new-keyring",)])
def test_session_keyring(minirunc: Runtime, bundle: Callable[..., Bundle], options: tuple[str, ...]) -> None:
    """A session keyring of the container's own, named after it, unless --no-new-keyring."""
    made = bundle(["cat", "/proc/keys"])
    made.linux["maskedPaths"] = []
    id = minirunc.id()
    result = minirunc.run(made, *options, id=id)
    assert result.status == 0
    assert (f" _ses.{id}: " in result.out) == (not options)


def test_exec_has_the_containers_keyring(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`exec`: the session keyring is the container's, not that of who called exec."""
    made = bundle("cat /proc/keys >/out; exec sleep 1000")
    made.linux["maskedPaths"] = []
    id = minirunc.start(made)
    wait_until(lambda: (made.rootfs / "out").exists() and (made.rootfs / "out").read_text(), "the keys are read")
    seen = [(made.rootfs / "out").read_text(), minirunc.ok("exec", id, "cat", "/proc/keys")]
    rings = [[line.split()[0] for line in text.splitlines() if f" _ses.{id}: " in line] for text in seen]
    assert rings[0] == rings[1]
    assert len(rings[0]) == 1


@pytest.mark.parametrize("length", [1, 200])
def test_pidfd_is_sent(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], length: int) -> None:
    """--pidfd-socket, its path of any length: one message with a pidfd of the new process, by create, run and exec."""
    directory = tmp_path / ("d" * length)
    directory.mkdir()
    path = directory / "pidfd.sock"
    made = bundle("exec sleep 1000")
    with socket.socket(socket.AF_UNIX) as listening:
        where = os.open(directory, os.O_PATH)
        listening.bind(f"/proc/self/fd/{where}/{path.name}")
        os.close(where)
        listening.listen()

        def received() -> tuple[bytes, int]:
            connection, _ = listening.accept()
            with connection:
                payload, fds, _, _ = socket.recv_fds(connection, 100, 2)
                assert len(fds) == 1
                told = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
                os.close(fds[0])
            return payload, int(told.partition("Pid:\t")[2].split()[0])

        created = minirunc.create(made, "--pidfd-socket", path)
        assert received() == (b"standard", minirunc.pid(created))
        run = minirunc.start(made, "--pidfd-socket", path)
        assert received() == (b"standard", minirunc.pid(run))
        options = ("--detach", "--pidfd-socket", path, "--pid-file", tmp_path / "pid")
        minirunc.ok("exec", *options, run, "sleep", "1000")
        assert received() == (b"setns", int((tmp_path / "pid").read_text()))
