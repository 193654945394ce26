"""Attacks on the program that enters the container (CVE-2019-5736)."""

import errno
import hashlib
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from minirunc.config.process.capabilities import NAMES
from minirunc.kernel.constants import AT_FDCWD, O_RDWR
from minirunc.kernel.hand_code import MACHINES, machine
from minirunc.kernel.syscalls import Out
from tests.attacks.attackers import execs, give_python, give_user_namespace
from tests.attacks.table import attack
from tests.ground import hands
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import IN_UML, Runtime, wait_until

COUNT = 20 if IN_UML else 300
HAND = "/memfd:minirunc:hand (deleted)"
AGAIN = "#!/proc/self/exe\n"  # a script whose interpreter is whoever executes it

OPENS_PROGRAMS = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        os.open(f"/proc/{pid}/exe", os.O_WRONLY)
        print("opened", pid)
    except OSError as error:
        print(error.strerror)
"""


@attack("host's programs opened from inside", "the runtime's program", "no program of the host's runs inside")
def test_programs_inside_cannot_be_opened_for_writing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The one process is its own Python, which runs, on a read-only mount."""
    made = bundle()
    give_python(made, OPENS_PROGRAMS)
    assert minirunc.run(made) == (0, "Text file busy\n", "")


def fingerprints() -> dict[Path, str]:
    """Of the host's programs that run for a container: interpreter, launcher, all of minirunc."""
    files = [Path(sys.executable).resolve(), CHECKOUT / ".venv/bin/minirunc", *CHECKOUT.glob("minirunc/**/*.py")]
    files += CHECKOUT.glob(".venv/lib/*/site-packages/minirunc.pack")
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@attack("CVE-2019-5736, #!/proc/self/exe", "the runtime's program", "the hand is a sealed memfd")
def test_script_whose_interpreter_is_the_runtime(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What runs then is the hand again, with the container's rights, obeying its stderr; it cannot be written."""
    made = bundle(["/entry"])
    (made.rootfs / "entry").write_text(AGAIN)
    (made.rootfs / "entry").chmod(0o755)
    ours, theirs = hands.pair()
    with ours, theirs:
        id = minirunc.start(made, stderr=theirs)
        process = Path(f"/proc/{minirunc.pid(id)}")
        wait_until(lambda: (process / "comm").read_text() == "entry\n", "it has started")
        assert os.readlink(process / "exe") == HAND
        hand = hands.around(ours, int(process.name), 2)
        link = Out(256)
        with hand.batch() as do:
            pid = do.getpid()
            length = do.readlinkat(AT_FDCWD, "/proc/self/exe", link)
            written = do.tolerate(do.openat(AT_FDCWD, "/proc/self/exe", O_RDWR))
            mounted = do.tolerate(do.mount("none", "/", "tmpfs", 0))
        assert (int(pid), link.data[: int(length)].decode()) == (1, HAND)
        assert -int(written) in (errno.ETXTBSY, errno.EACCES)  # /proc/self is no longer its own to follow
        assert -int(mounted) == errno.EPERM
        allowed = {f"CAP_{name}" for name in ("AUDIT_WRITE", "KILL", "NET_BIND_SERVICE")}
        assert int(hands.status(hand.pid, "CapEff"), 16) == sum(1 << NAMES.index(name) for name in allowed)
    minirunc.wait_for_status(id, "stopped")


def interpreted(by: str) -> bytes:
    """A program whose dynamic linker is the file `by` (elf(5))."""
    where, name = 0x10000000, by.encode() + b"\0"
    at = 64 + 2 * 56
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, MACHINES[machine()][0], 1, where, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    size = at + len(name)
    header += struct.pack("<IIQQQQQQ", 3, 4, at, where + at, where + at, len(name), len(name), 1)  # PT_INTERP
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, where, where, size, size, 0x1000) + name


@attack("CVE-2019-5736, PT_INTERP", "the runtime's program", "the hand is a sealed memfd, static")
def test_program_whose_dynamic_linker_is_the_runtime(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The hand is loaded beside the program and obeys its stdout: not to be written, and no other file there."""
    made = bundle(["/entry"])
    (made.rootfs / "entry").write_bytes(interpreted("/proc/self/exe"))
    (made.rootfs / "entry").chmod(0o755)
    ours, theirs = hands.pair()
    with ours, theirs:
        id = minirunc.start(made, stdout=theirs)
        process = Path(f"/proc/{minirunc.pid(id)}")
        wait_until(lambda: (process / "comm").read_text() == "entry\n", "it has started")
        assert os.readlink(process / "exe") == "/entry"
        lines = [line.split(maxsplit=5) for line in (process / "maps").read_text().splitlines()]
        files = {line[5]: line[1] for line in lines if len(line) == 6 and line[5].startswith("/")}
        assert files == {HAND: "r-xp", "/entry": "r-xp"}
        hand = hands.around(ours, int(process.name), 1)
        with hand.batch() as do:
            pid = do.getpid()
            written = do.tolerate(do.openat(AT_FDCWD, "/proc/self/map_files/400000-401000", O_RDWR))
        assert int(pid) == 1
        assert int(written) < 0
    minirunc.wait_for_status(id, "stopped")


# Keeps files of what it sees running, and tries to write them when that has ended; its own programs do not count.
WRITER = """
import json, os
kept, told, done = {}, {}, set()

def note(name, what):
    told.setdefault(name, {}).setdefault(what, 0)
    told[name][what] += 1

def attempt(name, path, flags):
    try:
        fd = os.open(path, flags)
    except OSError as error:
        return note(name, "open: " + error.strerror)
    try:
        os.write(fd, b"#!/bin/sh")
        note(name, "written")
    except OSError as error:
        note(name, "write: " + error.strerror)
    os.close(fd)

def keep(pid):
    exe = f"/proc/{pid}/exe"
    try:
        name = os.readlink(exe)
        if "busybox" in name or (pid, name) in kept:
            return
        attempt(name, exe, os.O_WRONLY)
        kept[pid, name] = [os.open(exe, os.O_PATH)]
        kept[pid, name].append(os.open(exe, os.O_RDONLY))
    except OSError as error:
        note("?", error.strerror)

def write():
    for (pid, name), fds in kept.items():
        for fd in fds:
            for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
                attempt(name, f"/proc/self/fd/{fd}", flags)
            os.close(fd)
    kept.clear()

own = os.readlink("/proc/self")
open("/ready", "w").close()
while not os.path.exists("/stop"):
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != own]
    for pid in others:
        keep(pid)
    if not others:
        write()
write()
with open("/report.new", "w") as file:
    json.dump(told, file)
os.rename("/report.new", "/report")
"""


def writing(minirunc: Runtime, made: Bundle) -> dict[str, dict[str, int]]:
    """What a container with all capabilities could do to what entered it, by execs of a script that runs it again."""
    give_python(made, WRITER)
    (made.rootfs / "entry").write_text(AGAIN)
    (made.rootfs / "entry").chmod(0o755)
    made.process["capabilities"] = {name: list(NAMES) for name in ("bounding", "effective", "permitted")}
    id = minirunc.start(made)
    wait_until((made.rootfs / "ready").exists, "the writer is at work")
    execs(minirunc, id, COUNT, "/entry")
    (made.rootfs / "stop").touch()
    wait_until((made.rootfs / "report").exists, "the writer tells")
    minirunc.wait_for_status(id, "stopped")
    told: dict[str, dict[str, int]] = json.loads((made.rootfs / "report").read_text())
    return told


@attack("CVE-2019-5736, kept and written later", "the runtime's program", "the hand is a sealed memfd")
def test_programs_kept_from_inside_are_never_written(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A container that may trace anything keeps /proc/PID/exe of all that enters and reopens it: the seals hold."""
    before = fingerprints()
    told = writing(minirunc, bundle())
    assert told.pop("?", {}).keys() <= {"No such file or directory", "No such process"}
    assert set(told) == {HAND}
    assert set(told[HAND]) <= {
        "open: Text file busy",
        "open: No such file or directory",
        "open: Operation not permitted",
        "write: Operation not permitted",
    }
    assert told[HAND]["write: Operation not permitted"] > 0
    assert fingerprints() == before


@attack("CVE-2019-5736, in a user namespace", "the runtime's program", "the hand cannot be looked at")
def test_programs_cannot_be_kept_by_root_of_a_user_namespace(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """He has all capabilities there, and no way to /proc/PID/exe of a hand."""
    before = fingerprints()
    made = bundle()
    give_user_namespace(made)
    told = writing(minirunc, made)
    assert told.pop("?")["Permission denied"] > 0
    assert told == {}
    assert fingerprints() == before
