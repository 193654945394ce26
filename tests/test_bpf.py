"""kernel/bpf.py: the device program, loaded and attached to a cgroup of the test's, asked by opening devices in it."""

import os
import random
import secrets
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirunc.base.errors import SyscallError
from minirunc.kernel import bpf
from minirunc.kernel.bpf import TYPES, Rule
from minirunc.kernel.constants import AT_FDCWD, CLONE_INTO_CGROUP, CLONE_PARENT, O_CLOEXEC, O_DIRECTORY, O_RDONLY
from minirunc.kernel.hand import Hand
from minirunc.kernel.syscalls import Fd
from tests.ground import leftovers

pytestmark = pytest.mark.usefixtures("nothing_left")

EPERM, EINVAL, ENXIO, ENODEV = 1, 22, 6, 19
BITS = {"m": 1, "r": 2, "w": 4}
FLAGS = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
WAYS = ("r", "w", "rw", "m")
BPF_PROG_DETACH, BPF_CGROUP_DEVICE = 9, 6

NULL, ZERO, FULL = "c 1:3", "c 1:5", "c 1:7"
# Numbers for experiments (devices.txt): no driver answers, but the device controller is asked before.
BLOCK, CHAR, OTHER_BLOCK = "b 240:3", "c 240:3", "b 241:3"
DEVICES = (NULL, ZERO, FULL, BLOCK, CHAR, OTHER_BLOCK)


def rule(text: str) -> Rule:
    """A rule as it is written: allow c 1:* rw; `a` is any kind, `*` any number."""
    verdict, kind, numbers, access = text.split()
    major, minor = (-1 if number == "*" else int(number) for number in numbers.split(":"))
    return verdict == "allow", TYPES.get(kind, 0), major, minor, sum(BITS[letter] for letter in access)


class Box:
    """A cgroup, a hand in it, and device nodes to try."""

    def __init__(self, cgroup: Path, nodes: Path) -> None:
        self.path = cgroup
        self.nodes = nodes
        for device in DEVICES:
            kind, major, minor = numbers(device)
            os.mknod(self.node(device), (0o020000 if kind == "c" else 0o060000) | 0o600, os.makedev(major, minor))
        self.hand = Hand()
        with self.hand.batch() as do:
            fd = do.openat(AT_FDCWD, str(cgroup), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        self.cgroup = int(fd)
        with self.hand.batch() as do:
            do.forks(do.clone3(CLONE_PARENT | CLONE_INTO_CGROUP, cgroup=self.cgroup))

    def node(self, device: str) -> str:
        return str(self.nodes / device.replace(" ", "-"))

    def attach(self, rules: list[Rule], cgroup: int | None = None) -> int:
        """Load and attach the program of the rules."""
        with self.hand.batch() as do:
            program = bpf.load(do, bpf.device_program(rules))
        with self.hand.batch() as do:
            bpf.attach(do, self.cgroup if cgroup is None else cgroup, int(program))
        return int(program)

    def detach(self, program: int) -> None:
        with self.hand.batch() as do:
            do.bpf(BPF_PROG_DETACH, struct.pack("<4I", self.cgroup, program, BPF_CGROUP_DEVICE, 0), 16)
            do.close(program)

    def allowed(self, *devices: str) -> dict[str, str]:
        """What of r, w, rw (open) and m (mknod) the kernel lets a process in the cgroup do with each device."""
        tried: list[tuple[str, str, Fd]] = []
        with self.hand.batch() as do:
            for device in devices:
                kind, major, minor = numbers(device)
                for way in WAYS[:3]:
                    opened = do.tolerate(do.openat(AT_FDCWD, self.node(device), FLAGS[way] | O_CLOEXEC))
                    tried.append((device, way, opened))
                    do.tolerate(do.close(opened))
                mode = 0o020000 if kind == "c" else 0o060000
                made = do.tolerate(do.mknodat(AT_FDCWD, f"{self.nodes}/made", mode, os.makedev(major, minor)))
                tried.append((device, "m", made))
                do.tolerate(do.unlinkat(AT_FDCWD, f"{self.nodes}/made"))
        assert {min(0, int(result)) for _, _, result in tried} <= {0, -EPERM, -ENXIO, -ENODEV}
        return {
            device: " ".join(way for asked, way, result in tried if asked == device and int(result) != -EPERM)
            for device in devices
        }


def numbers(device: str) -> tuple[str, int, int]:
    """Kind, major, minor."""
    kind, _, both = device.partition(" ")
    major, _, minor = both.partition(":")
    return kind, int(major), int(minor)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A cgroup of our own, removed with the test."""
    cgroup = leftovers.cgroup2_mounts()[0] / f"test-bpf-{secrets.token_hex(4)}"
    cgroup.mkdir()
    box = Box(cgroup, tmp_path)
    try:
        # A first, empty program would deny everything, so ask whether there is the command at all.
        with box.hand.batch() as do:
            asked = do.tolerate(do.bpf(BPF_PROG_DETACH, struct.pack("<4I", box.cgroup, 0, BPF_CGROUP_DEVICE, 0), 16))
        if int(asked) == -EINVAL:
            pytest.skip("this kernel is built without CONFIG_CGROUP_BPF")
        yield box
    finally:
        box.hand.kill()
        for directory, _, _ in os.walk(cgroup, topdown=False):
            os.rmdir(directory)


EVERYTHING = "r w rw m"

CASES: dict[str, tuple[list[str], dict[str, str]]] = {
    "no rule denies": ([], dict.fromkeys(DEVICES, "")),
    "everything": (["allow a *:* rwm"], dict.fromkeys(DEVICES, EVERYTHING)),
    "one device": (["allow c 1:3 rwm"], {NULL: EVERYTHING, ZERO: "", BLOCK: "", CHAR: ""}),
    "one access": (["allow c 1:3 r"], {NULL: "r"}),
    "only mknod": (["allow c 1:3 m"], {NULL: "m"}),
    "read and mknod": (["allow c 1:3 rm"], {NULL: "r m"}),
    "two rules that give a bit each": (["allow c 1:3 r", "allow c 1:3 w"], {NULL: "r w rw"}),
    "bits from a wildcard and from a device": (["allow c *:* m", "allow c 1:* r", "allow c 1:3 w"],
                                               {NULL: EVERYTHING, ZERO: "r m", CHAR: "m", BLOCK: ""}),
    "deny a bit after allowing all": (["allow a *:* rwm", "deny c 1:3 w"], {NULL: "r m", ZERO: EVERYTHING}),
    "deny before allowing": (["deny c 1:3 w", "allow a *:* rwm"], {NULL: EVERYTHING}),
    "deny all, then allow": (["deny a *:* rwm", "allow c 1:3 rw"], {NULL: "r w rw", ZERO: "", BLOCK: ""}),
    "allow, deny, allow a bit again": (["allow c 1:3 rwm", "deny c 1:3 rw", "allow c 1:3 w"], {NULL: "w m"}),
    "deny what nobody asks for": (["allow c 1:3 rw", "deny c 1:3 m"], {NULL: "r w rw"}),
    "any minor": (["allow c 1:* rw"], {NULL: "r w rw", FULL: "r w rw", CHAR: "", BLOCK: ""}),
    "any major": (["allow c *:3 rw"], {NULL: "r w rw", CHAR: "r w rw", ZERO: "", BLOCK: ""}),
    "any char": (["allow c *:* r"], {NULL: "r", CHAR: "r", BLOCK: ""}),
    "any block": (["allow b *:* rwm"], {NULL: "", CHAR: "", BLOCK: EVERYTHING, OTHER_BLOCK: EVERYTHING}),
    "block, not char": (["allow b 240:3 rwm"], {BLOCK: EVERYTHING, CHAR: "", OTHER_BLOCK: ""}),
    "char, not block": (["allow c 240:3 rwm"], {BLOCK: "", CHAR: EVERYTHING}),
    "any kind of the numbers": (["allow a 240:3 r"], {BLOCK: "r", CHAR: "r", OTHER_BLOCK: ""}),
    "deny one kind": (["allow a *:* rwm", "deny b *:* wm"], {BLOCK: "r", OTHER_BLOCK: "r", CHAR: EVERYTHING}),
    "large numbers match nothing here": ([f"allow c {2**31 - 1}:{2**31 - 1} rwm"], dict.fromkeys(DEVICES, "")),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "wanted"), CASES.values(), ids=CASES)
def test_rules_decide(box: Box, rules: list[str], wanted: dict[str, str]) -> None:
    """The last rule that speaks of a device and an access decides on it; what none allows is denied."""
    assert box.allowed(*wanted) == dict.fromkeys(wanted, EVERYTHING), "something else denies here"
    box.attach([rule(text) for text in rules])
    assert box.allowed(*wanted) == wanted


def model(rules: list[Rule], device: str) -> str:
    """What the rules say, in plain words: for each bit, the last rule that covers it."""
    kind, major, minor = numbers(device)
    given = 0
    for allow, wanted_kind, wanted_major, wanted_minor, access in rules:
        if wanted_kind in (0, TYPES[kind]) and wanted_major in (-1, major) and wanted_minor in (-1, minor):
            given = given | access if allow else given & ~access
    return " ".join(way for way in WAYS if all(given & BITS[letter] for letter in way))


def test_any_rules_are_decided_as_the_model_does(box: Box) -> None:
    """A few dozen lists of rules, long ones among them: every jump lands where it should."""
    dice = random.Random(1)
    for _ in range(60):
        rules = [
            (
                dice.random() < 0.6,
                dice.choice((0, 1, 2)),
                dice.choice((-1, 1, 240, 241)),
                dice.choice((-1, 3, 5)),
                dice.randint(1, 7),
            )
            for _ in range(dice.choice((1, 2, 3, 5, 40)))
        ]
        program = box.attach(rules)
        assert box.allowed(*DEVICES) == {device: model(rules, device) for device in DEVICES}, rules
        box.detach(program)


def test_program_of_the_cgroup_above_has_a_say(box: Box) -> None:
    """BPF_F_ALLOW_MULTI: what an ancestor denies stays denied, and ours can be attached below it."""
    (box.path / "below").mkdir()
    with box.hand.batch() as do:
        below = do.openat(AT_FDCWD, f"{box.path}/below", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    with box.hand.batch() as do:
        do.forks(do.clone3(CLONE_PARENT | CLONE_INTO_CGROUP, cgroup=int(below)))
    box.attach([rule("allow c 1:* rw"), rule("deny c 1:5 w")])
    box.attach([rule("allow a *:* rwm")], cgroup=int(below))
    assert box.allowed(NULL, ZERO, BLOCK) == {NULL: "r w rw", ZERO: "r", BLOCK: ""}


def test_as_many_rules_as_a_container_may_have(box: Box) -> None:
    """A thousand: a batch holds their program, the verifier takes it soon, the first and the last count.

    It walks through all that may happen: once it needed 4 s to say that this were too much.
    """
    rules = [
        rule("allow c 1:3 rw"),
        *(rule(f"allow c 300:{minor} rwm") for minor in range(1000)),
        rule("allow c 1:5 r"),
    ]
    begun = time.monotonic()
    box.attach(rules)
    assert time.monotonic() - begun < 1
    assert box.allowed(NULL, ZERO, FULL) == {NULL: "r w rw", ZERO: "r", FULL: ""}


def test_program_the_verifier_refuses_is_named(box: Box) -> None:
    """The call, so that a kernel which lacks something is told from a container that asks too much."""
    with pytest.raises(SyscallError) as caught, box.hand.batch() as do:
        bpf.load(do, b"\0" * 16)
    assert caught.value.call == "bpf"
    assert str(caught.value).startswith("bpf(5, {8589934607, 16 bytes, ")
