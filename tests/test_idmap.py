"""config.json mounts[].uidMappings, gidMappings, idmap, ridmap: whose the files are, inside and on the host."""

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirunc.base.errors import Error, SyscallError
from minirunc.config import IDMapping
from minirunc.config.mounts import Mount, attach, target
from minirunc.kernel.constants import AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH
from minirunc.kernel.hand import Hand
from tests.config_json import loaded, namespaces, refusal
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import joining, mapped

NOBODY = 65534


def mapping(inside: int, outside: int, size: int) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size}]


SHIFTED = mapping(0, 100000, 65536)
ONE = mapping(0, 1, 1)


def add(
    made: Bundle, source: object, *options: str, uids: object = None, gids: object = None, destination: str = "/m"
) -> None:
    """A bind mount with these mappings; none are the container's, if the options say so."""
    made.mount(destination, "bind", str(source), *(options or ("bind",)))
    if uids is not None:
        made.config["mounts"][-1] |= {"uidMappings": uids, "gidMappings": uids if gids is None else gids}


def owned(directory: Path, **owners: tuple[int, int]) -> Path:
    """A directory everybody may use, with files of these owners."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)
    for name, (uid, gid) in owners.items():
        (directory / name).touch()
        os.chown(directory / name, uid, gid)
    return directory


def error_of(minirunc: Runtime, made: Bundle) -> str:
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, "")
    return result.err.replace('\\"', '"').removesuffix('"\n')


def owner(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def test_files_show_the_ids_they_are_mapped_to(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """uidMappings, gidMappings: containerID is the file system's id, hostID the one seen; without another, nobody."""
    source = owned(tmp_path / "source", a=(100, 211), b=(101, 222), c=(5, 5))
    made = bundle("cd /m; stat -c %n=%u:%g a b c")
    add(made, source, uids=mapping(100, 1000, 2), gids=[*mapping(210, 2100, 5), *mapping(220, 3300, 5)])
    assert minirunc.run(made) == (0, f"a=1000:2101\nb=1001:3302\nc={NOBODY}:{NOBODY}\n", "")


def test_in_a_user_namespace_the_host_ids_are_seen_as_its_own(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """hostID is the host's: inside it is what the container's user namespace makes of it, as Kubernetes uses it."""
    source = owned(tmp_path / "source", root=(0, 0), user=(1000, 1000))
    made = mapped(bundle("stat -c %n=%u:%g /m/root /m/user /plain/root"))
    add(made, source, uids=SHIFTED)
    add(made, source, destination="/plain")
    assert minirunc.run(made).out == f"/m/root=0:0\n/m/user=1000:1000\n/plain/root={NOBODY}:{NOBODY}\n"


def test_what_is_made_inside_is_mapped_back(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Files made, given away and made set-user-ID through the mount have the file system's ids on the host."""
    source = owned(tmp_path / "source")
    os.chown(source, 5000, 5000)
    made = mapped(bundle("cd /m; touch root; touch user; chown 1000:1001 user; chmod 4755 user; ln -s x link"))
    made.process["capabilities"]["effective"] += ["CAP_CHOWN", "CAP_FSETID", "CAP_FOWNER"]
    for kind in ("permitted", "bounding"):
        made.process["capabilities"][kind] = made.process["capabilities"]["effective"]
    add(made, source, uids=mapping(5000, 100000, 65536))
    assert minirunc.run(made) == (0, "", "")
    assert {path.name: owner(path) for path in source.iterdir()} == {
        "root": (5000, 5000),
        "user": (6000, 6001),
        "link": (5000, 5000),
    }
    assert (source / "user").stat().st_mode & 0o7777 == 0o4755


def test_who_is_not_mapped_can_make_nothing(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A process whose id the mount does not map: EOVERFLOW, for root as well."""
    source = owned(tmp_path / "source")
    made = bundle("touch /m/x")
    add(made, source, uids=SHIFTED)
    result = minirunc.run(made)
    assert (result.status, result.err) == (1, "touch: /m/x: Value too large for defined data type\n")
    assert list(source.iterdir()) == []


@pytest.mark.parametrize("path", [False, True])
def test_the_word_alone_takes_the_containers_mappings(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], path: bool
) -> None:
    """idmap without lists: the mappings of the container's user namespace, a new one or one joined by its path."""
    source = owned(tmp_path / "source", a=(0, 0), b=(1000, 7))
    made = mapped(bundle("stat -c %u:%g /m/a /m/b; touch /m/new"))
    if path:
        pid = minirunc.pid(minirunc.start(mapped(bundle("exec sleep 1000"))))
        del made.linux["uidMappings"], made.linux["gidMappings"]
        joining(made, pid, "user")
    add(made, source, "bind", "idmap")
    assert minirunc.run(made) == (0, "0:0\n1000:7\n", "")
    assert owner(source / "new") == (0, 0)


@pytest.mark.parametrize("word", ["", "idmap", "ridmap", "idmap,ridmap"])
def test_mounts_below_are_mapped_with_ridmap_alone(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], word: str
) -> None:
    """options ridmap: the whole tree; with idmap, or lists alone, those below the top keep their ids."""
    source = owned(tmp_path / "source", a=(0, 0))
    below = owned(source / "below")
    other = owned(tmp_path / "other", a=(0, 0))
    minirunc.prefix = [
        *("unshare", "-m", "--propagation", "private", "sh", "-c"),
        f'mount --bind {other} {below} && exec "$@"',
        "sh",
    ]
    made = bundle("stat -c %u:%g /m/a /m/below/a")
    add(made, source, "rbind", *filter(None, word.split(",")), uids=mapping(0, 1000, 10), gids=mapping(0, 2000, 10))
    deep = "1000:2000" if word.endswith("ridmap") else "0:0"
    assert minirunc.run(made) == (0, f"1000:2000\n{deep}\n", "")


def test_mapping_goes_with_the_other_options(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """ro, rro, nosuid, a propagation, a file as source: as on any bind mount."""
    source = owned(tmp_path / "source", a=(0, 0))
    made = bundle("""
        stat -c %u:%g /m/a /file
        touch /m/x /file 2>&1
        awk '$5 == "/m" || $5 == "/file" { print $5, $6, $7 }' /proc/self/mountinfo | sed 's/:.*//'
    """)
    add(made, source, "rbind", "rro", "nosuid", "shared", uids=mapping(0, 0, 1), gids=mapping(0, 7, 1))
    add(made, source / "a", "bind", "ro", "noexec", uids=mapping(0, 9, 1), destination="/file")
    lines = minirunc.run(made).out.splitlines()
    assert lines[:4] == [
        "0:7",
        "9:9",
        "touch: /m/x: Read-only file system",
        "touch: /file: Read-only file system",
    ]
    assert [set(line.replace(",", " ").split()) >= wanted for line, wanted in zip(
        lines[4:],
        ({"/m", "ro", "nosuid", "idmapped", "shared"}, {"/file", "ro", "noexec", "idmapped"}),
        strict=True,
    )] == [True, True]  # fmt: skip


def test_source_below_an_earlier_mount(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts: in their order; a source below the rootfs is what was mounted there for this container."""
    source = owned(tmp_path / "source", a=(0, 0))
    made = mapped(bundle("stat -c %u:%g /first/a /second/a"))
    add(made, source, destination="/first")
    add(made, made.rootfs / "first", uids=mapping(0, 100007, 1), destination="/second")
    assert minirunc.run(made) == (0, f"{NOBODY}:{NOBODY}\n7:7\n", "")


def test_source_that_only_we_may_reach(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A source behind a directory that is closed to the container's root, as volumes of Kubernetes are."""
    source = owned(tmp_path / "closed/source", a=(0, 0))
    (tmp_path / "closed").chmod(0o700)
    made = mapped(bundle("stat -c %u:%g /m/a"))
    add(made, source, uids=SHIFTED)
    assert minirunc.run(made) == (0, "0:0\n", "")


def test_new_file_systems_are_mapped_too(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A mount of any kind that the kernel can map, as it can tmpfs from 6.3 on; runc takes bind mounts alone."""
    if tuple(map(int, platform.release().split(".")[:2])) < (6, 3):
        pytest.skip("the kernel maps no tmpfs before 6.3")
    for container, seen in ((bundle, "7:8"), (lambda script: mapped(bundle(script)), f"{NOBODY}:{NOBODY}")):
        made = container("stat -c %u:%g /m /up /up/sh")
        for destination, words in (("/m", ()), ("/up", ("tmpcopyup",))):
            made.mount(destination, "tmpfs", "tmpfs", *words)
            made.config["mounts"][-1] |= {"uidMappings": mapping(0, 7, 1), "gidMappings": mapping(0, 8, 1)}
        (made.rootfs / "up").mkdir()
        (made.rootfs / "up/sh").touch()
        if made.linux.get("uidMappings"):
            for path in (made.rootfs / "up", made.rootfs / "up/sh"):
                os.chown(path, 100000, 100000)
        assert minirunc.run(made) == (0, f"{seen}\n" * 3, "")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("uids=100-1000-2#5-7-1;gids=211-3-1#222-4-1", "1000:3 1001:4 7:65534"),
        ("gids=@211-3-1#222-100004-1;uids=@100-1000-2#5-100007-1", "1000:3 1001:4 7:65534"),
        ("uids=@5-5-97;gids=@0-0-65536", "100:211 101:222 5:5"),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_mapping_in_the_word_as_crun_has_it(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], text: str, seen: str, joined: bool
) -> None:
    """idmap=uids=FROM-TO-SIZE#...;gids=...: TO is the host's id, or after @ the container's."""
    source = owned(tmp_path / "source", a=(100, 211), b=(101, 222), c=(5, 5))
    made = bundle("cd /m; echo $(stat -c %u:%g a b c)")
    if "@" in text:
        made = mapped(made)
    if "@" in text and joined:
        pid = minirunc.pid(minirunc.start(mapped(bundle("exec sleep 1000"))))
        del made.linux["uidMappings"], made.linux["gidMappings"]
        joining(made, pid, "user")
    add(made, source, "bind", f"idmap={text}")
    assert minirunc.run(made) == (0, f"{seen}\n", "")


def test_one_namespace_for_each_mapping(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Twenty mounts of two mappings are two user namespaces; and no more files open than that, outside and inside."""
    source = owned(tmp_path / "source", a=(0, 0))
    minirunc.prefix = ["sh", "-c", 'ulimit -n 24; exec "$@"', "sh"]
    made = bundle("echo $(stat -c %u /m/*/a); ls /proc/self/fd | wc -l")
    made.process["rlimits"] = []
    for index in range(20):
        add(made, source, uids=mapping(0, index % 2 + 1, 1), destination=f"/m/{index:02}")
    result = minirunc.run(made, before=("--debug",))
    assert (result.status, result.out) == (0, "1 2 " * 9 + "1 2\n4\n")
    assert sum("unshare(CLONE_NEWUSER)" in line for line in result.err.splitlines()) == 2


UID, GID = "mounts[1].uidMappings", "mounts[1].gidMappings"
OPTIONS = "mounts[1].options"
BOTH = "id-mapped mounts must have both uid and gid mappings specified"
# the mount's members, and what is said of them; config.json is without a user namespace
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"uidMappings": ONE}, f"{GID}: {BOTH}"),
    ({"gidMappings": ONE}, f"{UID}: {BOTH}"),
    ({"uidMappings": ONE, "gidMappings": []}, f"{GID}: {BOTH}"),
    ({"options": ["bind", "idmap"]}, f"{OPTIONS}: {BOTH}"),
    ({"options": ["rbind", "ridmap"], "gidMappings": ONE}, f"{UID}: {BOTH}"),
    ({"uidMappings": mapping(0, 1, 0), "gidMappings": ONE}, f"{UID}[0].size: must not be 0"),
    (
        {"uidMappings": ONE, "gidMappings": mapping(5, 2**32 - 2, 2)},
        f"{GID}[0]: hostID 4294967294 and size 2 exceed 4294967294",
    ),
    (
        {"uidMappings": [*mapping(0, 10, 5), *mapping(5, 14, 1)], "gidMappings": ONE},
        f"{UID}[1]: overlaps an earlier range",
    ),
    ({"uidMappings": ONE * 341, "gidMappings": ONE}, f"{UID}: has 341 ranges, the kernel takes 340"),
    (
        {"uidMappings": mapping(-1, 0, 1), "gidMappings": ONE},
        f"{UID}[0].containerID: expected an integer from 0 to 4294967295, got -1",
    ),
    (
        {"options": ["bind", "remount", "idmap"], "uidMappings": ONE, "gidMappings": ONE},
        f"{OPTIONS}: the id mapping of a mount that is there cannot be changed: not with remount",
    ),
    ({"options": ["bind", "idmap=uids=0-1-1"]}, f"{OPTIONS}: {BOTH}"),
]
# of the word itself
EXPLICIT = [
    ("uids=0-1;gids=0-1-1", ': "0-1" is not FROM-TO-SIZE'),
    ("uids=0-1-;gids=0-1-1", ': "0-1-" is not FROM-TO-SIZE'),
    ("uids=0-1-1#;gids=0-1-1", ': "" is not FROM-TO-SIZE'),
    ("uids=0-99999999999-1;gids=0-1-1", ': "0-99999999999-1" is not FROM-TO-SIZE'),
    ("uids=0-9999999999-1;gids=0-1-1", ": uids[0]: hostID 9999999999 and size 1 exceed 4294967294"),
    ("uids=0-1-0;gids=0-1-1", ": uids[0].size: must not be 0"),
    ("pids=0-1-1", ': "pids=0-1-1" is not uids=... or gids=..., each once'),
    ("uids=0-1-1;uids=0-1-1", ': "uids=0-1-1" is not uids=... or gids=..., each once'),
    ("uids=0-1-1;", ': "" is not uids=... or gids=..., each once'),
    ("uids=@0-1-1;gids=0-1-1", ": @ is relative to a user namespace, there is none"),
]
REFUSED += [({"options": ["bind", f"idmap={text}"]}, f"{OPTIONS}: idmap={text}{why}") for text, why in EXPLICIT]
REFUSED.append(
    (
        {"options": ["bind", "idmap=uids=0-1-1;gids=0-1-1"], "uidMappings": ONE, "gidMappings": ONE},
        f"{OPTIONS}: idmap=uids=0-1-1;gids=0-1-1: the mount has mappings already",
    )
)


@pytest.mark.parametrize(("members", "message"), REFUSED)
def test_what_is_wrong_is_named_before_anything_is_made(members: dict[str, Any], message: str) -> None:
    """runc's words where it has some, each with its JSON path."""
    said = refusal({"mounts": [{"destination": "/a"}, {"destination": "/b", "options": ["bind"]} | members]})
    assert said == f"config.json: {message}"


def test_what_asks_for_nothing_or_all_is_taken() -> None:
    """Empty lists are none; the word alone needs a user namespace, new or joined; `idmap=` is the word alone."""
    loaded({"mounts": [{"destination": "/b", "options": ["bind"], "uidMappings": [], "gidMappings": None}]})
    for options in (["bind", "idmap"], ["bind", "ridmap="], ["bind", "idmap=uids=@0-1-1;gids=0-1-1"]):
        loaded({
            "mounts": [{"destination": "/b", "options": options}],
            "linux.namespaces": namespaces("mount", "user:/proc/self/ns/user"),
        })  # fmt: skip


def test_ordinary_user_is_refused(bundle: Callable[..., Bundle]) -> None:
    """Only who owns a file system may map it: runc's words."""
    made = bundle()
    add(made, made.path, uids=ONE)
    made.write()
    script = (
        "import os, sys; os.setuid(54321)\n"
        "from minirunc.config import load\n"
        "try: load(sys.stdin.read())\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script], input=made.file.read_text(), capture_output=True, text=True, check=True
    )
    wanted = "id-mapped mounts are not supported for rootless containers"
    assert done.stdout == f"config.json: mounts[7].uidMappings: {wanted}\n"


def test_file_system_that_cannot_be_mapped_is_named(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """EINVAL says nothing: which file system it is, does."""
    for source, kind, options, named in (
        ("/proc/self", "bind", ["bind"], 'the file system of "/proc/self"'),
        ("/sys", "bind", ["rbind", "ridmap"], 'the file system of "/sys", or one mounted below it,'),
        ("mq", "mqueue", [], 'the file system "mqueue"'),
        ("cgroup", "cgroup", [], 'the file system "cgroup"'),
    ):
        made = bundle()
        made.mount("/m", kind, source, *options)
        made.config["mounts"][-1] |= {"uidMappings": ONE, "gidMappings": ONE}
        said = error_of(minirunc, made)
        assert said.endswith(f": invalid argument: {named} cannot be id-mapped on this kernel"), said
        assert f'error mounting "{source}" to rootfs at "/m" (mounts[7]): mount_setattr(' in said


def test_source_that_is_mapped_already_is_refused(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """The kernel maps a mount once; a second time would not be what is asked for."""
    made = bundle()
    add(made, owned(tmp_path / "source"), uids=ONE, destination="/first")
    add(made, made.rootfs / "first", uids=ONE, destination="/second")
    said = error_of(minirunc, made)
    assert "operation not permitted" in said
    assert said.endswith("is not ours to map, or its mount is id-mapped already")


def test_other_refusals_name_the_mount(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A source that is not there, @ ids that the container has not, an option too long for fsconfig(2)."""
    source = owned(tmp_path / "source")
    made = mapped(bundle())
    add(made, source, "bind", "idmap=uids=@0-65530-10;gids=0-1-1")
    assert "(mounts[7]): @0-65530-10 is not in one range of the container's mappings" in error_of(minirunc, made)
    made = bundle()
    add(made, tmp_path / "none", uids=ONE)
    assert "no such file or directory" in error_of(minirunc, made)
    made = bundle()
    made.mount("/m", "tmpfs", "tmpfs", f"mpol=bind:{'0' * 300}")
    made.config["mounts"][-1] |= {"uidMappings": ONE, "gidMappings": ONE}
    assert "an option of more than 255 bytes does not go with an id mapping" in error_of(minirunc, made)


def placed(hand: Hand, directory: Path) -> target.Place:
    with hand.batch() as do:
        do.unshare(0x20000)  # CLONE_NEWNS
        do.mount(None, "/", None, 0x44000)  # MS_PRIVATE | MS_REC
        root = do.openat(AT_FDCWD, str(directory), O_PATH | O_DIRECTORY | O_CLOEXEC)
    return target.Place(hand, int(root), str(directory), str(directory), "", userns=False)


@pytest.mark.usefixtures("nothing_left")
def test_nothing_is_left_in_the_process(tmp_path: Path) -> None:
    """No file, no process, whether it is mounted or the kernel says no to the mapping, the mount or the attaching."""
    good, taken = IDMapping(container_id=0, host_id=7, size=1), IDMapping(container_id=1, host_id=7, size=1)
    (tmp_path / "file").touch()
    cases: list[tuple[str, str, list[IDMapping], type[Error] | None]] = [
        (str(tmp_path), "/m", [good], None),
        (str(tmp_path), "/m", [good, taken], Error),
        ("/proc", "/m", [good], SyscallError),
        (str(tmp_path), "/file", [good], Error),
    ]
    for source, destination, mappings, wrong in cases:
        hand = Hand()
        try:
            place = placed(hand, tmp_path)
            mounts = [
                Mount(destination=to, source=what, options=["bind"], uid_mappings=maps, gid_mappings=maps)
                for to, what, maps in (("/first", str(tmp_path), [good]), (destination, source, mappings))
            ]
            if wrong:
                with pytest.raises(wrong):
                    attach.apply(mounts, place)
            else:
                attach.apply(mounts, place)
        finally:
            hand.kill()
