"""container/filters.py, container/compiling.py: compiled filters are kept, and only what is surely ours is believed."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from minirunc.container.compiling import MOST
from tests.ground.bundle import Bundle
from tests.ground.rootless import USER, given, ordinary_user
from tests.ground.runtime import Runtime
from tests.ground.seccomp import docker, filtered, profile, rule

DENIED = (1, "", "mkdir: can't create directory '/x': Network is down\n")
ALLOWED = (0, "", "")


@pytest.fixture
def hidden(tmp_path: Path) -> dict[str, str]:
    """An environment in which to load libseccomp fails; its file is as it was."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/libseccomp.so.2").touch()
    return {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "empty")}


@pytest.fixture
def denying(bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle whose mkdir is refused by the filter."""
    made = filtered(bundle("mkdir /x; r=$?; rmdir /x 2>/dev/null; exit $r"), profile("ALLOW"))
    made.linux["seccomp"]["syscalls"] = [rule("mkdir mkdirat", "ERRNO", errno=100)]
    return made


@pytest.fixture
def allowing(bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle like it whose filter allows that."""
    return filtered(bundle("mkdir /x && rmdir /x"), profile("ALLOW"))


def kept(minirunc: Runtime) -> list[Path]:
    """The files below the state root that hold filters."""
    return sorted((minirunc.root / ":seccomp").iterdir())


def test_the_second_time_needs_no_libseccomp(minirunc: Runtime, denying: Bundle, hidden: dict[str, str]) -> None:
    """Neither a run nor an exec; another profile does."""
    assert minirunc.run(denying) == DENIED
    assert minirunc.run(denying, env=hidden) == DENIED
    denying.args(["sleep", "1000"])
    id = minirunc.start(denying, env=hidden)
    assert minirunc("exec", id, "mkdir", "/x", env=hidden) == DENIED
    denying.linux["seccomp"]["syscalls"][0]["errnoRet"] = 99
    assert "install the Debian package libseccomp2" in minirunc.run(denying, env=hidden).err


def test_what_is_kept_is_its_owners_alone(minirunc: Runtime, denying: Bundle) -> None:
    """A directory of mode 0700 with one file of mode 0600 for each profile, whatever the umask."""
    assert minirunc.run(denying, umask=0) == DENIED
    assert minirunc.run(denying) == DENIED
    directory = minirunc.root / ":seccomp"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (file,) = kept(minirunc)
    found = file.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_nlink) == (0o600, os.geteuid(), 1)


def test_it_is_no_container(minirunc: Runtime, denying: Bundle) -> None:
    """`list` does not show it, and its name is no id."""
    assert minirunc.run(denying) == DENIED
    assert minirunc.ok("list", "--quiet") == ""
    assert minirunc.ok("list", "--format", "json") == "null\n"
    for command in (["delete", "--force"], ["state"], ["create", "--bundle", denying.path]):
        result = minirunc(*command, ":seccomp")
        assert result.status == 1
        assert "invalid container ID format: ':seccomp'" in result.err
    assert kept(minirunc)


BROKEN = {
    "empty": lambda file, other: file.write_bytes(b""),
    "cut": lambda file, other: file.write_bytes(file.read_bytes()[:-8]),
    "longer": lambda file, other: file.write_bytes(file.read_bytes() + bytes(8)),
    "a bit": lambda file, other: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])),
    "huge": lambda file, other: os.truncate(file, 1 << 30),
    "another filter's": lambda file, other: file.write_bytes(other.read_bytes()),
    "link": lambda file, other: (file.rename(file.with_name("x")), file.symlink_to("x")),
    "fifo": lambda file, other: (file.unlink(), os.mkfifo(file, 0o600)),
    "another's": lambda file, other: os.chown(file, 1000, 0),
    "group may write": lambda file, other: file.chmod(0o620),
    "others may read": lambda file, other: file.chmod(0o604),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_or_foreign_file_is_not_believed(
    minirunc: Runtime, denying: Bundle, allowing: Bundle, hidden: dict[str, str], case: str
) -> None:
    """It is compiled anew, and the file is a good one again."""
    assert minirunc.run(allowing) == ALLOWED
    (other,) = kept(minirunc)
    assert minirunc.run(denying) == DENIED
    (file,) = (path for path in kept(minirunc) if path != other)
    good = file.read_bytes()
    BROKEN[case](file, other)
    assert "install the Debian package libseccomp2" in minirunc.run(denying, env=hidden).err
    assert minirunc.run(denying) == DENIED
    assert file.read_bytes() == good
    assert (file.lstat().st_mode, file.stat().st_uid) == (0o100600, os.geteuid())


def test_file_that_is_a_directory_is_not_believed(minirunc: Runtime, denying: Bundle) -> None:
    """Nor does it hold up a container that no filter can be kept."""
    assert minirunc.run(denying) == DENIED
    (file,) = kept(minirunc)
    file.unlink()
    file.mkdir()
    assert minirunc.run(denying) == DENIED
    assert kept(minirunc) == [file]


def foreign(path: Path, elsewhere: Path) -> None:
    path.mkdir()
    os.chown(path, 1000, 1000)


PLACES = {
    "another's": foreign,
    "open to all": lambda path, elsewhere: (path.mkdir(), path.chmod(0o777)),
    "link": lambda path, elsewhere: path.symlink_to(elsewhere),
    "file": lambda path, elsewhere: path.touch(),
}


@pytest.mark.parametrize("case", PLACES)
def test_directory_that_is_not_ours_is_left_alone(
    minirunc: Runtime, denying: Bundle, tmp_path: Path, case: str
) -> None:
    """Nothing is read there, nothing written; --debug says so."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    minirunc.root.mkdir(mode=0o700)
    path = minirunc.root / ":seccomp"
    PLACES[case](path, elsewhere)
    assert minirunc.run(denying) == DENIED
    assert f"no seccomp filter is kept in {path}: " in minirunc.run(denying, before=["--debug"]).err
    assert not path.is_dir() or not os.listdir(path)
    assert not os.listdir(elsewhere)


def test_only_so_many_are_kept(minirunc: Runtime, denying: Bundle) -> None:
    """The oldest go, and what a killed process left aside."""
    assert minirunc.run(denying) == DENIED
    (first,) = kept(minirunc)
    for number in range(MOST + 5):
        aside = first.with_name(f".{number:064x}.1")
        aside.write_bytes(b"")
        os.utime(aside, (number, number))
    denying.linux["seccomp"]["syscalls"][0]["errnoRet"] = 99
    assert minirunc.run(denying).status == 1
    names = {path.name for path in kept(minirunc)}
    assert len(names) == MOST
    assert first.name in names
    assert f".{6:064x}.1" not in names
    assert f".{MOST + 4:064x}.1" in names


def test_another_libseccomp_makes_another_filter(minirunc: Runtime, denying: Bundle, tmp_path: Path) -> None:
    """It may know more system calls: an upgrade makes what was compiled before it void."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    (path,) = {line.split(" => ")[1] for line in listed.splitlines() if "libseccomp.so.2 " in line}
    copy = tmp_path / "libseccomp.so.2"
    shutil.copy(path, copy)
    environ = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    assert minirunc.run(denying, env=environ) == DENIED
    (file,) = kept(minirunc)
    before = file.stat().st_ino
    assert minirunc.run(denying, env=environ) == DENIED
    assert file.stat().st_ino == before
    os.utime(copy, (1, 1))
    assert minirunc.run(denying, env=environ) == DENIED
    assert kept(minirunc) == [file]
    assert file.stat().st_ino != before
    copy.unlink()
    assert minirunc.run(denying) == DENIED  # the system's own


def test_an_ordinary_user_has_filters_of_his_own(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Below his state root; without no_new_privs, as the filter is loaded with the rights he has inside."""
    with ordinary_user(minirunc) as home:
        made = filtered(given(bundle("mkdir /x"), home), profile("ALLOW", rule("mkdir mkdirat", "ERRNO", errno=100)))
        made.process["noNewPrivileges"] = False
        assert minirunc.run(made) == DENIED
        assert minirunc.run(made) == DENIED
        (file,) = kept(minirunc)
        assert (file.stat().st_uid, file.parent.stat().st_uid) == (USER, USER)


def test_many_at_once_find_or_make_it(minirunc: Runtime, denying: Bundle) -> None:
    """Who comes second meanwhile compiles for itself; one file is left."""
    denying.linux["seccomp"] = docker()
    denying.args(["grep", "Seccomp:", "/proc/self/status"])
    denying.write()
    runs = [minirunc.popen("run", "--bundle", denying.path, minirunc.id()) for _ in range(6)]
    for run in runs:
        out, err = run.communicate()
        assert (run.returncode, out, err) == (0, "Seccomp:\t2\n", "")
    assert len(kept(minirunc)) == 1
