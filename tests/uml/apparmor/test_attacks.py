"""Attacks on the way a label is set: a /proc that is not the kernel's takes it, and the process runs without."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until
from tests.test_namespaces import mapped

BOX = "minirunc-box (enforce)\n"
FILES = ("current", "exec", "apparmor/current", "apparmor/exec")
COVER = "mount -o bind /forged /proc && echo covered >/log; exec sleep 1000"


@pytest.fixture
def victim(bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle with a profile, whose image has a /proc of its own below /forged; its root may mount."""
    made = bundle(COVER)
    forge(made.rootfs / "forged")
    made.process["apparmorProfile"] = "minirunc-box"
    for name in ("bounding", "effective", "permitted"):
        made.process["capabilities"][name].append("CAP_SYS_ADMIN")
    return made


def forge(directory: Path) -> None:
    """What a procfs has of labels, as files that anybody may write."""
    for task in ("self", "thread-self", "1"):
        (directory / task / "attr/apparmor").mkdir(parents=True)
        for name in FILES:
            (directory / task / "attr" / name).touch(0o666)


def own_proc(made: Bundle) -> None:
    """Have the image's files at /proc, and no procfs."""
    forge(made.rootfs / "proc")
    made.config["mounts"] = [mount for mount in made.config["mounts"] if mount["destination"] != "/proc"]
    made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []


def written(directory: Path) -> list[Path]:
    """The forged files that took something."""
    return [path for path in directory.rglob("*") if path.is_file() and path.stat().st_size]


def start_covered(minirunc: Runtime, made: Bundle) -> str:
    """Start it; its process covers /proc."""
    id = minirunc.start(made)
    log = made.rootfs / "log"
    wait_until(lambda: log.exists() and log.read_text() == "covered\n", "/proc is covered")
    return id


@attack("CVE-2019-16884 by exec: /proc covered from inside", "forged /proc", "a procfs of the runtime's own")
def test_exec_into_a_container_with_a_forged_proc_has_the_label(minirunc: Runtime, victim: Bundle) -> None:
    """The forged files take nothing; the process that exec starts has the profile."""
    victim.mount("/real", "proc", "proc")
    id = start_covered(minirunc, victim)
    script = "ls /proc; cat /real/self/attr/apparmor/current"
    assert minirunc.ok("exec", id, "sh", "-c", script) == f"1\nself\nthread-self\n{BOX}"
    assert not written(victim.rootfs / "forged")


@attack("the same, in a user namespace", "forged /proc", "a procfs of the runtime's own")
def test_exec_in_a_user_namespace_with_a_forged_proc_has_the_label(
    minirunc: Runtime, victim: Bundle, tmp_path: Path
) -> None:
    """A procfs is below what covers it, so that the kernel allows another."""
    id = start_covered(minirunc, mapped(victim))
    minirunc.ok("exec", "--detach", "--pid-file", tmp_path / "pid", id, "sleep", "1000")
    process = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
    wait_until(lambda: process.joinpath("comm").read_text() == "sleep\n", "it is the program")
    assert process.joinpath("attr/apparmor/current").read_text() == BOX
    assert not written(victim.rootfs / "forged")


@attack("CVE-2019-16884", "forged /proc", "nothing but a procfs is mounted on /proc, nothing below it")
@pytest.mark.parametrize("destination", ["/proc", "/proc/self/attr", "/proc/thread-self/attr/apparmor/exec"])
def test_volume_over_proc_is_refused(minirunc: Runtime, victim: Bundle, tmp_path: Path, destination: str) -> None:
    """A volume that an image declares at /proc."""
    forge(tmp_path / "volume")
    source = tmp_path / "volume" / destination.removeprefix("/proc").strip("/")
    victim.mount(destination, "bind", str(source), "bind")
    victim.args("echo ran")
    status, out, err = minirunc.run(victim)
    assert (status, out) == (1, "")
    assert "cannot be mounted because it is" in err
    assert not written(tmp_path / "volume")


@attack("CVE-2019-19921, CVE-2023-28642", "forged /proc", "a procfs is mounted on an ordinary directory")
def test_proc_that_is_a_link_is_refused(minirunc: Runtime, victim: Bundle) -> None:
    """The procfs would be mounted elsewhere, and /proc be the image's."""
    (victim.rootfs / "proc").rmdir()
    (victim.rootfs / "proc").symlink_to("forged")
    victim.args("echo ran")
    status, out, err = minirunc.run(victim)
    assert (status, out) == (1, "")
    assert "must be mounted on ordinary directory" in err
    assert not written(victim.rootfs / "forged")


@attack("a /proc of the image's files", "forged /proc", "a procfs of the runtime's own")
def test_image_with_a_proc_of_its_own_files(minirunc: Runtime, victim: Bundle) -> None:
    """Without a procfs in its mounts the container has the image's files there, and the profile all the same."""
    own_proc(victim)
    victim.args(["sleep", "1000"])
    id = minirunc.start(victim)
    assert Path(f"/proc/{minirunc.pid(id)}/attr/apparmor/current").read_text() == BOX
    assert not written(victim.rootfs / "proc")


@attack("a /proc of the image's files, in a user namespace", "forged /proc", "only a whole procfs is taken")
def test_image_with_a_proc_of_its_own_files_in_a_user_namespace(minirunc: Runtime, victim: Bundle) -> None:
    """There a new procfs is denied to who has none: without one the profile cannot be asked for, and nothing runs."""
    own_proc(victim)
    victim.args("echo ran")
    status, out, err = minirunc.run(mapped(victim))
    assert (status, out) == (1, "")
    assert "/proc in the container is not a procfs" in err
    assert not written(victim.rootfs / "proc")
