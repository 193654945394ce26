"""Attacks on the interpreter outside: to see it, its files or its memory inside; to have it load what was planted."""

import ctypes
import json
import os
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minirunc.config.process.capabilities import NAMES
from tests.attacks.attackers import execs, give_python
from tests.attacks.table import attack
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import IN_UML, Runtime, wait_until

EXEC_COUNT = 30 if IN_UML else 1000
LIFE_COUNT = 3 if IN_UML else 20
HAND = "/memfd:minirunc:hand (deleted)"

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
OF_CALLER = "OF_THE_CALLER"  # a variable in the environment of who calls minirunc

# Notes what programs, mappings, files and directories it sees of processes of its container, until told to stop.
SAMPLER = """
import json, os, sys
proc = "/host-proc" if os.path.exists("/host-proc") else "/proc"
seen = {"exe": {}, "map": {}, "fd": {}, "cwd": {}, "root": {}, "environ": {}, "cmdline": {}}
own = os.readlink(f"{proc}/self")
KINDS = ("mnt", "uts", "ipc", "net", "cgroup")
namespaces = {os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS} - set(json.loads(open("/hosts").read()))

def note(kind, value):
    seen[kind][value] = seen[kind].get(value, 0) + 1

def look(pid):
    base = f"{proc}/{pid}/"
    if not any(os.readlink(f"{base}ns/{kind}") in namespaces for kind in KINDS):
        return  # it is the host's, not in one of our namespaces
    note("exe", os.readlink(base + "exe"))
    for name in os.listdir(base + "fd"):
        note("fd", os.readlink(base + "fd/" + name))
    for kind in ("cwd", "root"):
        note(kind, os.readlink(base + kind))
    for name in ("environ", "cmdline"):
        with open(base + name) as file:
            note(name, file.read())
    with open(base + "maps") as file:
        for line in file:
            note("map", line[73:].rstrip("\\n"))

open("/ready", "w").close()
while not os.path.exists("/stop"):
    for pid in os.listdir(proc):
        if pid.isdigit() and pid != own:
            try:
                look(pid)
            except OSError:
                pass
with open("/report.new", "w") as file:
    json.dump(seen, file)
os.rename("/report.new", "/report")
"""


@contextmanager
def sampling(minirunc: Runtime, made: Bundle, id: str) -> Iterator[dict[str, dict[str, int]]]:
    """A container with all capabilities that watches while the block is executed, and then tells."""
    give_python(made, SAMPLER)
    made.process["capabilities"] = {name: list(NAMES) for name in ("bounding", "effective", "permitted")}
    hosts = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "uts", "ipc", "net", "cgroup")]
    (made.rootfs / "hosts").write_text(json.dumps(hosts))
    minirunc.start(made, id=id)
    wait_until((made.rootfs / "ready").exists, "the sampler is at work")
    told: dict[str, dict[str, int]] = {}
    yield told
    (made.rootfs / "stop").touch()
    wait_until((made.rootfs / "report").exists, "the sampler tells")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)
    told.update(json.loads((made.rootfs / "report").read_text()))


def nothing_of_python(told: dict[str, dict[str, int]], made: Bundle) -> None:
    """All that was seen: the hand, programs of the image, their files; no interpreter, no library, no environment."""
    assert told["exe"].pop(HAND) > 0
    mapped = {name for name in told["map"] if name and name != HAND and not name.startswith("[")}
    assert {name.rpartition("/")[2] for name in {*told["exe"], *mapped}} <= {"busybox"}
    files = [*told["fd"], *told["cwd"], *told["root"]]
    assert [name for name in files if re.search(r"/python|\.(pyc?|pack)$|\.so\b|bin/minirunc", name)] == []
    environment = "\0".join([*made.process["env"], "HOME=/root", ""])
    assert set(told["environ"]) <= {"", environment}
    assert "minirunc\0init\0\0" in told["cmdline"]
    assert [words for words in told["cmdline"] if "python" in words] == []


def births(minirunc: Runtime, made: Bundle, sampler: str) -> None:
    """Run containers that the sampler sees: in its pid namespace, with hooks of all kinds and tmpcopyup."""
    pid = minirunc.pid(sampler)
    for kind in ("pid", "ipc", "uts"):
        made.namespace(kind, path=f"/proc/{pid}/ns/{kind}")
    del made.config["hostname"]
    made.config["hooks"] = {
        kind: [
            {"path": "/bin/sh" if kind == "startContainer" else str(made.rootfs / "bin/sh"), "args": ["sh", "-c", ":"]}
        ]
        for kind in HOOKS
    }
    for hooks in made.config["hooks"].values():
        hooks[0]["env"] = [*made.process["env"], "HOME=/root"]
    made.mount("/etc", "tmpfs", "tmpfs", "tmpcopyup")
    for _ in range(LIFE_COUNT):
        assert minirunc.run(made) == (0, "", "")


@attack("interpreter seen by exec", "Python inside", "the hand alone enters; Python stays outside")
def test_no_python_is_seen_during_execs(
    minirunc: Runtime, bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """exe, maps, fd, cwd, root, environ of every process, by one that may see all: the hand, then the program."""
    monkeypatch.setenv(OF_CALLER, "yes")
    made, id = bundle(), minirunc.id()
    with sampling(minirunc, made, id) as told:
        execs(minirunc, id, EXEC_COUNT, "/busybox/true")
    nothing_of_python(told, made)


@attack("interpreter seen in a shared pid namespace", "Python inside", "the hand alone enters; Python stays outside")
def test_no_python_is_seen_during_births(
    minirunc: Runtime, bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other containers are made in the pid namespace: with all kinds of hooks and a directory that is copied up."""
    monkeypatch.setenv(OF_CALLER, "yes")
    made, id = bundle(), minirunc.id()
    with sampling(minirunc, made, id) as told:
        births(minirunc, bundle("true"), id)
    nothing_of_python(told, made)


@attack("interpreter seen by the host's /proc", "Python inside", "the hand alone enters; Python stays outside")
def test_no_python_is_seen_inside_by_the_hosts_proc(
    minirunc: Runtime, bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that has the host's /proc, or its pid namespace: in its own namespaces it sees no more."""
    monkeypatch.setenv(OF_CALLER, "yes")
    for mounted in (True, False):
        made, id = bundle(), minirunc.id()
        if mounted:
            made.mount("/host-proc", "bind", "/proc", "rbind")
        else:
            made.without_namespace("pid")
        with sampling(minirunc, made, id) as told:
            births(minirunc, bundle("true"), id)
            execs(minirunc, id, EXEC_COUNT // 10, "/busybox/true")
        nothing_of_python(told, made)


MODULES = (
    *("json.py", "json/__init__.py", "encodings/__init__.py", "os.py", "re.py", "posixpath.py", "sitecustomize.py"),
    *("usercustomize.py", "site.py", "struct.py", "ctypes/__init__.py", "subprocess.py", "shutil.py", "traceback.py"),
    *("minirunc.py", "minirunc/__init__.py", "minirunc/__main__.py", "minirunc.pack", "click/__init__.py", "prctl.py"),
    *("pyvenv.cfg", "python._pth", "pybuilddir.txt", "libc.so.6", "libpython3.so", "_json.so", "_ctypes.abi3.so"),
)
LIBRARIES = ("libc.so.6", "ld-linux-x86-64.so.2", "libm.so.6", "libz.so.1", "libnss_files.so.2", "gconv/gconv-modules")
SYSTEM = (
    *("etc/ld.so.preload", "etc/ld.so.cache", "etc/ld.so.conf", "etc/nsswitch.conf", "etc/localtime", "etc/host.conf"),
    *("etc/resolv.conf", "etc/hosts", "etc/services", "etc/protocols", "etc/subuid", "etc/subgid", "etc/shadow"),
    *("usr/lib/locale/locale-archive", "usr/lib/locale/C.utf8/LC_CTYPE", "usr/share/zoneinfo/UTC", "usr/bin/python3"),
    *(f"{where}/{name}" for where in ("lib64", "usr/lib", "lib/x86_64-linux-gnu") for name in LIBRARIES),
)
ENVIRONMENT = {
    **dict.fromkeys(
        ("PYTHONINSPECT", "PYTHONVERBOSE", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONPROFILEIMPORTTIME"), "1"
    ),
    **dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX"), "."),
    "PYTHONSTARTUP": "os.py",
    "PYTHONBREAKPOINT": "os.system",
    "PYTHONWARNINGS": "error",
    "PYTHONUTF8": "0",
}


class Watch:
    """Says which of the files it was given were opened or read (inotify(7))."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.names: dict[int, Path] = {}

    def add(self, file: Path) -> None:
        """Watch it from now on."""
        number = self.libc.inotify_add_watch(self.fd, os.fsencode(file), 0x21)  # IN_ACCESS | IN_OPEN
        assert number > 0, os.strerror(ctypes.get_errno())
        self.names[number] = file

    def seen(self) -> set[Path]:
        """Those that were opened since the last time."""
        try:
            events = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return set()
        found = set()
        while events:
            number, _, _, length = struct.unpack_from("<iIII", events)
            found.add(self.names[number])
            events = events[16 + length :]
        return found


def plant(directory: Path, names: Iterable[str]) -> list[Path]:
    """Make these files there, with what no program takes well."""
    files = []
    for name in names:
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text("raise SystemExit('planted')\n")
            file.chmod(0o755)
            files.append(file)
    return files


@attack("planted modules and libraries", "Python inside", "Python never enters; python -I -S; one fixed directory")
def test_planted_files_are_not_opened(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules, libraries, locales in the image at the host's paths, in bundle and cwd: never touched."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = bundle(["sleep", "1000"])
    made.config["hooks"] = {
        "createContainer": [{"path": str(made.rootfs / "bin/true")}],
        "startContainer": [{"path": "/bin/true"}],
    }
    (made.rootfs / "data").mkdir()
    made.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    caller = tmp_path / "caller"
    places = [os.path.dirname(os.__file__), f"{os.path.dirname(os.__file__)}/lib-dynload", str(CHECKOUT), *sys.path]
    planted = plant(made.rootfs, SYSTEM) + plant(caller, MODULES) + plant(made.path, MODULES)
    for directory in {place.lstrip("/") for place in places}:
        planted += plant(made.rootfs / directory, MODULES)
    watch = Watch()
    for file in planted:
        watch.add(file)
    id = minirunc.create(made, cwd=caller)
    for words in (
        ["start", id],
        ["state", id],
        ["exec", id, "true"],
        ["exec", "-u", "7:7", "--cwd", "/tmp", id, "true"],
        ["list"],
        ["pause", id],
        ["resume", id],
        ["features"],
        ["delete", "--force", id],
    ):
        result = minirunc(*words, cwd=caller)
        assert (result.status, result.err) == (0, "")
    made.args(["true"])
    assert minirunc.run(made, cwd=caller) == (0, "", "")
    made.args(["nosuch"])
    assert "executable file not found" in minirunc.run(made, cwd=caller).err
    assert watch.seen() == set()
    made.args(["cat", "/etc/nsswitch.conf"])  # the watch sees through mount namespaces
    assert minirunc.run(made, cwd=caller).status == 0
    assert watch.seen() == {made.rootfs / "etc/nsswitch.conf"}
    os.close(watch.fd)


@attack("the caller's environment", "Python inside", "the hand is started with none")
def test_environment_of_the_caller_stays_outside(
    minirunc: Runtime, bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a created nor a running container's process has it, nor one that was executed."""
    monkeypatch.setenv(OF_CALLER, "yes")
    id = minirunc.create(bundle(["sleep", "1000"]))
    environ = Path(f"/proc/{minirunc.pid(id)}/environ")
    assert environ.read_bytes() == b""
    minirunc.ok("start", id)
    wait_until(lambda: b"PATH=" in environ.read_bytes(), "it has started")
    assert OF_CALLER.encode() not in environ.read_bytes()
    assert OF_CALLER not in minirunc.ok("exec", id, "env")
