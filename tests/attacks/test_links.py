"""Attacks by links in the image and in volumes: what is mounted, made or read through them stays in the container."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import inside
from tests.attacks.attackers import give_user_namespace, links_to, opened, ran, refused, some, untouched, without
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

IN_ROOT = "found below the root (openat2 RESOLVE_IN_ROOT), used by fd"
UNREAD = 9  # syslog(2) SYSLOG_ACTION_SIZE_UNREAD


def texts(target: Path) -> Sequence[str]:
    """Those of links to it, the most roundabout first."""
    return some([*links_to(target).values()][::-1], 1)


@attack("CVE-2019-18837, CVE-2021-30465 (static)", "links in the image", IN_ROOT)
def test_mount_targets_that_are_links(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Each mount lands at the same path below the root."""
    made = bundle("cat /proc/self/mountinfo")
    with untouched(tmp_path) as host:
        for name in ("directory", "directory/missing/too", "missing"):
            for way, text in links_to(host / name).items():
                link = f"{way}-{name.replace('/', '-')}"
                (made.rootfs / link).symlink_to(text)
                made.mount(f"/{link}", "tmpfs", "tmpfs")
                made.mount(f"/{link}/further", "bind", "/usr", "bind", "ro")
        for name in ("file", "no-file"):
            for way, text in links_to(host / name).items():
                (made.rootfs / f"{way}-{name}").symlink_to(text.removesuffix("/."))
                made.mount(f"/{way}-{name}", "bind", "/etc/hostname", "bind", "ro")
        mounts = inside.mounts(ran(minirunc.run(made)))
        for name in ("directory", "directory/missing/too/further", "missing", "missing/further", "file", "no-file"):
            assert f"{host}/{name}" in mounts
    assert (made.rootfs / str(host)[1:] / "no-file").is_file()


@attack("CVE-2024-45310 (static)", "links in the image", "directories and files are made below a parent's fd")
def test_what_is_missing_is_made_below_the_root(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """Mount targets, the working directory and the directories of devices, all behind links that lead nowhere."""
    made = bundle("pwd")
    with untouched(tmp_path) as host:
        for way, text in links_to(host).items():
            (made.rootfs / way).symlink_to(text.removesuffix("/."))
            (made.rootfs / f"{way}-dangling").symlink_to(f"{text}/new/{way}")
            made.mount(f"/{way}/empty/tmpfs", "tmpfs", "tmpfs")
            made.mount(f"/{way}-dangling/a/b/file", "bind", "/etc/hostname", "bind")
            made.mount(f"/{way}-dangling/a/c", "bind", "/usr", "bind", "ro")
            made.linux.setdefault("devices", []).append({"type": "p", "path": f"/{way}-dangling/d/fifo"})
        made.process["cwd"] = "/climbing-dangling/cwd/of/it"
        assert ran(minirunc.run(made)) == f"{host}/new/climbing/cwd/of/it\n"
    below = made.rootfs / str(host)[1:] / "new"
    assert sorted(os.listdir(below)) == sorted(links_to(host))
    for way in links_to(host):
        assert {"a", "d"} <= set(os.listdir(below / way))


@attack("CVE-2026-41579, CVE-2026-47766", "links in the image", "nodes are made in our own tmpfs, or behind no link")
def test_dev_that_is_a_link(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """No device, link or terminal is made where it leads: what is mounted there is below the root, else it ends."""
    with untouched(tmp_path) as host:
        for mounted, user_namespace in ((False, False), (False, True), (True, False), (True, True)):
            made = without(bundle("ls /dev/ /dev/pts/ >/dev/null && readlink -f /dev"), "/none" if mounted else "/dev")
            if user_namespace:
                give_user_namespace(made)
            (made.rootfs / "dev").rmdir()
            for text in (*texts(host / "directory"), f"../..{host}/missing/below"):
                (made.rootfs / "dev").symlink_to(text)
                if mounted:
                    assert ran(minirunc.run(made)).startswith(f"{host}/")
                else:
                    refused(minirunc.run(made), "/dev in the container is a symbolic link")
                (made.rootfs / "dev").unlink()


@attack("CVE-2026-41579 (/dev/pts, shm, mqueue)", "links in the image", IN_ROOT)
def test_links_in_the_images_dev(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Where /dev is the image's own: what is mounted there lands below the root; nodes are made behind no link."""
    with untouched(tmp_path) as host:
        for text in texts(host / "directory"):
            made = without(bundle("cat /proc/self/mountinfo"), "/dev")
            for name, kind in (("pts", "devpts"), ("shm", "tmpfs"), ("mqueue", "mqueue")):
                (made.rootfs / "dev" / name).symlink_to(f"{text}/{name}")
                made.mount(f"/dev/{name}", kind, kind)
            for name in ("ptmx", "fd", "core"):
                (made.rootfs / "dev" / name).symlink_to(str(host / "file"))
            mounts = inside.mounts(ran(minirunc.run(made)))
            assert {f"{host}/directory/{name}" for name in ("pts", "shm", "mqueue")} <= set(mounts)
        for name in some(["file", "zero", "missing"], 1):
            made = without(bundle(), "/dev")
            (made.rootfs / "dev/null").symlink_to(host / name)
            refused(minirunc.run(made), "/dev/null in the container is not the device c 1:3")


@attack("CVE-2025-24965", "links in the image", "minirunc writes no file of its own into an image")
def test_nothing_is_written_into_the_image(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Links under the names that runtimes and engines write lead nowhere; the image is after as it was before."""
    made = bundle("true")
    names = (
        *(".krun_config.json", "krun_vm.json", ".dockerenv", "run/.containerenv", "run/secrets", "etc/mtab"),
        *("etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console", "exec.fifo", "config.json", "state.json"),
    )
    with untouched(tmp_path) as host:
        (made.rootfs / "run").mkdir(exist_ok=True)
        for name in names:
            (made.rootfs / name).unlink(missing_ok=True)
            (made.rootfs / name).symlink_to(host / "file")
        for place in [mount["destination"] for mount in made.config["mounts"]]:
            if place.count("/") == 1:
                (made.rootfs / place[1:]).mkdir(exist_ok=True)
        made.config["annotations"] = {"module.wasm.image/variant": "compat", "krun.cpus": "1"}
        before = sorted((path, path.lstat().st_mtime_ns) for path in made.rootfs.rglob("*"))
        ran(minirunc.run(made))
        id = minirunc.create(made)
        minirunc.ok("start", id)
        minirunc.wait_for_status(id, "stopped")
        minirunc.ok("delete", id)
        assert sorted((path, path.lstat().st_mtime_ns) for path in made.rootfs.rglob("*")) == before


@attack("the image is a link", "links in the image", "root.path must be the directory itself")
def test_root_that_is_a_link(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """root.path may not lead to the host's files by a link, last or on the way; the bundle's own path may."""
    made = bundle()
    (tmp_path / "bundle-link").symlink_to(made.path)
    with untouched(tmp_path) as host:
        for name in (".", "missing"):
            (made.path / "link").symlink_to(links_to(host / name)["climbing"])
            for path in some(["link/", f"{made.path}/link", "link/../link", "link/directory"], 2):
                made.config["root"]["path"] = path
                refused(minirunc.run(made), "invalid rootfs")
            (made.path / "link").unlink()
    (made.rootfs / "mark").write_text("here\n")
    made.args("cat /mark")
    for path in some(["./rootfs/../rootfs/", str(made.rootfs), "rootfs", "rootfs/"], 2):
        made.config["root"]["path"] = path
        made.write()
        assert minirunc("run", "--bundle", tmp_path / "bundle-link", minirunc.id()) == (0, "here\n", "")


@attack("HOME looked up in what is no file", "links in the image", "/etc/passwd is opened if it is a plain file")
def test_passwd_that_is_no_file(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A fifo, a device, a socket, a directory or the kernel's log is not even opened, in a birth or an exec."""
    made = bundle("echo $HOME; exec sleep 1000")
    passwd = made.rootfs / "etc/passwd"
    passwd.unlink(missing_ok=True)
    ordinary = made.rootfs / "ordinary"
    with socket.socket(socket.AF_UNIX) as listener, untouched(tmp_path):
        os.mkfifo(made.rootfs / "fifo")
        os.mknod(made.rootfs / "zero", 0o020666, os.makedev(1, 5))
        os.mknod(made.rootfs / "terminal", 0o020666, os.makedev(5, 2))
        (made.rootfs / "directory").mkdir()
        here = os.getcwd()
        os.chdir(made.rootfs)  # an address is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        listener.listen()
        ordinary.write_text("nobody:x:1:1::/nobody:/bin/sh\n" * 1000 + "root:x:0:0::/home/of/root:/bin/sh\n")
        names = ("fifo", "zero", "terminal", "directory", "socket", "ordinary")
        home = {"ordinary": "/home/of/root"}
        for name in some(["fifo", "ordinary", "proc/kmsg", *names, "proc/1/fd/0", "missing"]):
            passwd.symlink_to(f"/{name}")
            unread = ctypes.CDLL(None).klogctl(UNREAD, None, 0)
            with opened(*(made.rootfs / name for name in names)) as found:
                id = minirunc.start(made)
                shown = minirunc.ok("exec", id, "sh", "-c", "echo $HOME")
                minirunc.ok("delete", "--force", id)
            assert shown == f"{home.get(name, '/')}\n"
            assert set(found) <= {"ordinary"}
            assert ctypes.CDLL(None).klogctl(UNREAD, None, 0) >= unread
            passwd.unlink()
        assert opened_at_all(ordinary)


def opened_at_all(path: Path) -> bool:
    """Whether the watch tells."""
    with opened(path) as found:
        path.read_text()
    return bool(found)


@attack("HOME looked up in a link to the host", "links in the image", IN_ROOT)
def test_passwd_that_leads_to_the_host(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Read is what the link names inside; a gigabyte is not read to its end."""
    made = bundle("echo $HOME")
    passwd = made.rootfs / "etc/passwd"
    passwd.unlink(missing_ok=True)
    with untouched(tmp_path) as host:
        (host / "passwd").write_text("root:x:0:0::/hosts:/bin/sh\n")
        for text in texts(host / "passwd"):
            passwd.symlink_to(text.removesuffix("/."))
            with opened(host / "passwd") as found:
                assert ran(minirunc.run(made)) == "/\n"
            assert found == []
            passwd.unlink()
        (host / "passwd").unlink()
    with passwd.open("wb") as file:
        file.truncate(1 << 30)
    assert ran(minirunc.run(made)) == "/\n"


@attack("the working directory is a link out", "links in the image", "chdir(2) after pivot_root(2), getcwd(2) asked")
def test_working_directory_that_leads_out(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """process.cwd ends below the root, by links, by `..`, made where missing; in exec, too."""
    made = bundle("exec sleep 1000")
    with untouched(tmp_path) as host:
        ways = links_to(host / "directory")
        for way, text in ways.items():
            (made.rootfs / way).symlink_to(text)
        made.process["cwd"] = "/climbing"
        id = minirunc.start(made)
        for path in (*(f"/{way}" for way in ways), f"/../../..{host}/directory", f"/proc/1/root{host}/directory"):
            assert minirunc.ok("exec", "--cwd", path, id, "pwd") == f"{host}/directory\n"
        assert minirunc.ok("exec", "--cwd", "/..", id, "pwd") == "/\n"
        assert minirunc("exec", "--cwd", str(host / "empty"), id, "pwd").status == 255
        for number in some(range(3, 20)):  # CVE-2024-21626
            assert minirunc("exec", "--cwd", f"/proc/self/fd/{number}", id, "ls").out in ("", listing(made))


def listing(made: Bundle) -> str:
    """What ls prints of the image's top."""
    return "".join(f"{name}\n" for name in sorted(os.listdir(made.rootfs)))


@attack("destinations out of the root by their text", "names and paths", "cleaned first, then opened in the root")
def test_destinations_of_all_shapes(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`..`, slashes, dots, thousands of them: in the root, or one error."""
    with untouched(tmp_path) as host:
        made = bundle("cat /proc/self/mountinfo")
        for start in ("", "/", "..", "/..", "../" * 40, "/" * 3000, "/./" * 1000, "/../" * 500, "/x/../../"):
            made.mount(f"{start}/{host}/empty/.", "tmpfs", "tmpfs")
        made.mount("/a/" + "b/../" * 500 + "/.//", "tmpfs", "tmpfs")
        made.mount("/long" + "/d" * 300, "tmpfs", "tmpfs")
        result = minirunc.run(made)
        assert result.status == 0, result.err
        mounts = inside.mounts(result.out)
        assert {f"{host}/empty", "/a"} <= set(mounts)
        for path in some(["/../..", "", "/", "/.", "/..", "//", "/x/..", "/x/y/../../../"], 2):
            made = bundle()
            made.mount(path, "tmpfs", "tmpfs")
            refused(minirunc.run(made), "is on the top of rootfs", "must not be empty")
        for path in some(["/d" * 2050, "/" + "n" * 256, "/etc/passwd/x"], 1):
            made = bundle()
            made.mount(path, "tmpfs", "tmpfs")
            refused(minirunc.run(made), "too long", "not a directory")


@attack("a mount in a mount just made", "links in the image", IN_ROOT)
def test_mounts_below_mounts_with_links(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A volume full of links out, mounted upon: each further one stays below the root, a read-only volume as it is."""
    made = bundle("cat /proc/self/mountinfo")
    volume = made.path / "volume"
    volume.mkdir()
    with untouched(tmp_path) as host:
        for way, text in links_to(host / "directory").items():
            (volume / way).symlink_to(text)
            (volume / f"{way}-file").symlink_to(f"{text.removesuffix('/.')}/inside")
        made.mount("/v", "bind", "volume", "bind", "ro")
        made.mount("/v/absolute", "tmpfs", "tmpfs")
        made.mount("/v/climbing/deep", "bind", "volume", "bind")
        made.mount("/v/both/deep/dots/far", "tmpfs", "tmpfs")
        made.mount("/v/dots-file", "bind", "/etc/hostname", "bind")
        mounts = inside.mounts(ran(minirunc.run(made)))
        names = ("", "/deep", "/far", "/inside")
        assert {"/v", *(f"{host}/directory{name}" for name in names)} <= set(mounts)
        made = bundle()
        made.mount("/v", "bind", str(host / "directory"), "bind", "ro")
        made.mount("/v/new", "tmpfs", "tmpfs")
        refused(minirunc.run(made), "read-only file system")


@attack("a relative source", "names and paths", "relative to the bundle, never to where minirunc is called")
def test_relative_sources(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].source of a bind mount, relative: in the bundle or an error; never a file of the caller's directory."""
    made = bundle("cat /v/inside")
    with untouched(tmp_path) as host:
        (made.path / "directory").mkdir()
        (made.path / "directory/inside").write_text("bundle\n")
        made.mount("/v", "bind", "directory", "bind")
        assert ran(minirunc.run(made, cwd=host)) == "bundle\n"
        made.config["mounts"][-1]["source"] = "empty"
        refused(minirunc.run(made, cwd=host), "no such file or directory")


@attack("tmpcopyup of an image's traps", "links in the image", "copied by fd: no link followed, no device opened")
def test_copy_up_of_traps(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Links, devices, fifos, set-id files and hard links are copied as what they are, however deep it goes."""
    made = bundle(
        "cd /c; stat -c '%n %F %a %h' fifo zero setuid one two; readlink absolute; cat inside/x; ls directory"
    )
    top = made.rootfs / "c"
    with untouched(tmp_path) as host:
        (top / "directory").mkdir(parents=True)
        for way, text in links_to(host / "directory").items():
            (top / way).symlink_to(text)
        (top / "inside").symlink_to("directory")
        os.mkfifo(top / "fifo")
        os.mknod(top / "zero", 0o020600, os.makedev(1, 5))
        (top / "setuid").write_text("x")
        (top / "setuid").chmod(0o4755)
        (top / "one").write_text("x")
        (top / "two").hardlink_to(top / "one")
        (top / "directory/x").write_text("inside\n")
        made.mount("/c", "tmpfs", "tmpfs", "tmpcopyup")
        with opened(top / "fifo", top / "zero", host / "directory", host / "file") as found:
            out = ran(minirunc.run(made))
        assert found == []
        assert out.splitlines() == [
            *("fifo fifo 644 1", "zero character special file 600 1", "setuid regular file 4755 1"),
            *("one regular file 644 2", "two regular file 644 2", str(host / "directory"), "inside", "x"),
        ]
        here = os.getcwd()
        os.chdir(top)
        try:
            for _ in range(800):
                os.mkdir("d")
                os.chdir("d")
        finally:
            os.chdir(here)
        assert ran(minirunc.run(made)) == out
        subprocess.run(["rm", "-r", top], check=True)


@attack("a name in the image that is no text", "names and paths", "names are bytes to us, quoted in errors")
def test_link_texts_that_are_no_text(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Links with newlines and bytes that are no UTF-8, dangling: followed in the root, or one line of error."""
    made = bundle("true")
    with untouched(tmp_path) as host:
        os.symlink(b"/new\nline\xff/" + b"x" * 200, bytes(made.rootfs / "odd"))
        made.mount("/odd/below", "tmpfs", "tmpfs")
        made.mount("/loop/below", "tmpfs", "tmpfs")
        (made.rootfs / "loop").symlink_to("loop")
        refused(minirunc.run(made), "symbolic links")
        del made.config["mounts"][-1]
        ran(minirunc.run(made))
        assert host.is_dir()
    assert os.path.isdir(bytes(made.rootfs) + b"/new\nline\xff/" + b"x" * 200 + b"/below")


@attack("a volume brought to /dev by a link", "links in the image", "where nodes are made, nothing else is mounted")
def test_volume_that_a_link_brings_to_dev(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The host's files below a bind mount are not where devices are made, whatever path the image made of it."""
    with untouched(tmp_path) as host:
        for mounted in (True, False):
            made = without(bundle("ls /dev/"), "/none" if mounted else "/dev")
            (made.rootfs / "volume").symlink_to("dev")
            made.mount("/volume", "bind", str(host / "directory"), "bind")
            if mounted:
                assert ran(minirunc.run(made)) == "inside\n"
            else:
                refused(minirunc.run(made), "/dev in the container is a mount that mounts[] does not name")


@attack("a link made in the image (copy-symlink)", "links in the image", "made below a parent's fd, followed by nobody")
def test_copied_links_stay_in_the_root(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].options copy-symlink: its parents are links out, and it is one itself, mounted upon right after."""
    made = bundle("cat /proc/self/mountinfo")
    with untouched(tmp_path) as host:
        out = made.path / "out"
        out.symlink_to(host / "directory")
        for way, text in links_to(host / "directory").items():
            (made.rootfs / way).symlink_to(text)
            made.mount(f"/{way}/copied-{way}", "bind", "out", "bind", "copy-symlink")
            made.mount(f"/{way}/copied-{way}/by-{way}", "tmpfs", "tmpfs")
        mounts = inside.mounts(ran(minirunc.run(made)))
        for way in links_to(host):
            assert f"{host}/directory/by-{way}" in mounts
            assert os.readlink(made.rootfs / f"{host}/directory/copied-{way}"[1:]) == str(host / "directory")


@attack("a target that is not followed (dest-nofollow)", "links in the image", IN_ROOT)
def test_targets_that_are_not_followed(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].options dest-nofollow, src-nofollow: links above the last part are followed in the root, that one is
    mounted on; no link of /proc is covered."""
    made = bundle("cat /proc/self/mountinfo")
    with untouched(tmp_path) as host:
        (made.path / "out").symlink_to(host / "file")
        for way, text in links_to(host / "file").items():
            (made.rootfs / way).symlink_to(text.removesuffix("/."))
            (made.rootfs / f"{way}-up").symlink_to(os.path.dirname(text.removesuffix("/.")))
            made.mount(f"/{way}", "bind", "/etc/hostname", "bind", "dest-nofollow")
            made.mount(f"/{way}-up/new-{way}", "bind", "out", "bind", "src-nofollow", "dest-nofollow")
        mounts = inside.mounts(ran(minirunc.run(made)))
        for way in links_to(host):
            assert {f"/{way}", f"{host}/new-{way}"} <= set(mounts)
        for destination in ("/proc/self", "/proc/1/exe", "/proc/self/root", "/proc/mounts"):
            for source, words in (("/etc/hostname", ["dest-nofollow"]), ("out", ["dest-nofollow", "src-nofollow"])):
                made = bundle()
                (made.path / "out").symlink_to(host / "file")
                made.mount(destination, "bind", source, "bind", *words)
                refused(minirunc.run(made), "it is inside /proc", "no such file or directory", "too many levels")
