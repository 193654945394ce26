"""Attacks by races: a neighbour that shares a directory exchanges names in it as fast as it can while containers start.

CVE-2018-15664's kind: what is checked is not what is used. Each start either has its mount inside the container or
fails with one error and leaves nothing; outside nothing changes. That the attacker was quick enough is asserted, too.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.attacks.table import attack
from tests.ground import hands
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Result, Runtime
from tests.ground.terminal import Terminal

MANY = 20 if IN_UML else 500
SOME = 4 if IN_UML else 40  # a thousand starts in all

# Exchanges the first name with each of the others in turn, until its stdin closes.
SWAPPER = """
import ctypes, os, select, sys
swap = ctypes.CDLL(None, use_errno=True).renameat2
first, *others = map(os.fsencode, sys.argv[1:])
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(100):
        for other in others:
            swap(-100, first, -100, other, 2)  # RENAME_EXCHANGE
"""


@contextmanager
def swapping(first: Path, *others: Path) -> Iterator[None]:
    """Have a process exchange the names meanwhile."""
    with hands.python(SWAPPER, first, *others) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            yield
        finally:
            process.stdin.close()


class Ground:
    """A bundle, a volume that the attacker shares with it, and a tree outside that must stay as it is."""

    def __init__(self, directory: Path, make: Callable[..., Bundle]) -> None:
        self.bundle = bundle = make("grep raced /proc/self/mountinfo | cut -d' ' -f5")
        self.volume = directory / "volume"
        self.canary = directory / "canary"
        self.payload = directory / "raced"
        for made in (self.volume, self.canary / "deep", self.payload):
            made.mkdir(parents=True)
        for name in ("secret", "deep/secret"):
            (self.canary / name).write_text("canary")
        (self.payload / "payload").write_text("payload")
        (self.volume / "d").mkdir()
        (self.volume / "d/secret").write_text("the volume's")
        (self.volume / "absolute").symlink_to(self.canary)
        (self.volume / "relative").symlink_to("../" * 20 + str(self.canary)[1:])
        bundle.mount("/vol", "bind", str(self.volume), "rbind")
        bundle.config["process"]["capabilities"] = {}
        self.before = self.outside()
        self.outcomes: Counter[str] = Counter()

    def outside(self) -> list[object]:
        """The tree that nobody may change, and the mounts of ours below the test's directory."""
        seen: list[object] = []
        for top, names, files in os.walk(self.canary):
            for path in (top, *(f"{top}/{name}" for name in sorted(names + files))):
                found = os.lstat(path)
                seen.append((path, found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return [*seen, *(line for line in mounts if str(self.canary.parent) in line)]

    def starts(self, minirunc: Runtime, count: int, change: Callable[[int], None] = lambda index: None) -> None:
        """Run the bundle so often, and on until the race had more than one outcome; `change` makes each different."""
        for index in range(20 * count):
            if index >= count and len(self.outcomes) > 1:
                break
            change(index)
            self.took(minirunc, minirunc.run(self.bundle))

    def took(self, minirunc: Runtime, result: Result) -> None:
        """Judge one start: a mount inside, told by the container, or one error; and nothing outside."""
        assert self.outside() == self.before
        assert "canary" not in result.out.replace(str(self.canary), "")
        if result.status == 0:
            assert result.err == ""
            self.outcomes[self.told(result.out)] += 1
        else:
            assert result.status == 1, result
            assert len(result.err.splitlines()) == 1, result.err
            self.outcomes["refused: " + result.err.rstrip('"\n').rpartition(": ")[2]] += 1
        assert not minirunc.root.exists() or os.listdir(minirunc.root) == []

    def told(self, out: str) -> str:
        """A start's outcome, without what differs each time."""
        words = out.replace(str(self.canary), "CANARY").split()
        assert words, "it is nowhere inside"
        short = sorted({"/".join(word.split("/")[:4]) for word in words})
        return "at " + "".join("N" if letter.isdigit() else letter for letter in " ".join(short))

    def raced(self) -> None:
        """The attacker was quick: starts saw the directory and the link, or one of them turn into the other."""
        print(dict(self.outcomes))  # with -s
        assert len(self.outcomes) > 1, self.outcomes

    def race(self) -> AbstractContextManager[None]:
        names = [self.volume / name for name in ("d", "absolute", "relative")]
        return swapping(*names)


def at(ground: Ground, *path: str) -> Callable[[int], None]:
    """Have the last mount's destination be another below the raced directory each time."""

    def change(index: int) -> None:
        ground.bundle.config["mounts"][-1]["destination"] = "/".join(["/vol/d", *path]).replace("N", str(index))

    return change


@attack("CVE-2021-30465", "races for a path", "target opened in the root, mounted on by fd, looked at again")
def test_bind_onto_a_directory_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """The mount is inside, or the start fails."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.mount("/vol/d", "bind", str(ground.payload), "bind")
    with ground.race():
        ground.starts(minirunc, MANY)
    ground.raced()


@attack("CVE-2021-30465, one of many", "races for a path", "the same where mounts are sent by the dozen")
def test_one_of_many_onto_a_directory_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """As above, among so many mounts that they go in one message, a bind and a tmpfs in it onto the raced name."""
    ground = Ground(tmp_path, bundle)
    for index in range(40):
        ground.bundle.mount(f"/fill/{index}", "tmpfs", "tmpfs")
    ground.bundle.mount("/vol/d", "bind", str(ground.payload), "bind")
    ground.bundle.mount("/vol/d/N", "tmpfs", "raced")
    with ground.race():
        ground.starts(minirunc, SOME, at(ground, "N"))
    ground.raced()


@attack("CVE-2018-15664", "races for a path", "target opened in the root, mounted on by fd, looked at again")
def test_tmpfs_onto_a_directory_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """A new file system goes the same way."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.mount("/vol/d", "tmpfs", "raced", "nosuid")
    with ground.race():
        ground.starts(minirunc, SOME)
    ground.raced()


@attack("CVE-2024-45310", "races for a path", "directories made one by one below a verified parent")
def test_directories_are_made_below_one_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """None is made outside."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.mount("", "tmpfs", "raced", "nosuid")
    with ground.race():
        ground.starts(minirunc, SOME, at(ground, "N", "b", "c"))
    ground.raced()


@attack("CVE-2019-16884", "forged /proc", "a target is judged again when it had to be made")
def test_a_directory_to_be_made_becomes_one_of_proc(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """What is missing at first and found in a procfs later is refused as any other there."""
    ground = Ground(tmp_path, bundle)
    (ground.volume / "proc").symlink_to("/proc")
    ground.bundle.mount("/vol/d/fs", "bind", str(ground.payload), "bind")
    real = os.open(ground.volume / "d", os.O_RDONLY)

    def change(index: int) -> None:
        if "fs" in os.listdir(real):
            os.rmdir("fs", dir_fd=real)

    with swapping(ground.volume / "d", ground.volume / "proc"):
        ground.starts(minirunc, SOME, change)
    os.close(real)
    assert not [outcome for outcome in ground.outcomes if outcome.startswith("at /proc")]
    ground.raced()


@attack("CVE-2024-45310, a file", "races for a path", "files made by O_EXCL below a verified parent")
def test_a_file_is_made_below_a_directory_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """None is made outside, and what is there is not opened."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.mount("", "bind", str(ground.payload / "payload"), "bind")
    with ground.race():
        ground.starts(minirunc, SOME, at(ground, "N", "file"))
        ground.starts(minirunc, SOME, at(ground, "secret"))
    ground.raced()


@attack("tmpcopyup of a link", "races for a path", "copied from the fd that is mounted on")
def test_what_a_tmpfs_copies_up_is_not_what_a_link_leads_to(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """The copy holds the directory's or nothing, never what is outside (`took` looks for it)."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.args("cat /vol/*/secret 2>/dev/null; grep raced /proc/self/mountinfo | cut -d' ' -f5")
    ground.bundle.mount("/vol/d", "tmpfs", "raced", "tmpcopyup")
    with ground.race():
        ground.starts(minirunc, SOME)
    ground.raced()


@attack("a directory in tmpcopyup's source", "races for a path", "each level opened by O_NOFOLLOW, not across mounts")
def test_what_a_tmpfs_copies_up_may_become_a_link_meanwhile(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """The copy has a directory or a link, never what the link leads to."""
    ground = Ground(tmp_path, bundle)
    for path in (ground.volume / "d", ground.volume / "absolute", ground.volume / "relative"):
        (ground.volume / "within").mkdir(exist_ok=True)
        path.rename(ground.volume / "within" / path.name)
    ground.bundle.mount("/vol/within", "tmpfs", "raced", "tmpcopyup")
    ground.bundle.args("cat /vol/within/*/secret 2>/dev/null; find /vol/within -type d")
    names = [ground.volume / "within" / name for name in ("d", "absolute", "relative")]
    with swapping(*names):
        ground.starts(minirunc, SOME)
    ground.raced()


@attack("device below a link", "masks and devices", "made below a verified parent, looked at again")
def test_a_device_is_made_below_a_directory_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """No node is made outside."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.args(
        "echo begun; for top in / /vol; do find $top -xdev -name 'node*' -print -exec rm -f {} ';' 2>/dev/null; done; :"
    )

    def change(index: int) -> None:
        ground.bundle.linux["devices"] = [{"type": "c", "path": f"/vol/d/node{index}", "major": 1, "minor": 3}]

    with ground.race():
        ground.starts(minirunc, SOME, change)
    ground.raced()


@attack("masked path of a volume", "masks and devices", "covered by fd, tried again when a rename is in the way")
def test_a_mask_goes_onto_what_is_found_inside(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """On a volume of others' a mask holds no longer than they like, but never goes outside, nor does a start hang."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.args("echo begun; grep ' /vol/.*/' /proc/self/mountinfo | cut -d' ' -f5")
    ground.bundle.linux["maskedPaths"] = ["/vol/d/secret", "/vol/x/../d/../d/deep", "/vol/relative/secret"]
    ground.bundle.linux["readonlyPaths"] = ["/vol/d", "/vol/absolute/secret", "/vol/x/../d/secret"]
    (ground.volume / "x").mkdir()
    with ground.race():
        ground.starts(minirunc, SOME)
    ground.raced()


@attack("cwd below a link", "races for a path", "made in the root, entered as the container sees it")
def test_cwd_is_made_below_a_directory_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """No directory is made outside, and nobody starts there."""
    ground = Ground(tmp_path, bundle)
    ground.bundle.args("pwd -P")

    def change(index: int) -> None:
        ground.bundle.process["cwd"] = f"/vol/d/{index}/b"

    with ground.race():
        ground.starts(minirunc, SOME, change)
    ground.raced()


@attack("CVE-2025-52565, a race", "races for a path", "made below the fd of /dev, mounted on by fd, looked at again")
def test_console_of_an_image_that_becomes_a_link(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """The terminal is not mounted elsewhere."""
    ground = Ground(tmp_path, bundle)
    made = ground.bundle
    made.config["mounts"] = [entry for entry in made.config["mounts"] if entry["destination"] not in ("/dev", "/vol")]
    for name in ("pts", "shm", "mqueue"):
        (made.rootfs / "dev" / name).mkdir()
    (made.rootfs / "dev/console").touch()
    (made.rootfs / "dev/link").symlink_to(ground.canary / "secret")
    (made.rootfs / "dev/relative").symlink_to("../" * 20 + str(ground.canary / "secret")[1:])
    made.process["terminal"] = True
    made.args("awk '$9 == \"devpts\" { print $5 }' /proc/self/mountinfo")
    made.write()
    with swapping(*(made.rootfs / "dev" / name for name in ("console", "link", "relative"))):
        for index in range(20 * SOME):
            if index >= SOME and len(ground.outcomes) > 1:
                break
            with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
                status = terminal.wait()
                said = terminal.out.replace("\r\n", "\n")
            ground.took(minirunc, Result(status, said, "") if status == 0 else Result(status, "", said))
    ground.raced()


@attack("CVE-2019-19921", "races for a path", "masks go below the fd of the procfs itself")
def test_proc_that_changes_places_keeps_its_masks(
    minirunc: Runtime, tmp_path: Path, bundle: Callable[..., Bundle]
) -> None:
    """Who shares the rootfs puts a directory of his in the place of /proc: that one gets no mask in its stead."""
    ground = Ground(tmp_path, bundle)
    made = ground.bundle
    shutil.rmtree(made.rootfs / "proc", ignore_errors=True)
    for name in ("proc", "forged"):
        (made.rootfs / name).mkdir()
    for name in ("kcore", "keys", "sysrq-trigger"):
        (made.rootfs / "forged" / name).touch()
    (made.rootfs / "leads").symlink_to("/vol/d")
    # Of the procfs, whatever its name is now: its id, then how many mounts are on it.
    made.args(
        "until [ -s /all ]; do for at in proc forged leads; do cat /$at/self/mountinfo; done 2>/dev/null >/all; done;"
        " id=$(awk '/ - proc / && $4 == \"/\" { print $1; exit }' /all);"
        " awk -v id=$id '$2 == id { n[$1] = 1 } END { for (i in n) count++; print \"masks\", count }' /all;"
        " awk '/ - proc / && $4 == \"/\" { print $5; exit }' /all; rm /all"
    )
    quiet = minirunc.run(made)
    assert quiet.out.splitlines()[1] == "/proc"
    wanted = quiet.out.splitlines()[0]
    told = ground.told

    def with_masks(out: str) -> str:
        assert out.splitlines()[0] == wanted
        return told(out)

    ground.told = with_masks  # type: ignore[method-assign]
    with swapping(made.rootfs / "proc", made.rootfs / "forged", made.rootfs / "leads"):
        ground.starts(minirunc, 2 * SOME)
    ground.raced()
