"""Attacks by a forged /proc: what is written below it must reach the kernel, what it shows must be the kernel's."""

import os
from collections.abc import Callable
from pathlib import Path

from tests import inside
from tests.attacks.attackers import give_user_namespace, links_to, ran, refused, some, untouched, without
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

FORWARD = "net/ipv4/ip_forward"
INSIDE_PROC = "cannot be mounted because it is inside /proc"
NOT_PROC = "cannot be mounted because it is not of type proc"
ORDINARY = "must be mounted on ordinary directory"
DIRECTORY = "a procfs is mounted on a directory behind no link"


def forge(directory: Path) -> None:
    """A /proc of plain files, with all that a runtime reads or writes there."""
    for name in ("self/attr/apparmor/exec", "self/attr/exec", "self/oom_score_adj", "self/setgroups", "self/uid_map"):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("forged\n")
    for name in (FORWARD, "kernel/core_pattern", "kernel/domainname"):
        file = directory / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("forged\n")
    (directory / "sysrq-trigger").write_text("forged\n")
    for name in ("thread-self", "1"):
        (directory / name).symlink_to("self")


@attack("CVE-2019-16884", "forged /proc", "on /proc only a procfs; in it only files like /proc/uptime")
def test_volume_over_proc(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """No volume, tmpfs or link puts other files in the place of /proc or of any file a runtime uses there."""
    with untouched(tmp_path) as host:
        made = bundle()
        forge(made.path / "forged")
        ordered = made.config["mounts"]
        for destination in some(["/proc", "proc/../proc/.", "/proc/", "/./proc", "/x/../proc", "proc"], 1):
            for kind, options in (("bind", ["bind"]), ("bind", ["rbind", "ro"]), ("tmpfs", []), ("sysfs", [])):
                forged = {"destination": destination, "type": kind, "source": "forged", "options": options}
                made.config["mounts"] = [*ordered, forged]
                assert NOT_PROC in failure(minirunc, made)
        (made.rootfs / "link").symlink_to("proc")
        (made.rootfs / "deep").symlink_to("/proc/self")
        file = made.path / "forged/self/attr/exec"
        for destination, source in (
            *(("/link", file.parent), ("/link/self", file.parent), ("/deep", file.parent), ("/deep/attr", file.parent)),
            *(("/proc/self/attr/exec", file), ("/proc/thread-self/attr", file.parent), ("/proc/1", file.parent)),
            *(("/proc/sys", file.parent), ("/proc/sys/kernel/core_pattern", file), ("/proc/version", file)),
            *(("/link/uptime", file), ("/proc/./version", file)),
        ):
            forged = {"destination": destination, "type": "bind", "source": str(source), "options": ["bind"]}
            made.config["mounts"] = [*ordered, forged]
            assert INSIDE_PROC in failure(minirunc, made), destination
        made.config["mounts"] = [*ordered]
        made.mount("/proc/uptime", "bind", str(file), "bind")  # as lxcfs does
        made.args("cat /proc/uptime /proc/self/attr/forged 2>/dev/null; cat /proc/sys/kernel/ostype")
        assert ran(minirunc.run(made)) == "forged\nLinux\n"
        assert host.is_dir()


def failure(minirunc: Runtime, made: Bundle) -> str:
    """The error it ends with; a warning may come before."""
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, ""), result
    return result.err.splitlines()[-1]


@attack("CVE-2019-19921, CVE-2023-27561, CVE-2023-28642", "forged /proc", DIRECTORY)
def test_proc_and_sys_that_are_links(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """/proc or /sys a link, absolute, relative or dangling, to the image, to a volume, or by its parent: refused."""
    with untouched(tmp_path) as host:
        made = bundle()
        forge(made.path / "volume/proc")
        forge(made.rootfs / "forged")
        made.config["mounts"].insert(0, {"destination": "/v", "source": "volume", "options": ["bind"]})
        for name in ("proc", "sys"):
            (made.rootfs / name).rmdir()
            for text in some(
                ["/v/proc", *links_to(host).values(), "forged", "/forged", "v", "missing", "/missing/deep"]
            ):
                (made.rootfs / name).symlink_to(text)
                assert ORDINARY in failure(minirunc, made), text
                (made.rootfs / name).unlink()
            (made.rootfs / name).write_text("a file\n")
            assert ORDINARY in failure(minirunc, made)
            (made.rootfs / name).unlink()
            (made.rootfs / name).mkdir()
        (made.rootfs / "run").mkdir(exist_ok=True)
        (made.rootfs / "run/link").symlink_to("/v")
        for destination in ("/run/link/proc", "/run/link/new", "/v/../run/link/proc/self"):
            made.config["mounts"][1]["destination"] = destination
            assert ORDINARY in failure(minirunc, made)


@attack("CVE-2025-52881, sysctl", "forged /proc", "sysctl is written by a procfs of our own, never attached")
def test_sysctl_does_not_go_where_an_image_leads(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """linux.sysctl reaches the container's network: /proc is missing, forged by image or volume, or read-only."""
    with untouched(tmp_path) as host:
        for way in ("none", "image", "link", "read-only", "user namespace"):
            made = bundle(f"cat /p/sys/{FORWARD}")
            made.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
            made.mount("/p", "proc", "proc")
            if way == "read-only":
                made.linux["readonlyPaths"] = ["/proc", "/p"]
            elif way != "user namespace":
                made = without(made, "/proc")
                del made.linux["maskedPaths"], made.linux["readonlyPaths"]
                (made.rootfs / "proc").rmdir()
            if way == "image":
                forge(made.rootfs / "proc")
            elif way == "link":
                forge(host / "proc")
                (made.rootfs / "proc").symlink_to(host / "proc")
            elif way == "user namespace":
                give_user_namespace(made)
            with untouched(tmp_path, again=True):
                assert (way, ran(minirunc.run(made))) == (way, "1\n")
            if way == "image":
                assert (made.rootfs / "proc/sys" / FORWARD).read_text() == "forged\n"
            if way == "link":
                remove_forged(host / "proc")


def remove_forged(directory: Path) -> None:
    """What forge made."""
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    directory.rmdir()


@attack("CVE-2025-52881, the process's own files", "forged /proc", "written from outside, by the host's /proc")
def test_process_attributes_do_not_go_where_an_image_leads(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """oomScoreAdj, id maps and the exec of a container whose /proc is forged: all real, the forgery is not written."""
    made = without(bundle("exec sleep 1000"), "/proc")
    del made.linux["maskedPaths"], made.linux["readonlyPaths"]
    forge(made.rootfs / "proc")
    give_user_namespace(made)
    made.process["oomScoreAdj"] = 500
    made.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    before = seen(made.rootfs / "proc")
    with untouched(tmp_path):
        id = minirunc.start(made)
        pid = minirunc.pid(id)
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "100000", "65536"]
        assert inside.limits(Path(f"/proc/{pid}/limits").read_text())["Max open files"] == ("100", "200")
        assert minirunc.ok("exec", id, "cat", "/proc/self/oom_score_adj") == "forged\n"
        assert seen(made.rootfs / "proc") == before


def seen(directory: Path) -> list[tuple[Path, int, int]]:
    """What a write would change."""
    return sorted((path, path.lstat().st_size, path.lstat().st_mtime_ns) for path in directory.rglob("*"))


NAMES = (
    *("net.ipv4/../../kernel/core_pattern", "net/../kernel/core_pattern", "net/ipv4/../../../sysrq-trigger"),
    *("net....kernel.core_pattern", "net.//.//.kernel.core_pattern", "net./../core_pattern", "net.", "net..ipv4"),
    *(
        "net.ipv4.ip_forward\nkernel.core_pattern",
        "net\n.core_pattern",
        "../kernel/core_pattern",
        "/kernel/core_pattern",
    ),
    *("kernel.core_pattern", "kernel/core_pattern", "kernel.shmmax/../core_pattern", "fs.mqueue.../../x", "net.x\0y"),
    *("user.max_user_namespaces", "kernel.hostname", "", ".", "..", "/", "net/" + "x" * 5000),
)


@attack("a sysctl's name out of /proc/sys", "names and paths", "names are split, judged and opened beneath /proc/sys")
def test_sysctl_names(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """No name, with dots, slashes, newlines or NUL, leads to what is not of the container's namespaces."""
    made = bundle()
    with untouched(tmp_path) as host:
        for name in some(NAMES, 9):
            made.linux["sysctl"] = {name: f"|{host}/file"}
            refused(minirunc.run(made), "sysctl")


@attack("a value of many lines", "forged /proc", "one write(2), as it is; what the kernel makes of it is an error")
def test_sysctl_values(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A value cannot hold a second assignment, nor be so long that it is cut."""
    made = bundle(f"cat /proc/sys/{FORWARD}")
    with untouched(tmp_path):
        for value in ("1\nkernel.core_pattern=x", "x", "1" * 5000, ""):
            made.linux["sysctl"] = {"net.ipv4.ip_forward": value}
            result = minirunc.run(made)
            assert result.status == 1 or result.out in ("0\n", "1\n")
    assert os.path.exists("/proc/sys/kernel/core_pattern")
