"""config/mounts: option words to flags, attributes and data, and what is refused before anything is mounted."""

from pathlib import Path

import pytest

from minirunc.config.mounts.options import (
    EXTENSIONS,
    IDMAP,
    OF_THE_FILE_SYSTEM,
    PROPAGATION,
    RECURSIVE,
    WORDS,
    parse_options,
)
from minirunc.kernel.constants import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MS_BIND,
    MS_LAZYTIME,
    MS_NOATIME,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    MS_SHARED,
    MS_SILENT,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
)
from tests.config_json import loaded, refusal

FLAGS = [
    ("", 0, 0),
    ("defaults", 0, 0),
    ("ro", MS_RDONLY, 0),
    ("ro,rw", 0, MS_RDONLY),
    ("rw,ro", MS_RDONLY, 0),
    ("nosuid,noexec,nodev,ro", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, 0),
    ("nosuid,suid,noexec", MS_NOEXEC, MS_NOSUID),
    ("noatime,atime", 0, MS_NOATIME),
    ("relatime,norelatime", 0, MS_RELATIME),
    ("strictatime,lazytime", MS_STRICTATIME | MS_LAZYTIME, 0),
    ("sync,async", 0, MS_SYNCHRONOUS),
    ("silent", MS_SILENT, 0),
    ("loud", 0, MS_SILENT),
    ("bind", MS_BIND, 0),
    ("rbind,ro", MS_BIND | MS_REC | MS_RDONLY, 0),
    ("bind,remount", MS_BIND | MS_REMOUNT, 0),
]


@pytest.mark.parametrize(("words", "flags", "cleared"), FLAGS)
def test_words_become_flags_the_later_wins(words: str, flags: int, cleared: int) -> None:
    options = parse_options(words.split(","))
    assert (options.flags, options.cleared, options.data) == (flags, cleared, [])
    assert options.bind == bool(flags & MS_BIND)
    assert options.recursive == bool(flags & MS_REC)
    assert options.remount == bool(flags & MS_REMOUNT)


RECURSIVES = [
    ("rro", MOUNT_ATTR_RDONLY, 0),
    ("rro,rrw", 0, MOUNT_ATTR_RDONLY),
    ("rrw,rro", MOUNT_ATTR_RDONLY, 0),
    ("rnosuid,rnodev,rsuid", MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID),
    ("rnoatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    ("rrelatime", 0, MOUNT_ATTR__ATIME),
    ("rstrictatime,rro", MOUNT_ATTR_STRICTATIME | MOUNT_ATTR_RDONLY, MOUNT_ATTR__ATIME),
    ("rnoatime,rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    ("rnoatime,ratime", 0, MOUNT_ATTR__ATIME),
    ("ratime", 0, MOUNT_ATTR__ATIME),
    ("rnostrictatime", 0, MOUNT_ATTR__ATIME),
    ("rnoatime,rnostrictatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    ("rnoatime,rnorelatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    ("rnorelatime", 0, 0),
]


@pytest.mark.parametrize(("words", "sets", "clears"), RECURSIVES)
def test_recursive_words_become_attributes_the_kernel_takes(words: str, sets: int, clears: int) -> None:
    """mount_setattr(2): an atime attribute is set only with all of MOUNT_ATTR__ATIME cleared, and no other way."""
    options = parse_options(words.split(","))
    assert (options.rec_set, options.rec_clear, options.flags, options.data) == (sets, clears, 0, [])


def test_every_pair_of_recursive_words_keeps_the_kernels_rules() -> None:
    for one in RECURSIVE:
        for two in RECURSIVE:
            options = parse_options([one, two])
            assert options.rec_clear & MOUNT_ATTR__ATIME in (0, MOUNT_ATTR__ATIME)
            assert options.rec_clear & MOUNT_ATTR__ATIME or not options.rec_set & MOUNT_ATTR__ATIME
            assert options.rec_set & MOUNT_ATTR__ATIME in (0, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME)
            assert not options.rec_set & options.rec_clear & ~MOUNT_ATTR__ATIME


def test_propagation_words_are_kept_in_order() -> None:
    options = parse_options(["rslave", "shared", "rprivate"])
    assert options.propagation == [MS_SLAVE | MS_REC, MS_SHARED, MS_PRIVATE | MS_REC]


def test_other_words_are_left_to_the_file_system() -> None:
    options = parse_options(["mode=755", "nosuid", "size=1k", "acl", "RO"])
    assert (options.data, options.flags) == (["mode=755", "size=1k", "acl", "RO"], MS_NOSUID)


def test_extensions_are_flags_of_their_own() -> None:
    options = parse_options(["tmpcopyup", "idmap"])
    assert (options.tmpcopyup, options.idmap, options.data) == (True, "idmap", [])
    assert parse_options(["idmap", "ridmap"]).idmap == "ridmap"


def test_the_words_are_runcs_and_cruns() -> None:
    """`runc features` lists 60; crun has eight more, and runc takes the two of id mappings, too."""
    words = [*WORDS, *PROPAGATION, *RECURSIVE, "tmpcopyup"]
    assert len(words) == len(set(words)) == 60
    more = [*OF_THE_FILE_SYSTEM, *EXTENSIONS, *IDMAP]
    assert len(more) == 5 + 4 + 2
    assert set(words) & set(more) == {"tmpcopyup"}


def test_crun_words_of_the_file_system_are_the_words_without_r() -> None:
    for word in OF_THE_FILE_SYSTEM:
        one, other = parse_options([word]), parse_options([word[1:]])
        assert (one.flags, one.cleared, one.data) == (other.flags, other.cleared, [])


REFUSED = [
    ([{}], "mounts[0].destination: missing"),
    ([{"destination": ""}], "mounts[0].destination: must not be empty"),
    ([{"destination": "/a"}, {"destination": 1}], "mounts[1].destination: expected a string, got an integer (1)"),
    ([{"destination": "/a", "options": "ro"}], 'mounts[0].options: expected a list, got a string ("ro")'),
    (
        [{"destination": "/a", "options": ["bind", "size=1k", "x"]}],
        "mounts[0].options: bind mounts cannot have any filesystem-specific options applied (size=1k,x)",
    ),
    (
        [{"destination": "/a", "type": "ramfs", "options": ["tmpcopyup"]}],
        "mounts[0].options: tmpcopyup is for tmpfs only",
    ),
    (
        [{"destination": "/a", "type": "tmpfs", "options": ["copy-symlink"]}],
        "mounts[0].options: copy-symlink and src-nofollow are of a source that is bound: add bind or rbind",
    ),
    (
        [{"destination": "/a", "options": ["bind", "copy-symlink", "dest-nofollow"]}],
        "mounts[0].options: copy-symlink is mutually exclusive with src-nofollow and dest-nofollow",
    ),
]


@pytest.mark.parametrize(("mounts", "message"), REFUSED)
def test_what_is_wrong_is_named(mounts: list[object], message: str) -> None:
    assert refusal({"mounts": mounts}) == f"config.json: {message}"


def test_more_than_the_kernel_has_room_for_are_refused() -> None:
    """sysctl fs.mount-max, before the first is made."""
    most = int(Path("/proc/sys/fs/mount-max").read_text())
    message = f"has {most} mounts, in a mount namespace may be {most} (sysctl fs.mount-max)"
    assert refusal({"mounts": [{"destination": "/a"}] * most}) == f"config.json: mounts: {message}"


def test_mounts_keep_their_order_and_words() -> None:
    config = loaded({
        "mounts": [
            {"destination": "/b", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "mode=755"]},
            {"destination": "a", "source": "/x", "options": ["rbind", "ro"]},
        ]
    })  # fmt: skip
    first, second = config.mounts
    assert (first.destination, first.type, first.source) == ("/b", "tmpfs", "tmpfs")
    assert first.options == ["tmpcopyup", "mode=755"]
    assert (second.destination, second.type, second.options) == ("a", "", ["rbind", "ro"])
