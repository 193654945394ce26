"""kernel/inroot.py: no path leads out of the root, and what is missing is made inside it."""

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirunc.base.errors import Error, SyscallError
from minirunc.kernel import inroot
from minirunc.kernel.constants import AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH
from minirunc.kernel.hand import Hand
from tests.ground import hands

pytestmark = pytest.mark.usefixtures("nothing_left")

ENOENT, ENOTDIR, ELOOP = 2, 20, 40


class Tree:
    """A root directory, opened by a hand, with a tempting `outside` beside it."""

    def __init__(self, hand: Hand, directory: Path) -> None:
        self.hand = hand
        self.path = directory / "root"
        self.outside = directory / "outside"
        for made in (self.path, self.outside):
            made.mkdir()
        (self.outside / "secret").write_text("secret")
        self.root = self.open()

    def open(self, hand: Hand | None = None) -> int:
        with (hand or self.hand).batch() as do:
            root = do.openat(AT_FDCWD, str(self.path), O_PATH | O_DIRECTORY | O_CLOEXEC)
        return int(root)

    def name(self, fd: int) -> str:
        """Where below the root an fd of the hand's is."""
        whole = os.readlink(f"/proc/{self.hand.pid}/fd/{fd}")
        assert f"{whole}/".startswith(f"{self.path}/"), f"{whole} is outside"
        return whole.removeprefix(str(self.path)) or "/"

    def directory(self, in_root: str, mode: int = 0o755) -> str:
        return self.name(inroot.directory(self.hand, self.root, in_root, mode))

    def file(self, in_root: str) -> str:
        return self.name(inroot.file(self.hand, self.root, in_root))

    def link(self, name: str, target: str) -> None:
        (self.path / name).symlink_to(target)


@pytest.fixture
def tree(hand: Hand, tmp_path: Path) -> Iterator[Tree]:
    """It fails the test if anything came to be outside, or if the hand has more open than what was given back."""
    os.umask(0o22)
    tree = Tree(hand, tmp_path)
    yield tree
    assert os.listdir(tree.outside) == ["secret"]
    assert (tree.outside / "secret").read_text() == "secret"
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]


# --- what is there ---


def test_names_are_resolved_below_the_root(tree: Tree) -> None:
    """Absolute or not, and `..` stops at the root."""
    (tree.path / "a/b").mkdir(parents=True)
    for in_root in ("a/b", "/a/b", "//a/./b/", "a/../a/b", "../../a/b", "/../a/b"):
        assert tree.name(inroot.find(tree.hand, tree.root, in_root)) == "/a/b"
    for in_root in ("", "/", ".", "..", "a/../..", "/../../.."):
        assert tree.name(inroot.find(tree.hand, tree.root, in_root)) == "/"


LINKS = {
    "relative": "inside",
    "absolute": "/inside",
    "above the root": "../../../../../inside",
    "absolute, by dots": "/../../inside",
    "through another": "other",
    "to a link that is absolute": "/other",
}


@pytest.mark.parametrize("target", LINKS.values(), ids=LINKS)
def test_links_are_followed_below_the_root(tree: Tree, target: str) -> None:
    """As the process will see them when the root is its own."""
    (tree.path / "inside").mkdir()
    tree.link("other", "/inside")
    tree.link("link", target)
    assert tree.name(inroot.find(tree.hand, tree.root, "link")) == "/inside"
    assert tree.directory("link") == "/inside"
    assert tree.directory("link/new") == "/inside/new"
    assert tree.file("link/file") == "/inside/file"


def test_links_that_lead_out_find_nothing(tree: Tree) -> None:
    """Neither by an absolute path of the host's nor by dots."""
    tree.link("absolute", str(tree.outside))
    tree.link("relative", "../outside")
    for in_root in ("absolute", "absolute/secret", "relative", "relative/secret", "../outside/secret"):
        assert inroot.find(tree.hand, tree.root, in_root) == -ENOENT
        with pytest.raises(SyscallError) as caught:
            inroot.open_path(tree.hand, tree.root, in_root)
        assert str(caught.value) == f'openat2(root, "{in_root}", RESOLVE_IN_ROOT): no such file or directory'


def test_missing_wrong_and_endless_are_told_apart(tree: Tree) -> None:
    """Negative numbers for what callers ask about."""
    (tree.path / "file").touch()
    tree.link("loop", "loop")
    tree.link("one", "two")
    tree.link("two", "one")
    found = [inroot.find(tree.hand, tree.root, name) for name in ("none", "file/x", "loop", "one/x")]
    assert found == [-ENOENT, -ENOTDIR, -ELOOP, -ELOOP]


def test_other_errors_are_raised(tree: Tree) -> None:
    """With the path, which the hand alone cannot name."""
    with pytest.raises(SyscallError) as caught:
        inroot.find(tree.hand, tree.root, "x" * 300)
    assert str(caught.value) == f'openat2(root, "{"x" * 300}", RESOLVE_IN_ROOT): file name too long'


def test_magic_links_are_not_followed(tree: Tree) -> None:
    """A link of /proc's leads to a file, not to a name: no root holds it (CVE-2019-16884 and its kind)."""
    with tree.hand.batch() as do:
        root = do.openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC)
    for in_root in ("proc/self/root", "proc/self/cwd", f"proc/self/fd/{tree.root}", "proc/self/exe"):
        assert inroot.find(tree.hand, int(root), in_root) == -ELOOP


# --- directories that are made ---


@pytest.mark.parametrize(
    "in_root", ["new", "/new", "a", "a/new", "a/1/2/3", "//a//1/./2/", "b/../new/x", "../../new/y"]
)
def test_directory_is_made_with_its_parents(tree: Tree, in_root: str) -> None:
    """And found the second time."""
    for given in ("a", "b"):
        (tree.path / given).mkdir()
    wanted = "/" + os.path.normpath("/" + in_root).lstrip("/")
    assert tree.directory(in_root) == wanted
    assert (tree.path / wanted[1:]).is_dir()
    assert tree.directory(in_root) == wanted


def test_made_directories_have_the_mode(tree: Tree) -> None:
    """Of the birth, which has umask 0; what was there keeps its own."""
    with tree.hand.batch() as do:
        do.umask(0)
    (tree.path / "old").mkdir(mode=0o700)
    tree.directory("old/x/y", 0o1777)
    modes = [stat.S_IMODE((tree.path / name).stat().st_mode) for name in ("old", "old/x", "old/x/y")]
    assert modes == [0o700, 0o1777, 0o1777]


DANGLING = {
    "relative": ("link", "to/here", "link/x", "/to/here/x"),
    "absolute": ("link", "/to/here", "link/x", "/to/here/x"),
    "itself the last": ("link", "/to/here", "link", "/to/here"),
    "to a place of the host's": ("link", "/outside/x", "link/y", "/outside/x/y"),
    "by dots": ("link", "../../../outside", "link/x", "/outside/x"),
    "below a directory": ("dir/link", "to", "dir/link/x", "/dir/to/x"),
    "back up": ("dir/link", "../to", "dir/link/x", "/to/x"),
    "with dots behind": ("link", "to", "link/../x", "/x"),
}


@pytest.mark.parametrize(("link", "target", "in_root", "wanted"), DANGLING.values(), ids=DANGLING)
def test_dangling_links_are_made_to_lead_somewhere_inside(
    tree: Tree, link: str, target: str, in_root: str, wanted: str
) -> None:
    """runc makes what a link points to, below the root (CVE-2021-30465's good side)."""
    (tree.path / "dir").mkdir()
    tree.link(link, target)
    assert tree.directory(in_root) == wanted
    assert tree.directory(in_root) == wanted
    assert (tree.path / link).is_symlink()


@pytest.mark.parametrize(("link", "target", "in_root", "wanted"), DANGLING.values(), ids=DANGLING)
def test_files_behind_dangling_links_are_made_inside(
    tree: Tree, link: str, target: str, in_root: str, wanted: str
) -> None:
    """As for directories."""
    (tree.path / "dir").mkdir()
    tree.link(link, target)
    assert tree.file(in_root) == wanted
    assert (tree.path / wanted[1:]).is_file()
    assert tree.file(in_root) == wanted


def test_chain_of_dangling_links(tree: Tree) -> None:
    """Each is followed, as long as the kernel would."""
    for number in range(30):
        tree.link(f"{number}", f"{number + 1}")
    assert tree.directory("0/x") == "/30/x"
    assert tree.file("0/y") == "/30/y"


ENDLESS = {
    "to itself": {"loop": "loop"},
    "to each other": {"loop": "other", "other": "loop"},
    "that grows": {"loop": "loop/x"},
    "that grows by another": {"loop": "other/x", "other": "loop/y"},
    "longer than the kernel follows": {"loop": "0"} | {str(number): str(number + 1) for number in range(50)},
}


@pytest.mark.parametrize("links", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("in_root", ["loop", "loop/x", "loop/x/y"])
def test_endless_links_are_refused(tree: Tree, links: dict[str, str], in_root: str) -> None:
    """ELOOP, as open(2) says; no time is lost."""
    for name, target in links.items():
        tree.link(name, target)
    for make in (tree.directory, tree.file):
        with pytest.raises(Error) as caught:
            make(in_root)
        assert str(caught.value) == f'openat2(root, "{in_root}", RESOLVE_IN_ROOT): too many levels of symbolic links'
    assert {path.name for path in tree.path.iterdir()} == set(links)


@pytest.mark.parametrize(
    "in_root", ["file", "file/x", "file/x/y", "link", "link/x", "dir/../file/x", "dir/new/../../file"]
)
def test_file_in_place_of_a_directory_is_refused(tree: Tree, in_root: str) -> None:
    """ENOTDIR, naming the path; nothing is replaced."""
    (tree.path / "dir").mkdir()
    (tree.path / "file").write_text("content")
    tree.link("link", "/file")
    with pytest.raises(SyscallError) as caught:
        tree.directory(in_root)
    assert caught.value.errno == ENOTDIR
    assert "RESOLVE_IN_ROOT): not a directory" in str(caught.value)
    assert (tree.path / "file").read_text() == "content"


def test_fifo_and_socket_in_place_of_a_directory_do_not_hold_us(tree: Tree) -> None:
    """O_PATH opens nothing."""
    os.mkfifo(tree.path / "fifo")
    with pytest.raises(SyscallError, match="not a directory"):
        tree.directory("fifo/x")
    assert tree.file("fifo") == "/fifo"


# --- files that are made ---


@pytest.mark.parametrize("in_root", ["new", "/new", "a/new", "1/2/3", "a/../new", "../../new"])
def test_file_is_made_empty_with_its_parents(tree: Tree, in_root: str) -> None:
    """And found the second time, as it is then."""
    (tree.path / "a").mkdir()
    wanted = "/" + os.path.normpath("/" + in_root).lstrip("/")
    made = tree.path / wanted[1:]
    assert tree.file(in_root) == wanted
    assert made.read_bytes() == b""
    assert stat.S_IMODE(made.stat().st_mode) == 0o644
    made.write_text("content")
    assert tree.file(in_root) == wanted
    assert made.read_text() == "content"


def test_file_through_what_is_no_directory_is_refused(tree: Tree) -> None:
    """ENOTDIR."""
    (tree.path / "file").touch()
    for in_root in ("file/x", "file/x/y"):
        with pytest.raises(SyscallError) as caught:
            tree.file(in_root)
        assert caught.value.errno == ENOTDIR


@pytest.mark.parametrize("in_root", ["none/..", "none/.", "none/../.."])
def test_file_without_a_name_is_refused(tree: Tree, in_root: str) -> None:
    """What is missing has no name to be made by."""
    with pytest.raises(SyscallError) as caught:
        tree.file(in_root)
    assert str(caught.value) == f'openat2(root, "{in_root}", RESOLVE_IN_ROOT): no such file or directory'


# --- nothing lost on the way ---

MADE: dict[str, Callable[[Tree], int]] = {
    "directory": lambda tree: inroot.directory(tree.hand, tree.root, "dangling/1/2/3"),
    "directory that is there": lambda tree: inroot.directory(tree.hand, tree.root, "here"),
    "file": lambda tree: inroot.file(tree.hand, tree.root, "dangling/1/2/file"),
    "file behind a link": lambda tree: inroot.file(tree.hand, tree.root, "to-file"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_only_the_answer_stays_open(tree: Tree, make: Callable[[Tree], int]) -> None:
    """Many mounts do not exhaust the hand's fds."""
    (tree.path / "here").mkdir()
    tree.link("dangling", "/somewhere/else")
    tree.link("to-file", "/a/file")
    before = set(hands.fds(tree.hand.pid))
    fd = make(tree)
    assert set(hands.fds(tree.hand.pid)) - before == {fd}


# --- the root and the mounts of our own ---


def own(**mounts: int) -> inroot.Tree:
    """A tree of root 3 with these mounts."""
    tree = inroot.Tree(3)
    for name, fd in mounts.items():
        tree.mounted("/" + name.replace("_", "/"), fd)
    return tree


NEAREST = [
    ("/proc/kcore", (5, "kcore")),
    ("/proc/sys/kernel", (5, "sys/kernel")),
    ("/proc/", (5, "")),
    ("/proc", (3, "/proc")),
    ("/process", (3, "/process")),
    ("proc/kcore", (3, "proc/kcore")),
    ("/dev/pts/ptmx", (7, "ptmx")),
    ("/dev/pts", (6, "pts")),
    ("/dev/vol/a/b", (3, "/dev/vol/a/b")),
    ("/proc/../etc", (3, "/proc/../etc")),
    ("/etc/passwd", (3, "/etc/passwd")),
    ("", (3, "")),
    ("/", (3, "/")),
]


@pytest.mark.parametrize(("in_root", "wanted"), NEAREST, ids=[path for path, _ in NEAREST])
def test_what_is_below_a_mount_of_our_own_is_opened_from_it(in_root: str, wanted: tuple[int, str]) -> None:
    """But not through another's content, nor where dots lead out of it again."""
    assert own(proc=5, dev=6, dev_pts=7, dev_vol=-1).at(in_root) == wanted


def test_a_mount_covers_those_below() -> None:
    """A second /dev has nothing of the first; the fds of what is covered come back, to be closed."""
    tree = own(dev=6, dev_pts=7, dev_vol=-1, devices=8)
    assert sorted(tree.mounted("/dev", 9)) == [6, 7]
    assert tree.own == {"/devices": 8, "/dev": 9}
    assert tree.mounted("/dev") == [9]
    assert tree.at("/dev/pts") == (3, "/dev/pts")


# --- others who change the tree meanwhile ---

# Exchanges two names of a directory as fast as it can, until its stdin closes.
RENAMER = """
import ctypes, os, select, sys
libc = ctypes.CDLL(None, use_errno=True)
one, two = map(os.fsencode, sys.argv[1:])
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(100):
        libc.renameat2(-100, one, -100, two, 2)  # RENAME_EXCHANGE
"""


@pytest.fixture
def racing() -> Iterator[Callable[[Path, Path], None]]:
    """Start a process that exchanges two names."""
    started = []

    def start(one: Path, two: Path) -> None:
        process = hands.python(RENAMER, one, two)
        started.append(process)
        assert process.stdout.readline() == "begun\n"

    yield start
    for process in started:
        with process:
            process.stdin.close()


def test_directory_that_becomes_a_link_does_not_lead_out(tree: Tree, racing: Callable[[Path, Path], None]) -> None:
    """CVE-2021-30465, CVE-2024-45310: whatever is found is inside, or an error of ours; and it ends."""
    (tree.path / "dir").mkdir()
    for number, target in enumerate((str(tree.outside), "../outside", "../../outside")):
        tree.link(f"link{number}", target)
        racing(tree.path / "dir", tree.path / f"link{number}")
    end = time.monotonic() + 0.7
    found = 0
    while time.monotonic() < end:
        for make in (inroot.directory, inroot.file):
            for in_root in (f"dir/a{found}/b", "dir/../dir/secret"):
                try:
                    fd = make(tree.hand, tree.root, in_root)
                except SyscallError:
                    continue
                tree.name(fd)
                found += 1
                with tree.hand.batch() as do:
                    do.close(fd)
    assert found > 10


def test_renames_elsewhere_make_a_walk_with_dots_fail_in_bounded_time(
    tree: Tree, racing: Callable[[Path, Path], None]
) -> None:
    """openat2(2): EAGAIN if any rename of the system raced with a `..`; tried again, but not for ever."""
    for name in ("dir", "one", "two"):
        (tree.path / name).mkdir()
    for _ in range(2):
        racing(tree.path / "one", tree.path / "two")
    assert tree.directory("dir/../dir/../dir") == "/dir"
    begun = time.monotonic()
    outcome = "found"
    try:
        assert tree.name(inroot.open_path(tree.hand, tree.root, "dir/../" * 500)) == "/"
    except SyscallError as error:
        outcome = str(error).rpartition(": ")[2]
    assert outcome in ("found", "resource temporarily unavailable")
    assert time.monotonic() - begun < 10


def test_two_who_make_the_same_tree_do_not_disturb_each_other(tree: Tree) -> None:
    """Containers that share a root file system are born at the same time."""
    tree.link("link", "/behind")
    other = Hand()
    root = tree.open(other)
    wrong: list[BaseException] = []
    meet = threading.Barrier(2)

    def make(hand: Hand, root: int) -> None:
        try:
            for number in range(40):
                meet.wait()
                inroot.directory(hand, root, f"{number}/1/2/3/4")
                inroot.file(hand, root, f"{number}/5/6/file")
                inroot.directory(hand, root, f"link/{number}/7")
        except BaseException as error:
            wrong.append(error)
            meet.abort()

    thread = threading.Thread(target=make, args=(other, root))
    thread.start()
    make(tree.hand, tree.root)
    thread.join()
    other.kill()
    assert wrong == []
