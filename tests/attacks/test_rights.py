"""Attacks on rights and ids: capabilities, users, groups, signals, keys that a process should not have."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import inside
from tests.attacks.attackers import give_python
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Runtime, wait_until

GAIN = 1 << 0 | 1 << 7  # CAP_CHOWN, CAP_SETUID
NONE = "0" * 16


def file_capabilities(program: Path, inheritable: int) -> None:
    """Give a program file capabilities: effective where its caller has them inheritable (capabilities(7))."""
    value = struct.pack("<5I", 0x02000001, 0, inheritable & 0xFFFFFFFF, 0, inheritable >> 32)
    os.setxattr(program, "security.capability", value)


@attack("CVE-2022-29162, CVE-2022-27650", "rights and ids", "no inheritable capabilities but those of config.json")
def test_file_capabilities_raise_nobody(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A program with inheritable file capabilities, run by a user: gains by no config of ours, and by no exec --cap."""
    made = bundle()
    (made.rootfs / "gain").mkdir()
    program = made.rootfs / "gain/cat"
    program.write_bytes((made.rootfs / "bin/busybox").read_bytes())
    program.chmod(0o755)
    file_capabilities(program, GAIN)
    names = ["CAP_CHOWN", "CAP_SETUID"]
    words = ["/gain/cat", "/proc/self/status"]
    made.args(words)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["noNewPrivileges"] = False
    spec = json.loads(spec_of(minirunc, made))["process"]["capabilities"]
    sets = [spec, dict.fromkeys(("bounding", "effective", "permitted"), names)]
    for capabilities in sets:
        made.process["capabilities"] = capabilities
        seen = inside.status(minirunc.run(made).out)
        assert (seen["Uid"].split()[0], seen["CapEff"], seen["CapInh"], seen["CapAmb"]) == ("1000", NONE, NONE, NONE)
    made.args(["sleep", "1000"])
    id = minirunc.start(made)
    seen = inside.status(minirunc.ok("exec", "--cap", names[0], "--cap", names[1], id, *words))
    assert (seen["CapEff"], seen["CapInh"], seen["CapAmb"]) == (NONE, NONE, NONE)
    made.args(words)
    made.process["capabilities"] = {**sets[1], "inheritable": names}  # the test can see
    assert int(inside.status(minirunc.run(made).out)["CapEff"], 16) == GAIN


def spec_of(minirunc: Runtime, made: Bundle) -> str:
    """What `minirunc spec` writes."""
    directory = made.path / "spec"
    directory.mkdir()
    minirunc.ok("spec", cwd=directory)
    return (directory / "config.json").read_text()


WORDS = (
    *(
        "-1",
        "0x0",
        "0x1",
        "4294967295",
        "4294967296",
        "1:2:3",
        " 0",
        "0 ",
        "+0",
        "-0",
        "0\n",
        "\n0",
        "١",
        "²",
        "0.0",
        "1e0",
    ),
    *(
        "1000root",
        "0root",
        "root",
        "1000:",
        ":1000",
        ":",
        "1000:-1",
        "1000:0x0",
        "1000: 0",
        "1000:root",
        "1,2",
        "1000;0",
    ),
)


@attack("CVE-2026-30892", "rights and ids", "a user is digits, a group is digits, in range")
def test_word_that_is_no_user_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`exec --user`: root only by the digit 0; and process.user in a process file only by numbers."""
    made = bundle("exec sleep 1000")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    id = minirunc.start(made)
    for word in WORDS[:: 4 if IN_UML else 1]:
        result = minirunc("exec", f"--user={word}", id, "id")
        assert (result.status, result.out) == (255, ""), repr(word)
        assert "bad uid" in result.err or "bad gid" in result.err, repr(word)
    assert minirunc.ok("exec", "--user=", id, "id", "-u") == "1000\n"
    file = made.path / "process.json"
    process = {**made.process, "args": ["id"]}
    for uid in ("0", "", -1, 2**32 - 1, 2**32, 0.5, True, [0], {}):
        for field in ("uid",) if IN_UML else ("uid", "gid"):
            file.write_text(json.dumps({**process, "user": {"uid": 1000, "gid": 1000, field: uid}}))
            result = minirunc("exec", "--process", file, id)
            assert (result.status, result.out) == (255, ""), uid


# A caller as unfit as can be, which then executes minirunc.
CALLER = """
import ctypes, os, resource, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGCHLD})
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
os.umask(0o777)
os.setgroups([7, 42])
libc.syscall(KEYCTL, 1, b"of the caller", 0, 0, 0)  # keyctl: KEYCTL_JOIN_SESSION_KEYRING
libc.syscall(ADD_KEY, b"user", b"minirunc-secret", b"of the caller", 13, -3)  # add_key to @s
libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
everything = [0xFFFFFFFF, 0x1FF]
sets = (ctypes.c_uint32 * 6)()
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
libc.capget(header, sets)
sets[2], sets[5] = sets[1], sets[4]  # inheritable: all that is permitted
libc.capset(header, sets)
for number in range(64):
    libc.prctl(47, 2, number, 0, 0)  # PR_CAP_AMBIENT_RAISE
open("/proc/self/oom_score_adj", "w").write("500")
os.execv(sys.argv[1], sys.argv[1:])
"""
KEYCTL, ADD_KEY = (250, 248) if os.uname().machine == "x86_64" else (219, 217)

# What a process can tell of itself.
TELLS = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
with open("/proc/self/status") as file:
    found = dict(line.split(":", 1) for line in file)
names = ("Groups", "CapInh", "CapAmb", "CapEff", "SigBlk", "SigIgn", "SigCgt", "SigPnd", "Umask", "NoNewPrivs",
         "TracerPid")
found = {name: found[name].strip() for name in names}
signal = ctypes.c_int(-1)
libc.prctl(2, ctypes.byref(signal), 0, 0, 0)
found["parent's death"] = signal.value
libc.prctl(37, ctypes.byref(signal), 0, 0, 0)
found["subreaper"] = signal.value
found["session"] = os.getsid(0) == os.getpid()
found["securebits"] = libc.prctl(27, 0, 0, 0, 0)
found["keepcaps"] = libc.prctl(7, 0, 0, 0, 0)
found["secret"] = libc.syscall(KEYCTL, 10, -3, b"user", b"minirunc-secret", 0)  # KEYCTL_SEARCH in @s
with open("/proc/self/oom_score_adj") as file:
    found["oom"] = int(file.read())
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
os.rename(sys.argv[1], sys.argv[1] + ".json")
""".replace("KEYCTL,", f"{KEYCTL},")


@attack("what a caller passes on", "rights and ids", "the hand is spawned and finished with everything set")
def test_nothing_of_the_callers_state_reaches_a_process(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Of a caller that ignores and blocks signals, with groups, keys, ambient capabilities, a umask, a death signal."""
    made = bundle()
    give_python(made, TELLS)
    python = made.process["args"]
    made.process["oomScoreAdj"] = 600
    made.config["hooks"] = {"startContainer": [{"path": python[0], "args": [*python, "/tmp/hook"]}]}
    (made.rootfs / "tmp").chmod(0o777)
    wait = "import time; time.sleep(1000)"
    (made.rootfs / "attack.py").write_text(TELLS + "if sys.argv[1] == '/tmp/run':\n    " + wait)
    made.args([*python, "/tmp/run"])
    minirunc.prefix = [sys.executable, "-c", CALLER.replace("KEYCTL,", f"{KEYCTL},").replace("ADD_KEY,", f"{ADD_KEY},")]
    id = minirunc.start(made)
    minirunc.ok("exec", id, *python, "/tmp/exec")
    wait_until((made.rootfs / "tmp/run.json").exists, "the process tells")
    seen: dict[str, dict[str, Any]] = {
        name: json.loads((made.rootfs / f"tmp/{name}.json").read_text()) for name in ("run", "exec", "hook")
    }
    minirunc.prefix = []
    capabilities = 1 << 29 | 1 << 5 | 1 << 10
    expected = {
        "Groups": "",
        "CapInh": NONE,
        "CapAmb": NONE,
        "CapEff": f"{capabilities:016x}",
        "SigBlk": NONE,
        "SigPnd": NONE,
        "NoNewPrivs": "1",
        "TracerPid": "0",
        "parent's death": 0,
        "subreaper": 0,
        "session": True,
        "securebits": 0,
        "keepcaps": 0,
        "secret": -1,
        "oom": 600,
    }
    for name, found in seen.items():
        # Python itself ignores SIGPIPE and SIGXFSZ, and catches SIGINT
        assert int(found.pop("SigIgn"), 16) == 1 << 12 | 1 << 24, name
        assert int(found.pop("SigCgt"), 16) & ~(1 << 1) == 0, name
        # an exec has its caller's where the container has none, as with runc
        assert found.pop("Umask") == ("0777" if name == "exec" else "0022")
        assert found == expected, name


@attack("a pid that is somebody else's by now", "rights and ids", "start time, checked with a pidfd open")
def test_process_with_a_reused_pid_is_not_signalled(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The state names a pid that a stranger has got: kill, exec, pause and delete --force leave him alone."""
    id = minirunc.start(bundle("exec sleep 1000"))
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        file = minirunc.root / id / "state.json"
        state = json.loads(file.read_text())
        minirunc.ok("kill", id, "KILL")
        minirunc.wait_for_status(id, "stopped")
        state["pid"] = stranger.pid
        file.write_text(json.dumps(state))
        assert minirunc.status(id) == "stopped"
        for words in (["kill", id, "TERM"], ["kill", id, "KILL"], ["exec", id, "true"], ["pause", id]):
            assert minirunc(*words).status != 0
        minirunc.ok("delete", "--force", id)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@attack("links where the pid file goes", "rights and ids", "written aside with O_EXCL and renamed, outside")
def test_pid_file_follows_no_link(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """Links planted under its name and the name beside it: replaced, not followed; and the image has no say."""
    victim = tmp_path / "victim"
    victim.write_text("of the host")
    made = bundle(["sleep", "1000"])
    for name in ("pid", ".pid"):
        (tmp_path / name).symlink_to(victim)
    inside_image = made.rootfs / str(tmp_path).lstrip("/")
    inside_image.mkdir(parents=True)
    (inside_image / "pid").symlink_to("/image")
    id = minirunc.create(made, "--pid-file", tmp_path / "pid")
    assert victim.read_text() == "of the host"
    assert (tmp_path / "pid").read_text() == str(minirunc.pid(id))
    assert not (tmp_path / "pid").is_symlink()
    assert not (made.rootfs / "image").exists()
