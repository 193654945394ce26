"""kernel/cgroupfs.py: names below a cgroup, while others make and remove them."""

import os
import resource
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirunc.base.errors import Error
from minirunc.kernel import cgroupfs
from minirunc.kernel.constants import AT_FDCWD, CLONE_INTO_CGROUP, CLONE_PARENT, O_CLOEXEC, O_DIRECTORY, O_RDONLY
from minirunc.kernel.hand import Hand
from tests.ground import hands, leftovers
from tests.ground.runtime import PURE_V2, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


class Cgroup:
    """A cgroup of the test's, as directory and as fd."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.in_hierarchy = "/" + str(path.relative_to(root))
        self.fd = cgroupfs.open_directory(str(path))

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if path.is_dir())


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    """Removed with the test, and who is in it ended."""
    root = leftovers.cgroup2_mounts()[0]
    path = root / f"test-cgroupfs-{secrets.token_hex(4)}"
    path.mkdir()
    cgroup = Cgroup(path, root)
    yield cgroup
    os.close(cgroup.fd)
    (path / "cgroup.kill").write_text("1")
    wait_until(lambda: "populated 0" in (path / "cgroup.events").read_text(), f"{path} is empty")
    for directory, _, _ in os.walk(path, topdown=False):
        os.rmdir(directory)


def put(hand: Hand, path: Path) -> None:
    """Have the hand go on in a cgroup."""
    with hand.batch() as do:
        fd = do.openat(AT_FDCWD, str(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    with hand.batch() as do:
        do.forks(do.clone3(CLONE_PARENT | CLONE_INTO_CGROUP, cgroup=int(fd)))


# --- where it is ---

WHERE = "from minirunc.kernel.cgroupfs import *; print(*mount_point(), own_path())"


def test_hybrid_host_has_it_beside_v1() -> None:
    """The unified hierarchy, and that controllers may be v1's."""
    path, hybrid = cgroupfs.mount_point()
    assert (Path(path), hybrid) == (leftovers.cgroup2_mounts()[0], path != "/sys/fs/cgroup")


def test_v2_alone_is_not_hybrid() -> None:
    """On /sys/fs/cgroup."""
    with hands.python(WHERE, prefix=tuple(PURE_V2)) as process:
        assert process.stdout.read() == f"/sys/fs/cgroup False {cgroupfs.own_path()}\n"


def test_host_without_v2_is_told_what_to_do() -> None:
    """Nothing can be had from v1 alone."""
    prefix = ("unshare", "-m", "--propagation", "private", "sh", "-c", 'umount -R /sys/fs/cgroup; exec "$@"', "sh")
    with hands.python(WHERE, prefix=prefix, stderr=subprocess.STDOUT) as process:
        said = process.stdout.read().splitlines()[-1]
    assert said == (
        "minirunc.kernel.cgroupfs.NotMounted: cgroup v2 is not mounted at /sys/fs/cgroup nor at /sys/fs/cgroup/unified:"
        " mount it, or boot with it"
    )


@pytest.mark.parametrize(
    "name", ["plain", "two words", "é", "0::", "x\x0b0::", "x\x850::", "x\u20280::", "\udcff", "(deleted)"]
)
def test_path_of_a_process_whatever_its_cgroups_name(hand: Hand, cgroup: Cgroup, name: str) -> None:
    """A container may name its cgroups as it likes: only a newline, which it may not use, ends a line.

    Else an exec could be sent into any cgroup of the host.
    """
    (cgroup.path / name / "inner").mkdir(parents=True)
    put(hand, cgroup.path / name / "inner")
    assert cgroupfs.path_of(hand.pid) == f"{cgroup.in_hierarchy}/{name}/inner"


def test_own_path_is_ours() -> None:
    """As the kernel shows it."""
    (line,) = (line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    assert cgroupfs.own_path() == line[3:]


# --- files ---


def test_files_are_read_and_written(cgroup: Cgroup) -> None:
    """One value a file."""
    assert cgroupfs.read(cgroup.fd, "cgroup.max.depth") == "max"
    cgroupfs.write(cgroup.fd, "cgroup.max.depth", "3")
    assert cgroupfs.read(cgroup.fd, "cgroup.max.depth") == "3"
    assert cgroupfs.has(cgroup.fd, "cgroup.procs")
    assert not cgroupfs.has(cgroup.fd, "cgroup.none")
    assert cgroupfs.flag(cgroup.fd, "cgroup.events", "populated") == 0
    assert cgroupfs.flag(cgroup.fd, "cgroup.events", "none") == 0
    with pytest.raises(OSError, match=r"Numerical result out of range|Invalid argument"):
        cgroupfs.write(cgroup.fd, "cgroup.max.depth", "-5")


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Were it no cgroup but an attacker's directory, a name would still lead nowhere else."""
    (tmp_path / "file").write_text("secret")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "directory").symlink_to(tmp_path)
    fd = cgroupfs.open_directory(str(tmp_path))
    for attempt in (
        lambda: cgroupfs.read(fd, "link"),
        lambda: cgroupfs.write(fd, "link", "x"),
        lambda: cgroupfs.child(fd, "directory"),
        lambda: cgroupfs.open_directory(str(tmp_path / "directory")),
    ):
        with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
            attempt()
    os.close(fd)
    assert (tmp_path / "file").read_text() == "secret"


# --- cgroups below ---


def test_make_says_whether_it_did(cgroup: Cgroup) -> None:
    """A second time it was there."""
    assert [cgroupfs.make(cgroup.fd, "one"), cgroupfs.make(cgroup.fd, "one")] == [True, False]
    assert cgroupfs.children(cgroup.fd) == ["one"]


def test_processes_below_count(hand: Hand, cgroup: Cgroup) -> None:
    """All of a container's, in whatever cgroup it put them."""
    (cgroup.path / "one/two").mkdir(parents=True)
    (cgroup.path / "three").mkdir()
    assert cgroupfs.processes(cgroup.fd) == []
    put(hand, cgroup.path / "one/two")
    other = Hand()
    put(other, cgroup.path)
    assert sorted(cgroupfs.processes(cgroup.fd)) == sorted([hand.pid, other.pid])
    other.kill()


def test_processes_of_a_threaded_cgroup_are_listed_by_the_domain(hand: Hand, cgroup: Cgroup) -> None:
    """cgroup.procs of a threaded one cannot be read (EOPNOTSUPP)."""
    (cgroup.path / "threaded").mkdir()
    (cgroup.path / "threaded/cgroup.type").write_text("threaded")
    put(hand, cgroup.path)
    assert cgroupfs.processes(cgroup.fd) == [hand.pid]


def test_remove_takes_all_below(cgroup: Cgroup) -> None:
    """Deepest first; what is not there is no error."""
    for names in ("one/two/three", "one/four", "other"):
        (cgroup.path / names).mkdir(parents=True)
    cgroupfs.remove(cgroup.fd, "one")
    assert cgroup.names() == ["other"]
    cgroupfs.remove(cgroup.fd, "one")
    cgroupfs.remove(cgroup.fd, "never")


def nest(path: Path, levels: int) -> None:
    """Make cgroups below each other, as a container may that has its own writable."""
    here = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("c", dir_fd=here)
        here, above = os.open("c", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)


def test_cgroups_nested_without_end_are_walked_and_removed(hand: Hand, cgroup: Cgroup) -> None:
    """They take neither our stack nor our files."""
    (cgroup.path / "one").mkdir()
    (cgroup.path / "one/beside").mkdir()
    nest(cgroup.path / "one", 1100)
    put(hand, cgroup.path / "one/c/c/c")
    (cgroup.path / "one/c/c/beside").mkdir()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(hands.fds()) + 10, limit[1]))
    try:
        assert cgroupfs.processes(cgroup.fd) == [hand.pid]
        with pytest.raises(OSError, match="busy"):
            cgroupfs.remove(cgroup.fd, "one")
        hand.kill()
        cgroupfs.remove(cgroup.fd, "one")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert cgroup.names() == []


def test_path_with_dots_is_refused() -> None:
    """/proc/PID/cgroup of a process outside our cgroup namespace begins with them."""
    for path in ("/sys/fs/cgroup/../x", "/sys/fs/cgroup/..", "/sys/fs/cgroup/a/../../../etc"):
        with pytest.raises(Error, match="not below the root of the cgroup hierarchy"):
            cgroupfs.open_directory(path)


def test_remove_of_one_in_use_is_refused(hand: Hand, cgroup: Cgroup) -> None:
    """EBUSY, for the caller who waits."""
    (cgroup.path / "one/two").mkdir(parents=True)
    put(hand, cgroup.path / "one/two")
    with pytest.raises(OSError, match="Device or resource busy"):
        cgroupfs.remove(cgroup.fd, "one")
    hand.kill()
    cgroupfs.remove(cgroup.fd, "one")
    assert cgroup.names() == []


LOOKS: dict[str, Callable[[int], object]] = {
    "remove": lambda fd: cgroupfs.remove(fd, "tree"),
    "children": cgroupfs.children,
    "processes": cgroupfs.processes,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_others_may_remove_it_meanwhile(cgroup: Cgroup, look: Callable[[int], object]) -> None:
    """Two deletes at once, or systemd inside that tidies up: what is gone is gone."""
    wrong: list[BaseException] = []
    rounds, meet = 15, threading.Barrier(2)

    def other() -> None:
        try:
            for _ in range(rounds):
                meet.wait()
                cgroupfs.remove(cgroup.fd, "tree")
                meet.wait()
        except BaseException as error:
            wrong.append(error)
            meet.abort()

    thread = threading.Thread(target=other)
    thread.start()
    try:
        for _ in range(rounds):
            for number in range(12):
                (cgroup.path / f"tree/{number}/below").mkdir(parents=True)
            meet.wait()
            while cgroup.names():
                look(cgroup.fd)
            meet.wait()
    except threading.BrokenBarrierError:
        pass
    except BaseException:
        meet.abort()
        raise
    finally:
        thread.join()
    assert wrong == []


def test_removed_cgroup_has_nothing(cgroup: Cgroup) -> None:
    """An fd of it may be open still."""
    (cgroup.path / "one").mkdir()
    fd = cgroupfs.child(cgroup.fd, "one")
    (cgroup.path / "one").rmdir()
    assert cgroupfs.children(fd) == []
    assert not cgroupfs.has(fd, "cgroup.procs")
    cgroupfs.remove(fd, "below")
    with pytest.raises(OSError, match="No such"):
        cgroupfs.processes(fd)
    os.close(fd)
