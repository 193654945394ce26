"""config.json mounts[].options: every word of the tables, mounted in a container, its effect observed from inside."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from minirunc.config.mounts.options import EXTENSIONS, IDMAP, OF_THE_FILE_SYSTEM, PROPAGATION, RECURSIVE, WORDS
from tests import inside
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

# Two sources, each with another mount below: `strict` has all flags that there are, `plain` none. They are shared.
SOURCES = """
    for name in plain strict; do
        mkdir $0/$name; mount -t tmpfs $name $0/$name; mkdir $0/$name/below; mount -t tmpfs $name $0/$name/below
        for top in $0/$name $0/$name/below; do
            echo text >$top/file; ln -s file $top/link; mknod -m 666 $top/zero c 1 5; mkdir $top/directory
            printf '#!/bin/sh\\necho ran\\n' >$top/script; chmod 755 $top/script
        done
        mount --make-rshared $0/$name
    done
    for top in $0/strict/below $0/strict; do
        mount -o remount,bind,ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow $top
    done
    exec "$@"
"""
READ_ONLY = "touch: $M/x: Read-only file system"
STRICT = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"


class Row(NamedTuple):
    """How a word is tried: the options it stands in, what mountinfo then has and has not, what a script says."""

    options: str
    has: str = ""
    has_not: str = ""
    do: str = ""  # $M is the mount's place
    says: str = ""
    source: str = ""  # of a bind mount, in the sources; else a tmpfs
    before: str = ""  # options of a tmpfs that is mounted there first
    at: str = ""  # another destination
    mapped: bool = False  # with uidMappings and gidMappings


TOUCH, RUN, ZERO, LINK = "touch $M/x", "$M/script", "head -c 1 $M/zero | wc -c", "cat $M/link"
BELOW = {"touch": "touch $M/below/x", "run": "$M/below/script", "zero": "head -c1 $M/below/zero|wc -c"}
NO_RUN, NO_LINK = "sh: $M/script: Permission denied", "cat: can't open '$M/link': Too many levels of symbolic links"
NO_ZERO = "head: $M/zero: Permission denied\n0"
READ = "touch -d @1000000000 $M/file; cat $M/file >/dev/null; stat -c %X $M/file"
OWNERS = "stat -c %u:%g $M/file $M/below/file"


def below(says: str) -> str:
    return says.replace("$M/", "$M/below/")


ROWS = {
    "async": Row("sync,async", "sb:rw", "sb:sync"),
    "atime": Row("noatime,atime", "relatime", "noatime"),
    "bind": Row("bind", "rw,relatime", "ro", "ls $M/below; cat $M/file", "text", source="plain"),
    "defaults": Row("defaults", "rw,relatime,sb:rw", "nosuid,nodev,noexec,nosymfollow", TOUCH),
    "dev": Row("bind,dev", "", "nodev", ZERO, "1", source="strict"),
    "diratime": Row("nodiratime,diratime", "relatime", "nodiratime"),
    "dirsync": Row("dirsync", "sb:dirsync"),
    "exec": Row("bind,exec", "", "noexec", RUN, "ran", source="strict"),
    "iversion": Row("iversion", "rw,relatime", "", TOUCH),  # of NFS servers: nothing inside shows it
    "lazytime": Row("lazytime", "sb:lazytime"),
    "loud": Row("silent,loud", "rw,relatime", "", TOUCH),  # of the kernel's log
    "mand": Row("mand", "sb:mand"),
    "noatime": Row("noatime", "noatime", "relatime", "echo x >$M/file; " + READ, "1000000000"),
    "nodev": Row("bind,nodev", "nodev", "", ZERO, NO_ZERO, source="plain"),
    "nodiratime": Row("nodiratime", "nodiratime"),
    "noexec": Row("bind,noexec", "noexec", "", RUN, NO_RUN, source="plain"),
    "noiversion": Row("iversion,noiversion", "rw,relatime", "", TOUCH),
    "nolazytime": Row("lazytime,nolazytime", "", "sb:lazytime"),
    "nomand": Row("mand,nomand", "", "sb:mand"),
    "norelatime": Row("relatime,norelatime", "relatime"),  # the kernel's default
    "nostrictatime": Row("strictatime,nostrictatime", "relatime"),
    "nosuid": Row("nosuid", "nosuid"),
    "nosymfollow": Row("bind,nosymfollow", "nosymfollow", "", LINK, NO_LINK, source="plain"),
    "rbind": Row("rbind", "below:rw", "", "cat $M/below/file", "text", source="plain"),
    "relatime": Row("strictatime,nostrictatime,relatime", "relatime", "noatime"),
    "remount": Row("bind,remount,ro", "ro", "", TOUCH, READ_ONLY, before="nodev"),
    "ro": Row("rw,ro", "ro", "rw", TOUCH, READ_ONLY),
    "rw": Row("ro,rw", "rw", "ro", TOUCH),
    "silent": Row("silent", "rw,relatime", "", TOUCH),
    "strictatime": Row("strictatime", "rw", "relatime,noatime"),
    "suid": Row("bind,suid", "", "nosuid", source="strict"),
    "symfollow": Row("bind,symfollow", "", "nosymfollow", LINK, "text", source="strict"),
    "sync": Row("sync", "sb:sync"),
    # crun's, of the file system
    "rasync": Row("sync,rasync", "", "sb:sync"),
    "rdirsync": Row("rdirsync", "sb:dirsync"),
    "rmand": Row("rmand", "sb:mand"),
    "rnomand": Row("mand,rnomand", "", "sb:mand"),
    "rsync": Row("rsync", "sb:sync"),
    # propagation
    "private": Row("rbind,private", "below:tag:shared", "tag:shared", source="plain"),
    "rprivate": Row("rbind,rprivate", "", "tag:shared,below:tag:shared", source="plain"),
    "rshared": Row("rbind,rprivate,rshared", "tag:shared,below:tag:shared", source="plain"),
    "rslave": Row("rbind,rslave", "tag:master,below:tag:master", "tag:shared", source="plain"),
    "runbindable": Row("rbind,runbindable", "tag:unbindable,below:tag:unbindable", source="plain"),
    "shared": Row("shared", "tag:shared"),
    "slave": Row("rbind,slave", "tag:master,below:tag:shared", "below:tag:master", source="plain"),
    "unbindable": Row("rbind,unbindable", "tag:unbindable", "below:tag:unbindable", source="plain"),
    # recursive; those that are not named stay as they are
    "ratime": Row("rbind,ratime", "relatime,below:relatime,below:ro", "noatime,below:noatime", source="strict"),
    "rdev": Row("rbind,rdev", "below:nosuid", "nodev,below:nodev", BELOW["zero"], "1", source="strict"),
    "rdiratime": Row("rbind,rdiratime", "below:nosuid", "nodiratime,below:nodiratime", source="strict"),
    "rexec": Row("rbind,rexec", "below:nosuid", "noexec,below:noexec", BELOW["run"], "ran", source="strict"),
    "rnoatime": Row("rbind,rnoatime", "noatime,below:noatime", "below:relatime", source="plain"),
    "rnodev": Row("rbind,rnodev", "nodev,below:nodev", "", BELOW["zero"], below(NO_ZERO), source="plain"),
    "rnodiratime": Row("rbind,rnodiratime", "nodiratime,below:nodiratime", source="plain"),
    "rnoexec": Row("rbind,rnoexec", "noexec,below:noexec", "", BELOW["run"], below(NO_RUN), source="plain"),
    "rnorelatime": Row("rbind,rstrictatime,rrelatime,rnorelatime", "below:relatime", source="strict"),
    "rnostrictatime": Row("rbind,rstrictatime,rnostrictatime", "below:relatime", "below:noatime", source="strict"),
    "rnosuid": Row("rbind,rnosuid", "nosuid,below:nosuid", source="plain"),
    "rnosymfollow": Row(
        "rbind,rnosymfollow", "nosymfollow", "", "cat $M/below/link", below(NO_LINK), source="plain"
    ),
    "rrelatime": Row("rbind,rrelatime", "relatime,below:relatime", "below:noatime", source="strict"),
    "rro": Row("rbind,rro", "ro,below:ro", "", BELOW["touch"], below(READ_ONLY), source="plain"),
    "rrw": Row("rbind,rrw", "rw,below:rw,below:nosuid", "ro,below:ro", BELOW["touch"], source="strict"),
    "rstrictatime": Row("rbind,rstrictatime", "below:ro", "below:relatime,below:noatime", source="strict"),
    "rsuid": Row("rbind,rsuid", "below:nodev", "nosuid,below:nosuid", source="strict"),
    "rsymfollow": Row(
        "rbind,rsymfollow", "below:nodev", "below:nosymfollow", "cat $M/below/link", "text", source="strict"
    ),
    # extensions
    "copy-symlink": Row("bind,copy-symlink", do="readlink $M; ls /m/new", says="file\nlink",
                        source="plain/link", at="/m/new/link"),
    "dest-nofollow": Row("bind,dest-nofollow", "rw", "", "cat $M /m/led-to", "text\nimage",
                         source="plain/file", at="/m/leads"),
    "src-nofollow": Row("bind,src-nofollow", "rw", "", "readlink $M; cat $M", "file\nimage's",
                        source="plain/link", at="/m/with/link"),
    "tmpcopyup": Row("tmpcopyup", "rw", "", "cat $M/old", "old", at="/m/up"),
    "idmap": Row("rbind,idmap", "", "", OWNERS, "1000:2000\n0:0", source="plain", mapped=True),
    "ridmap": Row("rbind,ridmap", "", "", OWNERS, "1000:2000\n1000:2000", source="plain", mapped=True),
}  # fmt: skip


def test_no_word_is_without_a_row() -> None:
    """What `features` lists is tried below, each word in options that hold it."""
    words = {*WORDS, *OF_THE_FILE_SYSTEM, *PROPAGATION, *RECURSIVE, *EXTENSIONS, *IDMAP}
    assert set(ROWS) == words
    assert [word for word, row in ROWS.items() if word not in row.options.split(",")] == []
    shown = [word for word, row in ROWS.items() if not (row.has or row.has_not or row.says)]
    assert shown == []


def place(word: str) -> str:
    return ROWS[word].at or f"/m/{word}"


def mounted(made: Bundle, word: str, sources: Path) -> None:
    """Add the mounts of a row."""
    row = ROWS[word]
    if row.before:
        made.mount(place(word), "tmpfs", "tmpfs", *row.before.split(","))
    kind, source = ("none", str(sources / row.source)) if row.source else ("tmpfs", "tmpfs")
    made.mount(place(word), kind, source, *row.options.split(","))
    if row.mapped:
        maps = {"uidMappings": (0, 1000), "gidMappings": (0, 2000)}
        for name, (there, here) in maps.items():
            made.config["mounts"][-1][name] = [{"containerID": there, "hostID": here, "size": 10}]


def features_of(mounts: dict[str, inside.Mount], point: str) -> set[str]:
    """All that mountinfo says of a mount and of the one below it."""
    found: set[str] = set()
    for prefix, path in (("", point), ("below:", f"{point}/below")):
        if path in mounts:
            mount = mounts[path]
            found |= {prefix + word for word in mount.options}
            found |= {f"{prefix}sb:{word}" for word in mount.superblock}
            found |= {f"{prefix}tag:{word}" for word in mount.tags}
    return found


@pytest.mark.observes(
    "mounts[].options[]", "mounts[].destination", "mounts[].type", "mounts[].source",
    "mounts[].uidMappings[].containerID", "mounts[].uidMappings[].hostID", "mounts[].uidMappings[].size",
    "mounts[].gidMappings[].containerID", "mounts[].gidMappings[].hostID", "mounts[].gidMappings[].size",
)  # fmt: skip
def test_every_word_has_its_effect(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """mounts[].options: each word does what mount(8), config.md or crun says, as the container sees and feels it."""
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-ec", SOURCES, str(tmp_path)]
    made = bundle()
    (made.rootfs / "m/up").mkdir(parents=True)
    (made.rootfs / "m/with").mkdir()
    for name, text in (("led-to", "image\n"), ("up/old", "old\n"), ("with/file", "image's\n"), ("with/link", "")):
        (made.rootfs / "m" / name).write_text(text)
    (made.rootfs / "m/leads").symlink_to("led-to")
    made.linux["rootfsPropagation"] = "shared"  # so that a bind of a shared mount is one of its peers
    for word in ROWS:
        mounted(made, word, tmp_path)
    tried = [f"echo @{word}; M={place(word)}; ({row.do}) 2>&1" for word, row in ROWS.items() if row.do]
    made.args(["sh", "-c", "cat /proc/self/mountinfo; " + "\n".join(tried)])
    result = minirunc.run(made)
    assert result.err == ""
    mountinfo, *said = result.out.split("\n@")
    mounts = inside.mounts(mountinfo)
    answers = dict(answer.partition("\n")[::2] for answer in said)
    wrong = []
    for word, row in ROWS.items():
        found = features_of(mounts, place(word))
        if row.do and answers[word].strip() != row.says.replace("$M", place(word)):
            wrong.append((word, answers[word]))
        has, has_not = (set(filter(None, words.split(","))) for words in (row.has, row.has_not))
        if not has <= found or has_not & found or (not found and word != "copy-symlink"):
            wrong.append((word, str(sorted(found))))
    assert wrong == []


ATIME = {"noatime": "noatime", "relatime": "relatime", "strictatime": ""}
CLEARING = {"atime": "noatime", "norelatime": "relatime", "nostrictatime": "strictatime"}


def atime_after(words: tuple[str, ...]) -> str:
    """What mount(2) makes of them: noatime goes before relatime, strictatime before both, relatime is the default."""
    on: set[str] = set()
    for word in words:
        on = on - {CLEARING[word]} if word in CLEARING else on | {word}
    chosen = next((word for word in ("strictatime", "noatime", "relatime") if word in on), "relatime")
    return ATIME[chosen]


@pytest.mark.observes("mounts[].options[]")
def test_atime_words_in_any_order(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Each pair and triple of the atime words: a clearing word takes back what stands before it, not after it."""
    made = bundle("cat /proc/self/mountinfo")
    tried = [*itertools.permutations([*ATIME, *CLEARING], 2)]
    tried += [(first, *rest) for first in ATIME for rest in itertools.permutations([*CLEARING, *ATIME], 2)]
    for index, words in enumerate(tried):
        made.mount(f"/m/{index}", "tmpfs", "tmpfs", *words)
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    found = inside.mounts(result.out)
    shown = [",".join({"noatime", "relatime"} & found[f"/m/{index}"].options) for index in range(len(tried))]
    assert shown == [atime_after(words) for words in tried]


@pytest.mark.observes("mounts[].options[]")
@pytest.mark.parametrize("word", ["bogus", "acl", "RO", "readonly", "no-such=1", "rnosuchword"])
def test_word_of_no_table_is_the_file_systems(minirunc: Runtime, bundle: Callable[..., Bundle], word: str) -> None:
    """config.md: unknown options SHOULD go to the file system: its refusal names the word."""
    made = bundle()
    made.mount("/x", "tmpfs", "tmpfs", "nodev", word)
    result = minirunc.run(made)
    assert result.status == 1
    assert f"tmpfs: Unknown parameter '{word.partition('=')[0]}'" in result.err
