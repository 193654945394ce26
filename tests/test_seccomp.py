"""config/linux/seccomp.py, kernel/seccomp.py: filters as the container feels them, by the calls it makes."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

import minirunc as library
from minirunc.config.linux.seccomp import Seccomp
from minirunc.container import compiling
from minirunc.kernel.seccomp import Library, answer
from tests import inside
from tests.attacks.attackers import give_python
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.ground.seccomp import NEW, NUMBERS, calls, docker, filtered, profile, rule
from tests.test_namespaces import mapped

X86_64 = os.uname().machine == "x86_64"
X32 = 1 << 30
SIGSYS = 31


def results(minirunc: Runtime, made: Bundle, seccomp: dict[str, Any], *wanted: tuple[int, ...]) -> list[int]:
    """What system calls return inside, -errno for a failure."""
    calls(filtered(made, seccomp), *wanted)
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    return [int(line) for line in result.out.split()]


# --- actions ---

MKDIR = "mkdir mkdirat"


@pytest.mark.observes(
    "linux.seccomp.defaultAction",
    "linux.seccomp.syscalls[].names[]",
    "linux.seccomp.syscalls[].action",
    "linux.seccomp.syscalls[].errnoRet",
)
@pytest.mark.parametrize("nnp", [True, False])
@pytest.mark.parametrize(("given", "seen"), [(None, "Operation not permitted"), (100, "Network is down")])
def test_errno_is_what_the_call_returns(
    minirunc: Runtime, bundle: Callable[..., Bundle], given: int | None, seen: str, nnp: bool
) -> None:
    """SCMP_ACT_ERRNO: EPERM, or errnoRet."""
    made = filtered(bundle("mkdir /x"), profile("ALLOW", rule(MKDIR, "ERRNO", errno=given)))
    made.process["noNewPrivileges"] = nnp
    assert minirunc.run(made) == (1, "", f"mkdir: can't create directory '/x': {seen}\n")


@pytest.mark.observes("linux.seccomp.syscalls[].action")
@pytest.mark.parametrize("action", ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"])
def test_killing_actions_are_sigsys(minirunc: Runtime, bundle: Callable[..., Bundle], action: str) -> None:
    """The container's process ends by SIGSYS, 128 + 31 for the caller."""
    made = filtered(bundle(["mkdir", "/x"]), profile("ALLOW", rule(MKDIR, action)))
    made.process["rlimits"].append({"type": "RLIMIT_CORE", "soft": 0, "hard": 0})
    assert minirunc.run(made) == (128 + SIGSYS, "", "")


def test_trace_without_a_tracer_is_enosys(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """SCMP_ACT_TRACE, seccomp(2)."""
    found = results(minirunc, bundle(), profile("ALLOW", rule(MKDIR, "TRACE", errno=5)), (NUMBERS["mkdirat"], 0, 0, 0))
    assert found == [-errno.ENOSYS]


@pytest.mark.observes("linux.seccomp.defaultAction", "linux.seccomp.syscalls[].action")
def test_logged_calls_are_made(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """SCMP_ACT_LOG, as an action and as the default."""
    made = filtered(bundle("mkdir /x && ls -d /x"), profile("LOG", rule(MKDIR, "LOG")))
    assert minirunc.run(made) == (0, "/x\n", "")


def test_a_rule_like_the_default_changes_nothing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """It is dropped, as libseccomp refuses it; with another errno it is a rule."""
    made = bundle()
    pid = (NUMBERS["getpid"],)
    seccomp = profile("ALLOW", rule("getpid", "ALLOW"), rule("getpid", "ERRNO", errno=7))
    assert results(minirunc, made, seccomp, pid) == [-7]


@pytest.mark.observes("linux.seccomp.defaultErrnoRet")
def test_default_errno_is_what_other_calls_return(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """defaultErrnoRet."""
    seccomp = docker() | {"defaultErrnoRet": errno.ENXIO}
    seccomp["syscalls"].append(rule("setns", "ERRNO", errno=9))
    found = results(minirunc, bundle(), seccomp, (NUMBERS["personality"], 3), (NUMBERS["setns"], 0))
    assert found == [-errno.ENXIO, -9]


# --- arguments ---

BIG = 1 << 40
OPERATORS = [
    # operator, value, valueTwo; arguments that match, and that do not
    ("EQ", BIG | 5, 0, (BIG | 5,), (5, BIG, 2 * BIG | 5)),
    ("NE", BIG | 5, 0, (5, 0), (BIG | 5,)),
    ("LT", BIG, 0, (0, BIG - 1), (BIG, BIG + 1)),
    ("LE", BIG, 0, (0, BIG), (BIG + 1,)),
    ("GT", BIG, 0, (BIG + 1, 2 * BIG), (BIG, 0)),
    ("GE", BIG, 0, (BIG, 2 * BIG), (BIG - 1, 0)),
    ("MASKED_EQ", BIG | 6, BIG | 2, (BIG | 2, 3 * BIG | 11), (2, BIG | 6, BIG)),
    ("EQ", 2**63, 0, (2**63,), (2**63 - 1,)),
]


@pytest.mark.observes(
    "linux.seccomp.syscalls[].args[].index",
    "linux.seccomp.syscalls[].args[].value",
    "linux.seccomp.syscalls[].args[].valueTwo",
    "linux.seccomp.syscalls[].args[].op",
)
@pytest.mark.parametrize(("operator", "value", "two", "match", "other"), OPERATORS)
def test_operators_compare_all_64_bits(
    minirunc: Runtime,
    bundle: Callable[..., Bundle],
    operator: str,
    value: int,
    two: int,
    match: tuple[int, ...],
    other: tuple[int, ...],
) -> None:
    """SCMP_CMP_*; with MASKED_EQ value is the mask and valueTwo what it leaves."""
    seccomp = profile("ALLOW", rule("fadvise64", "ERRNO", (1, operator, value, two), errno=77))
    wanted = [(NUMBERS["fadvise64"], 2**64 - 1, argument, 0, 0) for argument in (*match, *other)]
    found = results(minirunc, bundle(), seccomp, *wanted)
    assert found == [-77] * len(match) + [-errno.EBADF] * len(other)


@pytest.mark.parametrize(("operator", "value", "two", "match", "other"), OPERATORS)
def test_programs_are_asked_what_they_say(
    operator: str, value: int, two: int, match: tuple[int, ...], other: tuple[int, ...]
) -> None:
    """kernel/seccomp.answer: as the kernel has it in the test above."""
    wanted = Seccomp.parse(profile("ALLOW", rule("fadvise64", "ERRNO", (1, operator, value, two), errno=77)))
    program = compiling._compile(wanted, Library(), strict=False)
    for argument in (*match, *other):
        said = answer(program, NUMBERS["fadvise64"], 2**64 - 1, argument, 0, 0)
        assert said == (0x5004D if argument in match else 0x7FFF0000)
    assert answer(program, NEW) == 0x7FFF0000
    assert answer(b"\x07" + bytes(7) + program, 0) is None  # BPF_TAX, which libseccomp has no use for
    assert answer(b"", 0) is None


@pytest.mark.observes("linux.seccomp.syscalls[].args[].index")
def test_comparisons_of_several_arguments_must_all_hold(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """args of one rule; another rule for the same call is an alternative."""
    number = NUMBERS["fadvise64"]
    bad = 2**64 - 1
    seccomp = profile(
        "ALLOW",
        rule("fadvise64", "ERRNO", (1, "EQ", 5, 0), (2, "GT", 7, 0), errno=77),
        rule("fadvise64", "ERRNO", (1, "EQ", 6, 0), errno=78),
    )
    asked = [(number, bad, *rest, 0) for rest in ((5, 8), (5, 7), (4, 8), (6, 0))]
    assert results(minirunc, bundle(), seccomp, *asked) == [-77, -errno.EBADF, -errno.EBADF, -78]


def test_two_comparisons_of_one_argument_are_alternatives(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """As runc has it: each becomes a rule of its own, those of other arguments too."""
    number = NUMBERS["process_vm_readv"]
    comparisons = ((0, "EQ", 100, 0), (0, "EQ", 9001, 0), (1, "EQ", 3, 0))
    seccomp = profile("ALLOW", rule("process_vm_readv", "ERRNO", *comparisons, errno=77))
    asked = [(number, *rest, 0, 0, 0, 9) for rest in ((100, 0), (9001, 0), (5, 3), (5, 4))]
    assert results(minirunc, bundle(), seccomp, *asked) == [-77, -77, -77, -errno.EINVAL]


# --- what is newer than the profile ---

STUBBED = [
    # default action and members, what a call newer than the profile gets, and one that it leaves out
    ("ERRNO", {}, -errno.ENOSYS, -errno.EPERM),
    ("ERRNO", {"defaultErrnoRet": 5}, -errno.ENOSYS, -5),
    ("ERRNO", {"defaultErrnoRet": errno.ENOSYS}, -errno.ENOSYS, -errno.ENOSYS),
    ("TRACE", {}, -errno.ENOSYS, -errno.ENOSYS),  # the kernel's, as there is no tracer
    ("LOG", {}, -errno.ENOSYS, -errno.EINVAL),  # the calls are made
    ("ALLOW", {}, -errno.ENOSYS, -errno.EINVAL),
]


@pytest.mark.parametrize(("default", "members", "new", "left_out"), STUBBED)
def test_calls_newer_than_the_profile_are_enosys(
    minirunc: Runtime, bundle: Callable[..., Bundle], default: str, members: Any, new: int, left_out: int
) -> None:
    """A C library tries a new call and falls back on ENOSYS alone (moby#42680); what was left out is refused."""
    known = docker()["syscalls"][0]
    known["names"].remove("process_vm_readv")
    seccomp = profile(default, known, **members)
    refused = (NUMBERS["process_vm_readv"], 0, 0, 0, 0, 0, 9)
    assert results(minirunc, bundle(), seccomp, (NEW,), refused) == [new, left_out]


@pytest.mark.parametrize("default", ["KILL", "KILL_PROCESS", "TRAP"])
def test_new_calls_do_not_kill(minirunc: Runtime, bundle: Callable[..., Bundle], default: str) -> None:
    """Nor do they where the default action would."""
    seccomp = profile(default, docker()["syscalls"][0], rule("socket clone clone3 personality", "ALLOW"))
    assert results(minirunc, bundle(), seccomp, (NEW,)) == [-errno.ENOSYS]


# --- architectures ---

# getpid by `int $0x80` from 64-bit code; ebx and ecx are 0
INT_80 = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(b"\\x53\\xb8" + (%d).to_bytes(4, "little") + b"\\x31\\xdb\\x31\\xc9\\xcd\\x80\\x5b\\xc3")
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
print(call(), flush=True)
"""
I386_MKDIR, I386_GETPID = 39, 20


@pytest.mark.observes("linux.seccomp.architectures[]")
@pytest.mark.skipif(not X86_64, reason="the second architecture of x86_64")
@pytest.mark.parametrize(
    ("number", "result"), [(I386_MKDIR, -77), (I386_GETPID, 1), (NEW, -errno.ENOSYS)], ids=["rule", "other", "new"]
)
def test_rules_are_for_32_bit_calls_too(
    minirunc: Runtime, bundle: Callable[..., Bundle], number: int, result: int
) -> None:
    """linux.seccomp.architectures: the number that a name has there."""
    made = filtered(bundle(), profile("ALLOW", rule("mkdir", "ERRNO", errno=77)))
    give_python(made, INT_80 % number)
    assert minirunc.run(made) == (0, f"{result}\n", "")


@pytest.mark.skipif(not X86_64, reason="the second architecture of x86_64")
@pytest.mark.parametrize(("number", "result"), [(I386_GETPID, 1), (NEW, -errno.ENOSYS), (26, -errno.EPERM)])
def test_newest_call_is_each_architectures_own(
    minirunc: Runtime, bundle: Callable[..., Bundle], number: int, result: int
) -> None:
    """ENOSYS by the newest 32-bit number; ptrace, 26, is no new one."""
    known = docker()
    known["syscalls"][0]["names"].remove("ptrace")
    made = filtered(bundle(), known)
    give_python(made, INT_80 % number)
    assert minirunc.run(made) == (0, f"{result}\n", "")


@pytest.mark.skipif(not X86_64, reason="the third architecture of x86_64")
def test_x32_calls_have_a_newest_of_their_own(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The kernel has one AUDIT_ARCH for both; a bit of the number tells them apart."""
    asked = [(X32 | NEW,), (X32 | NUMBERS["setns"],), (NEW,), (NUMBERS["setns"],)]
    assert results(minirunc, bundle(), docker(), *asked) == [-errno.ENOSYS, -errno.EPERM] * 2


@pytest.mark.observes("linux.seccomp.architectures[]")
@pytest.mark.skipif(not X86_64, reason="the second architecture of x86_64")
def test_architecture_that_is_not_listed_is_killed(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Even by a filter that allows all: its calls are not those that the profile speaks of."""
    made = filtered(bundle(), {"defaultAction": "SCMP_ACT_ALLOW"})
    give_python(made, INT_80 % I386_GETPID)
    assert minirunc.run(made) == (128 + SIGSYS, "", "")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("SCMP_ARCH_S390X", "its byte order is not this machine's"),
        ("SCMP_ARCH_M68K", "its byte order is not this machine's|libseccomp 2.5.4 does not know SCMP_ARCH_M68K"),
    ],
)
def test_architecture_that_cannot_be_is_told(
    minirunc: Runtime, bundle: Callable[..., Bundle], name: str, why: str
) -> None:
    """By its JSON path."""
    made = filtered(bundle(), {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", name]})
    result = minirunc.run(made)
    told = "minirunc run failed: config.json: linux.seccomp.architectures[1]: "
    assert result.status == 1
    assert any(f"{told}{words}" in result.err for words in why.split("|")), result.err


# --- when it is loaded ---

# What a static program needs to begin and end: nothing that a runtime sets a process up with.
START = "brk arch_prctl set_tid_address set_robust_list mprotect mmap getuid exit_group"


@pytest.mark.parametrize("nnp", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_profile_need_allow_execve_alone(minirunc: Runtime, bundle: Callable[..., Bundle], uid: int, nnp: bool) -> None:
    """It is loaded last, whether or not no_new_privs is set: nothing of the set-up is asked of it."""
    made = filtered(bundle(["true"]), profile("ERRNO", rule(f"execve {START}", "ALLOW")))
    made.process["user"] = {"uid": uid, "gid": uid}
    made.process["noNewPrivileges"] = nnp
    assert minirunc.run(made) == (0, "", "")
    id = minirunc.create(made)
    minirunc.ok("start", id)
    minirunc.wait_for_status(id, "stopped")


def caps(*names: str, **sets: list[str]) -> dict[str, list[str]]:
    """process.capabilities with the same names in each set but those given."""
    full = {name: list(names) for name in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    return full | sets


USERS = {
    "root": {},
    "user": {"user": {"uid": 1000, "gid": 1000}},
    "group": {"user": {"uid": 0, "gid": 5}},
    "without": {"capabilities": None},
    "user without": {"user": {"uid": 7, "gid": 7}, "capabilities": None},
    "ambient": {"user": {"uid": 1000, "gid": 1000}, "capabilities": caps("CAP_KILL", "CAP_NET_RAW")},
    "ambient root": {"capabilities": caps("CAP_KILL", "CAP_CHOWN")},
    "inheritable": {"user": {"uid": 1000, "gid": 1}, "capabilities": caps("CAP_KILL", ambient=[])},
    "bounding alone": {"capabilities": caps(bounding=["CAP_SYS_ADMIN", "CAP_KILL"])},
    "admin": {"user": {"uid": 9, "gid": 9}, "capabilities": caps("CAP_SYS_ADMIN")},
    "admin inheritable": {
        "user": {"uid": 9},
        "capabilities": caps(inheritable=["CAP_SYS_ADMIN"], bounding=["CAP_SYS_ADMIN"]),
    },
}
FOR_FILTER = ("Seccomp", "Seccomp_filters", "Speculation_Store_Bypass", "SpeculationIndirectBranch")
WITHOUT_COUNTS = (
    "Vm",
    "Rss",
    "voluntary",
    "nonvoluntary",
    "Pid",
    "Tgid",
    "Ngid",
    "SigQ",
    "NSpid",
    "NSpgid",
    "HugetlbPages",
)


def said(minirunc: Runtime, made: Bundle, seccomp: Any) -> dict[str, str]:
    made.linux["seccomp"] = seccomp
    made.args(["cat", "/proc/self/status"])
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    return {name: value for name, value in inside.status(result.out).items() if not name.startswith(WITHOUT_COUNTS)}


@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
@pytest.mark.parametrize("case", USERS)
def test_process_is_as_without_a_filter(
    minirunc: Runtime, bundle: Callable[..., Bundle], case: str, nnp: bool, userns: bool
) -> None:
    """Ids, capabilities, no_new_privs: CAP_SYS_ADMIN, kept for seccomp(2), does not outlive execve."""
    made = mapped(bundle()) if userns else bundle()
    made.process.update(USERS[case])
    if made.process["capabilities"] is None:
        del made.process["capabilities"]
    made.process["noNewPrivileges"] = nnp
    without = said(minirunc, made, None)
    with_filter = said(minirunc, made, docker())
    assert (without["Seccomp"], with_filter["Seccomp"], with_filter["Seccomp_filters"]) == ("0", "2", "1")
    for name in FOR_FILTER:
        without.pop(name, None), with_filter.pop(name, None)
    assert with_filter == without


FLAGS = [
    (None, 4),
    ([], 0),
    (["SECCOMP_FILTER_FLAG_TSYNC"], 0),
    (["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], 6),
]


@pytest.mark.parametrize(("flags", "value"), FLAGS)
def test_flags_are_handed_to_seccomp(
    minirunc: Runtime, bundle: Callable[..., Bundle], flags: list[str] | None, value: int
) -> None:
    """linux.seccomp.flags; without them SPEC_ALLOW."""
    made = filtered(bundle("mkdir /x"), profile("ALLOW", rule(MKDIR, "ERRNO")))
    if flags is not None:
        made.linux["seccomp"]["flags"] = flags
    result = minirunc.run(made, before=["--debug"])
    assert result.status == 1
    assert f'msg="seccomp filter flags: {value}"' in result.err
    assert f": seccomp(1, {value}, {{" in result.err
    assert "last batch: execve(" in result.err


@pytest.mark.parametrize("empty", [None, {}, {"architectures": ["SCMP_ARCH_X86"], "syscalls": []}])
def test_empty_section_is_no_filter(minirunc: Runtime, bundle: Callable[..., Bundle], empty: Any) -> None:
    """Neither a default action nor a rule."""
    made = bundle("grep Seccomp: /proc/self/status")
    made.linux["seccomp"] = empty
    assert minirunc.run(made) == (0, "Seccomp:\t0\n", "")


# --- who else gets it ---


@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_exec_gets_the_containers_filter(minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool) -> None:
    """As config.json was at birth; with and without no_new_privs, as another user, by the library."""
    made = filtered(bundle(["sleep", "1000"]), profile("ALLOW", rule(MKDIR, "ERRNO", errno=100)))
    made = mapped(made) if userns else made
    id = minirunc.start(made)
    filtered(made, docker()).write()
    refused = (1, "", "mkdir: can't create directory '/dev/x': Network is down\n")
    assert minirunc("exec", id, "mkdir", "/dev/x") == refused
    assert minirunc("exec", "--no-new-privs=false", id, "mkdir", "/dev/x") == refused
    assert minirunc("exec", "--no-new-privs=false", "--user", "1000:1000", id, "mkdir", "/dev/x") == refused
    assert minirunc.ok("exec", id, "grep", "Seccomp:", "/proc/self/status") == "Seccomp:\t2\n"
    box = library.Container.load(str(minirunc.root), id)
    assert box.exec(["sh", "-c", "grep -q 'Seccomp:.2' /proc/self/status && ! mkdir /dev/x 2>/dev/null"]).wait() == 0


@pytest.mark.parametrize("command", ["run", "start"])
def test_start_container_hook_gets_it(minirunc: Runtime, bundle: Callable[..., Bundle], command: str) -> None:
    """It runs the container's programs; createContainer hooks, which are the host's, do without."""
    made = filtered(bundle(["true"]), profile("ALLOW", rule(MKDIR, "KILL")))
    made.process["rlimits"].append({"type": "RLIMIT_CORE", "soft": 0, "hard": 0})
    mkdir = {"path": "/bin/sh", "args": ["sh", "-c", "mkdir -p dev/shm/x"]}
    made.config["hooks"] = {"createContainer": [mkdir], "startContainer": [mkdir]}
    if command == "run":
        result = minirunc.run(made)
    else:
        id = minirunc.create(made)
        result = minirunc("start", id)
    assert result.status == 1
    assert "error running startContainer hook #0: /bin/sh: signal: bad system call, stdout: , stderr: " in result.err


# --- what goes wrong ---


def test_denied_execve_is_told(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """By the hand, in the words of an execve that fails."""
    made = filtered(bundle(["true"]), profile("ALLOW", rule("execve", "ERRNO", errno=13)))
    assert minirunc.run(made) == (255, "", "exec true: permission denied\n")


@pytest.mark.parametrize("returns", [1, 0])
def test_filter_that_denies_everything_ends(minirunc: Runtime, bundle: Callable[..., Bundle], returns: int) -> None:
    """Not even exit_group is allowed: no process is left that tries again and again."""
    made = filtered(bundle(["true"]), {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": returns})
    made.process["rlimits"].append({"type": "RLIMIT_CORE", "soft": 0, "hard": 0})
    assert minirunc.run(made) == (128 + 4, "", "")  # SIGILL


def test_unknown_names_are_skipped(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A profile may name calls that this libseccomp does not know yet; --debug tells which."""
    made = filtered(bundle("mkdir /x"), profile("ALLOW", rule("nosuchcall mkdir mkdirat naïve", "ERRNO", errno=100)))
    result = minirunc.run(made, before=["--debug"])
    assert "mkdir: can't create directory '/x': Network is down\n" in result.err
    assert 'msg="unknown seccomp syscall \\"nosuchcall\\" ignored"' in result.err


def large(rules: int) -> dict[str, Any]:
    """A filter with some 35 instructions a rule, for three architectures."""
    names = docker()["syscalls"][0]["names"][:rules]
    wanted = [[(index, "EQ", (n + 1) << 32 | index, 0) for index in range(6)] for n in range(rules)]
    return profile("ALLOW", *(rule(name, "ERRNO", *wanted[n], errno=n) for n, name in enumerate(names)))


def test_filter_beyond_the_kernels_bound_is_told(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """4096 instructions; nothing is left of the birth."""
    result = minirunc.run(filtered(bundle(), large(118)))
    assert (result.status, result.out) == (1, "")
    assert "config.json: linux.seccomp: compiles to " in result.err
    assert " instructions, the kernel takes 4096" in result.err


def test_large_filter_and_long_arguments_fit(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The last batch has 128 KiB: what has no room in it is put into the hand's memory before."""
    made = filtered(bundle(["sh", "-c", "echo $#", *(str(n) * 100 for n in range(400))]), large(90))
    made.process["env"] += [f"VARIABLE_{n}={'x' * 1000}" for n in range(30)]
    assert minirunc.run(made) == (0, "399\n", "")


# Executes a command with filters on that leave room for a thousand instructions more: seccomp(2), ENOMEM.
CROWDED = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
for length in [4096] * 7 + [3000]:
    load, allow = struct.pack("=HBBI", 0x20, 0, 0, 0), struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
    code = ctypes.create_string_buffer(load * (length - 1) + allow)
    program = struct.pack("@HP", length, ctypes.addressof(code))
    assert libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_program_does_not_start_if_the_kernel_refuses_the_filter(
    minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """The hand says so, as nobody else is left to, and makes no execve without the filter."""
    made = filtered(bundle("echo started"), docker())
    minirunc.prefix = ["/usr/bin/python3", "-IS", "-c", CROWDED]
    why = "error loading seccomp filter into kernel: cannot allocate memory"
    assert minirunc.run(made) == (255, "", f"{why}\n")
    made.linux["seccomp"] = profile("ALLOW", rule("mkdir", "ERRNO"))
    assert minirunc.run(made) == (0, "started\n", "")


def test_missing_libseccomp_is_told_with_its_package(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """One line that says what to do; containers without a filter do not need it."""
    made = filtered(bundle(["true"]), docker())
    hide = 'for f in $(ldconfig -p | sed -n "s/.*libseccomp.so.2 .*=> //p"); do mount --bind /dev/null $f; done'
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", f'{hide}; exec "$@"', "sh"]
    why = "linux.seccomp needs libseccomp.so.2, which cannot be loaded: install the Debian package libseccomp2"
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, "")
    assert result.err.endswith(f"minirunc run failed: {why}\n") or why in result.err
    assert '"seccomp": {\n            "enabled": false\n        }' in minirunc.ok("features")
    made.linux["seccomp"] = None
    assert minirunc.run(made) == (0, "", "")
