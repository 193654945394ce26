"""Attacks through id-mapped mounts: what is made inside is nobody's but whom the mapping names, on the host as well."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.attackers import give_python
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Runtime
from tests.test_namespaces import mapped

ALL_RIGHTS = [
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP"),
    *("CAP_MKNOD", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN"),
]
OWNER = 1000  # the one id of the file system that is mapped
TRIES = """
import errno, os
CAPABILITIES = bytes.fromhex("01000002ffffffff00000000ffffffff00000000")
os.chdir("/m")
def tried(what, call, *args):
    try:
        call(*args)
        print("did", what)
    except OSError as error:
        assert error.errno in (errno.EPERM, errno.EACCES, errno.EOVERFLOW), error
        print("denied:", what)
print("root's file is", os.stat("secret").st_uid)
tried("make a file", os.mknod, "new")
tried("make it set-user-ID", os.chmod, "new", 0o6755)
tried("give it to 5", os.chown, "new", 5, 5)
tried("give it to nobody", os.chown, "new", 65534, 65534)
tried("take root's", os.chown, "secret", 0, 0)
tried("open root's", os.chmod, "secret", 0o777)
tried("mark root's", os.setxattr, "secret", "security.capability", CAPABILITIES)
tried("read root's", os.open, "secret", os.O_RDONLY)
tried("write what all may write", os.open, "open", os.O_WRONLY)
tried("make a file in a directory of root's", os.mkdir, "closed/x")
os.setresuid(7, 7, 7)
tried("make a file as another", os.mkdir, "other")
"""
SAID = """\
root's file is 65534
did make a file
did make it set-user-ID
denied: give it to 5
denied: give it to nobody
denied: take root's
denied: open root's
denied: mark root's
denied: read root's
denied: write what all may write
denied: make a file in a directory of root's
denied: make a file as another
"""


@contextmanager
def volume(directory: Path) -> Iterator[Path]:
    """A directory on a file system that the kernel can id-map; in User-Mode Linux an ext4 of its own."""
    found = directory / "volume"
    found.mkdir()
    if not IN_UML:
        yield found
        return
    image = directory / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, found], check=True)
    try:
        yield found
    finally:
        subprocess.run(["umount", found], check=True)


def map_owner(made: Bundle, source: Path, inside: int) -> None:
    """Mount it on /m with the owner's id alone, as `inside` of the host's."""
    made.mount("/m", "bind", str(source), "bind")
    mappings = [{"containerID": OWNER, "hostID": inside, "size": 1}]
    made.config["mounts"][-1] |= {"uidMappings": mappings, "gidMappings": mappings}


def give_rights(made: Bundle) -> None:
    for kind in ("effective", "permitted", "bounding"):
        made.process["capabilities"][kind] = list(ALL_RIGHTS)
    made.process["noNewPrivileges"] = False


@attack("id-mapped mount, ids beyond it", "rights and ids", "what no mapping names has no owner inside")
def test_mapping_gives_no_rights_beyond_itself(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """Root of a user namespace, all its capabilities, a directory of his: files of others in it stay out of reach."""
    with volume(tmp_path) as source:
        os.chown(source, OWNER, OWNER)
        (source / "secret").write_text("secret")
        (source / "secret").chmod(0o600)
        (source / "open").touch()
        (source / "open").chmod(0o666)
        (source / "closed").mkdir(mode=0o700)
        made = bundle()
        give_python(made, TRIES)
        give_rights(mapped(made))
        map_owner(made, source, 100000)
        assert minirunc.run(made) == (0, SAID, "")
        new, secret = (source / "new").stat(), (source / "secret").stat()
        assert (new.st_uid, new.st_gid, new.st_mode & 0o7777) == (OWNER, OWNER, 0o6755)
        assert (secret.st_uid, secret.st_mode & 0o7777) == (0, 0o600)
        assert os.listxattr(source / "secret") == []
        assert {path.name for path in source.iterdir()} - {"lost+found"} == {"closed", "new", "open", "secret"}


@attack("id-mapped mount, set-user-ID root", "rights and ids", "what no mapping names has no owner inside")
def test_set_user_id_of_an_unmapped_owner_is_nothing(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """A set-user-ID program of the host's root: unmapped it gives nothing; a plain mount shows that it could."""
    with volume(tmp_path) as source:
        shutil.copy("/usr/bin/cat", source / "cat")
        (source / "cat").chmod(0o4755)
        made = bundle()
        script = "import os; [os.system(f'{m}/cat /proc/self/status | grep Uid:') for m in ('/plain', '/m')]"
        give_python(made, script)
        made.process["user"] = {"uid": 7, "gid": 7}
        made.process["noNewPrivileges"] = False
        made.process["capabilities"]["bounding"] = list(ALL_RIGHTS)
        made.mount("/plain", "bind", str(source), "bind")
        map_owner(made, source, 0)
        assert minirunc.run(made) == (0, "Uid:\t7\t0\t0\t0\nUid:\t7\t7\t7\t7\n", "")


REMAPS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    result = libc.syscall(*args)
    return result if result >= 0 else -ctypes.get_errno()
def clone(path):
    return call(428, -100, path, 1)
def remap(tree, namespace, flags=0):
    ours = os.open(namespace, os.O_RDONLY)
    attr = (ctypes.c_uint64 * 4)(0x100000, flags, 0, ours)
    done = call(442, tree, b"", 0x1000, ctypes.byref(attr), 32)
    os.close(ours)
    return done
trees = {path: clone(path) for path in (b"/m", b"/plain")}
print("cloned", [tree > 0 for tree in trees.values()])
for path, tree in trees.items():
    print(path.decode(), remap(tree, "/proc/self/ns/user"), remap(tree, "/proc/self/ns/user", 0x100000))
files = [f"/proc/self/fd/{fd}" for fd in range(3, 20)]
print("files of ours:", *(os.readlink(file) for file in files if os.path.exists(file)))
"""


@attack("id-mapped mount mapped anew from inside", "rights and ids", "only the owner of a file system maps it")
def test_root_of_the_user_namespace_cannot_map(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """Root of the container's user namespace with CAP_SYS_ADMIN clones the mounts, and may change no mapping."""
    with volume(tmp_path) as source:
        made = bundle()
        give_python(made, REMAPS)
        made = mapped(made)
        give_rights(made)
        map_owner(made, source, 100000)
        made.mount("/plain", "bind", str(source), "bind")
        result = minirunc.run(made)
        assert (result.status, result.err) == (0, "")
        cloned, *answers, files = result.out.splitlines()
        assert cloned == "cloned [True, True]"
        assert answers == ["/m -1 -22", "/plain -1 -22"]  # EPERM; to clear one is EINVAL for everybody
        assert files == "files of ours: / /"  # the two clones


class Swapper:
    """A link that leads to one directory, then to the other, as quickly as it can be changed."""

    def __init__(self, link: Path, *targets: Path) -> None:
        self.swaps = 0
        self._link, self._targets = link, targets
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        link.symlink_to(targets[0])

    def __enter__(self) -> "Swapper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        new = self._link.with_suffix(".new")
        while not self._end.is_set():
            new.symlink_to(self._targets[self.swaps % 2])
            new.replace(self._link)
            self.swaps += 1


@attack("id-mapped mount, source swapped", "races for a path", "the source is opened once, then used by fd")
def test_source_swapped_in_a_race(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Whichever directory is met, it is that one, whole, that is mapped and mounted: never one of them unmapped."""
    with volume(tmp_path) as source:
        for name in "ab":
            (source / name).mkdir()
            (source / name / name).touch()
            os.chown(source / name / name, OWNER, OWNER)
        made = bundle("cd /m; stat -c %n=%u *; grep -c ' /m .*idmapped' /proc/self/mountinfo")
        map_owner(made, tmp_path / "link", 5)
        with Swapper(tmp_path / "link", source / "a", source / "b") as swapper:
            seen = [minirunc.run(made) for _ in range(5 if IN_UML else 30)]
        assert swapper.swaps > len(seen)
        assert {result.err for result in seen} == {""}
        assert {result.out for result in seen} <= {"a=5\n1\n", "b=5\n1\n"}
