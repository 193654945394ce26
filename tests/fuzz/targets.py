"""The targets: each takes bytes that somebody hostile may have written, and asserts what must hold all the same."""

import contextlib
import io
import json
import math
import os
import socket
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from minirunc.base import jsontext, log, ranges
from minirunc.base.errors import Error
from minirunc.cgroup import fs
from minirunc.cli import argv
from minirunc.cli import help as click_side
from minirunc.commands import exec as exec_
from minirunc.commands import kill
from minirunc.config import Config, load, load_process, warnings
from minirunc.config.linux import resources, seccomp, sysctl
from minirunc.config.linux.resources import devices
from minirunc.config.mounts.options import parse_options
from minirunc.config.mounts.target import Job
from minirunc.config.mounts.target import check as check_target
from minirunc.config.process import Process, env
from minirunc.container import compiling, enter, handover
from minirunc.container.store import State, check_id
from minirunc.kernel import bpf, cgroupfs, procfs
from minirunc.kernel.hand import Batch, Hand
from minirunc.kernel.seccomp import Library
from minirunc.kernel.syscalls import Out
from tests.fuzz.source import Source, adjusted, mutated
from tests.fuzz.whole import EVERYTHING, GRAFTS, SECCOMP, WORDS

SMALL = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"args": ["true"], "cwd": "/"}}
LIBRARY: list[Library] = []  # libseccomp, when first needed

TARGETS: dict[str, Callable[[bytes], None]] = {}


def target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Put a function among the targets; an Error of ours is a clean answer, and its text is one line."""

    def run(data: bytes) -> None:
        try:
            function(data)
        except Error as error:
            line = log.text_line("error", str(error), 0)
            assert line.count("\n") == 1, line

    TARGETS[function.__name__.removesuffix("_")] = run
    return function


def decoded(data: bytes) -> str:
    """As Python hands over what execve(2) gave it."""
    return data.decode("utf-8", "surrogateescape")


def plain_path(path: str) -> bool:
    """Absolute, without `.`, `..` and empty parts."""
    return path.startswith("/") and not {"", ".", ".."} & set(path[1:].split("/"))


# --- texts ---


@target
def json_text(data: bytes) -> None:
    """jsontext reads what the json library reads, and writes what it can read again."""
    try:
        expected = ("value", _by_library(data))
    except (ValueError, RecursionError):
        expected = ("refused", None)
    try:
        found = ("value", jsontext.loads(data, "config.json"))
    except Error:
        found = ("refused", None)
    assert repr(found) == repr(expected)
    if found[0] == "value" and not _has_infinity(found[1]):
        assert repr(json.loads(jsontext.dumps(found[1]))) == repr(found[1])
        assert repr(json.loads(jsontext.dumps(found[1], 2))) == repr(found[1])


def _by_library(data: bytes) -> object:
    def refuse(name: str) -> object:
        raise ValueError(name)

    return json.loads(data.decode(), parse_constant=refuse)


def _has_infinity(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_infinity, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


@target
def config(data: bytes) -> None:
    """config.json, as it comes."""
    _asked(load(data))


@target
def config_shape(data: bytes) -> None:
    """config.json, a good one that is changed in a few places."""
    source = Source(data)
    _asked(load(json.dumps(mutated(source, EVERYTHING, GRAFTS))))


def _asked(config: Config) -> None:
    """All that is computed from a checked config before and while the kernel is asked."""
    assert all(isinstance(line, str) for line in warnings(config))
    for mount in config.mounts:
        assert not {option for option in parse_options(mount.options).data if "\0" in option}
        with contextlib.suppress(Error):
            job = Job(mount)
            assert plain_path(job.in_root)
            check_target(job)
    for where, file, value in resources.limits(config.linux.resources, lambda _: True):
        assert where.startswith("linux.resources.")
        assert "/" not in file, file
        assert file not in ("", ".", "..")
        assert isinstance(value, str)
    with contextlib.suppress(Error):
        bpf.device_program(devices.rules(config.linux.resources.devices))
    for name in config.linux.sysctl:
        assert plain_path("/" + sysctl.below_proc_sys(name)), name
    assert "\0" not in "".join(config.process.args + config.process.env)
    with contextlib.suppress(Error):
        assert plain_path(fs.path_for(config.linux.cgroups_path, "id"))
    complete = env.complete(config.process.env, "/")
    assert len({entry.partition("=")[0] for entry in complete}) == len(complete)


@target
def seccomp_filter(data: bytes) -> None:
    """linux.seccomp, a good one that is changed in a few places: compiled by libseccomp to what the kernel can take."""
    source = Source(data)
    wild = source.byte() % 4 == 0
    value = mutated(source, SECCOMP, GRAFTS) if wild else adjusted(source, SECCOMP, WORDS)
    config = load(json.dumps({**SMALL, "linux": {"seccomp": value}}))
    wanted = config.linux.seccomp
    if wanted is None or not seccomp.is_filter(wanted):
        return
    if not LIBRARY:
        LIBRARY.append(Library())
    program = compiling._compile(wanted, LIBRARY[0], strict=False)
    assert 0 < len(program) <= 8 * 4096
    assert len(program) % 8 == 0
    assert not seccomp.flags(wanted) & ~(32 | 6)


@target
def process_file(data: bytes) -> None:
    """`exec --process FILE`."""
    process = load_process(data, "process.json")
    assert process.args
    assert process.cwd.startswith("/")
    assert "\0" not in process.cwd + "".join(process.args + process.env)


@target
def state_file(data: bytes) -> None:
    """state.json: what was read is written the same, and nothing else is taken."""
    state = State.parse(jsontext.loads(data, "state.json"), "state.json")
    again = State.parse(jsontext.loads(state.text(), "state.json"), "state.json")
    for name in State.__slots__:
        assert getattr(state, name) == getattr(again, name)


# --- the command line ---


@target
def command_line(data: bytes) -> None:
    """Where the lean parser is sure, click says the same; where it is not, click has an answer or an error."""
    words = [decoded(word) for word in data.split(b"\0")] if data else []
    lean = argv.parse(words)
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape")):
        full = click_side.parse("minirunc", words)
    assert isinstance(full, int) or lean is None or _same(lean, full), (lean, full)
    assert lean is None or not isinstance(full, int)
    if not isinstance(full, int):
        assert plain_path(full.settings.root)


def _same(one: argv.Call, other: argv.Call) -> bool:
    settings = all(
        getattr(one.settings, name) == getattr(other.settings, name) for name in type(one.settings).__slots__
    )
    return settings and (one.command, one.operands, one.options) == (other.command, other.operands, other.options)


@target
def names(data: bytes) -> None:
    """Ids, --root, --bundle, cgroupsPath and --cgroup: what is taken stays below what it is below."""
    kind, text = data[:1], decoded(data[1:])
    if kind == b"i":
        check_id(text)
        assert text.isascii()
        assert text.isprintable()
        assert not {"/", " ", "\0"} & set(text)
        assert text not in ("", ".", "..")
    elif kind == b"r":
        assert plain_path(argv.absolute_root(text))
    elif kind == b"b":
        path = handover.absolute(text)
        assert path == "/" or plain_path(path)
    elif kind == b"c":
        assert plain_path(fs.path_for(text, "id"))
    else:
        below = enter._below("/own", text)
        assert plain_path(below)
        assert f"{below}/".startswith("/own/")


@target
def exec_words(data: bytes) -> None:
    """exec --user, --cwd, --env, --additional-gids, --cap and --cgroup; kill's signal."""
    source = Source(data)
    process = Process(args=["true"], cwd="/")
    gids = [source.number() for _ in range(source.byte() % 3)]
    user = source.text() if source.byte() % 2 else source.bytes().decode("latin-1")
    exec_._override(process, source.text(), source.words(), user, gids)
    exec_._add_capabilities(process, source.words())
    exec_._check(process)
    for number in (process.user.uid, process.user.gid, *process.user.additional_gids):
        assert 0 <= number < 2**32 - 1
    if user:
        assert set(user) <= set("0123456789:"), user
    assert not process.capabilities or not process.capabilities.inheritable
    enter._below("/own", exec_._sub_cgroup(source.words()[:2]))


@target
def signal_name(data: bytes) -> None:
    """kill's signal."""
    assert 0 <= kill.number(decoded(data)) < 1 << 31


@target
def cpu_list(data: bytes) -> None:
    """process.execCPUAffinity, linux.memoryPolicy.nodes."""
    try:
        cpus = ranges.numbers(decoded(data), 65536)
    except ValueError:
        return
    assert cpus == sorted(set(cpus))


# --- what a container can write, or stand for ---


@contextlib.contextmanager
def _proc(text: str) -> Iterator[None]:
    """Have /proc say this."""
    real = procfs.read
    procfs.read = lambda name: text
    try:
        yield
    finally:
        procfs.read = real


def _comm(data: bytes) -> bytes:
    """A process name as the kernel keeps it: prctl(2) PR_SET_NAME."""
    return data.partition(b"\0")[0][:15]


@target
def proc_files(data: bytes) -> None:
    """stat, status, cgroup and mountinfo of a process that has a name, a cgroup and mounts of its choice."""
    source = Source(data)
    name = _comm(source.bytes())
    stat = b"77 (" + name + b") S 1 77 77 0 -1 " + b"4194560 " + b"0 " * 12 + b"4242 0 0\n"
    with _proc(decoded(stat)):
        found = procfs.stat(77)
        assert found is not None
        assert (found.start, found.ended) == (4242, False)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    with _proc(decoded(b"Name:\t" + escaped + b"\nUmask:\t0022\nNSpid:\t77\t5\n")):
        assert procfs.ns_pid(77) == 5
    group = b"/" + source.bytes().replace(b"\0", b"").replace(b"\n", b"")
    with _proc(decoded(b"1:name=systemd:/x\n0::" + group + b"\n")):
        assert cgroupfs.path_of(77) == decoded(group)
    point = b"/" + source.bytes().replace(b"\0", b"")
    origin = source.bytes().replace(b"\0", b"") or b"none"
    shown = (
        b"30 1 0:5 /" + _mangled(point) + b" " + _mangled(point) + b" rw shared:3 - proc " + _mangled(origin) + b" rw\n"
    )
    other = b"31 1 0:6 / /sys rw - sysfs " + _mangled(origin) + b" rw\n"
    with _proc(decoded(shown + other)):
        assert procfs.mounts_of(77, ("proc",), beside="/beside/not") == [decoded(point)]


def _mangled(name: bytes) -> bytes:
    """As the kernel's mangle() writes names in mountinfo."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in name)


@target
def passwd(data: bytes) -> None:
    """The image's /etc/passwd: the home of the first line with that uid."""
    uid = data[0] if data else 0
    found = env.home(data[1:], uid)
    for line in data[1:].split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == str(uid).encode():
            assert found == decoded(fields[5] or b"/")
            return
    assert found == "/"


@target
def log_line(data: bytes) -> None:
    """One line whatever the message is, with nothing in it that a terminal obeys."""
    message = decoded(data)
    for line in (log.text_line("error", message, 0), log.json_line("error", message, 0)):
        shown = line.encode("utf-8", "backslashreplace").decode()
        assert shown.endswith("\n")
        assert not [char for char in shown[:-1] if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")], shown
    assert json.loads(line)["msg"] == message


# --- the hand's answers ---


class Silent(Hand):
    """A hand without a process."""

    def __init__(self, end: socket.socket) -> None:
        self.control, self.pid, self.socket = 3, 0, end


def _batch(hand: Hand, source: Source) -> tuple[Batch, list[Out]]:
    do = hand.batch()
    rooms = [Out(source.byte()) for _ in range(source.byte() % 4)]
    fd = do.openat(-100, "/", 0)
    for room in rooms:
        do.tolerate(do.read(fd, room, room.size))
    if source.byte() % 2:
        do.on_failure(2, do.tolerate(do.getpid()))
    return do, rooms


@target
def hand_reply(data: bytes) -> None:
    """Any answer to a batch: results in range, rooms of the size they had, or an error."""
    source = Source(data)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        hand = Silent(ours)
        do, rooms = _batch(hand, source)
        message, _ = do.encode()
        kind = source.byte() % 3
        rest = data[source.at :]
        reply = (
            rest
            if kind == 0
            else (rest + message)[: len(message)]
            if kind == 1
            else (rest + bytes(len(message)))[: len(message)]
        )
        if reply:
            theirs.send(reply)
        else:
            theirs.close()
        hand.execute(do)
        assert all(len(room.data) == room.size for room in rooms)
        assert all(-4095 <= entry[3].value < 2**63 for entry in do.entries)


@target
def hand_files(data: bytes) -> None:
    """Any answer where one file is expected: it is taken, or nothing stays open."""
    source = Source(data)
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        hand = Silent(ours)
        for _ in range(1 + source.byte() % 3):
            payload = source.bytes()
            fds = [theirs.fileno()] * (source.byte() % 4)
            if payload or fds:
                socket.send_fds(theirs, [payload or b"f"], fds)
        theirs.shutdown(socket.SHUT_RDWR)
        try:
            os.close(hand.receive_fd(5))
        except Error:
            pass
    assert len(os.listdir("/proc/self/fd")) == before
