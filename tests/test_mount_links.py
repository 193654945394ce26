"""mounts[].options copy-symlink, src-nofollow, dest-nofollow: crun's words for sources and targets that are links."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import inside
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped

pytestmark = pytest.mark.observes("mounts[].options[]")


def linked(made: Bundle) -> Bundle:
    """With `link` and `file` in the bundle, and in the image a file and links to it and to nothing."""
    (made.path / "file").write_text("of the host\n")
    (made.path / "link").symlink_to("file")
    (made.rootfs / "file").write_text("of the image\n")
    (made.rootfs / "to-file").symlink_to("file")
    (made.rootfs / "dangling").symlink_to("/no/such/file")
    return made


def test_link_is_made_with_its_parents(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """copy-symlink: the link is made again at the destination, whatever other options say, and nothing is mounted."""
    made = linked(bundle("readlink /a/b/link; readlink /here; cat /here; grep -c ' /here ' /proc/self/mountinfo"))
    for destination in ("/a/b/link", "/here", "/here"):  # the same once more is no error
        made.mount(destination, "bind", "link", "rbind", "ro", "copy-symlink")
    result = minirunc.run(made)
    assert (result.out, result.err) == ("file\nfile\nof the image\n0\n", "")
    assert os.readlink(made.rootfs / "a/b/link") == "file"


def test_link_that_is_there_already(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """copy-symlink: a link with the same text may stand there; anything else is refused and stays."""
    made = linked(bundle("readlink /to-file"))
    made.mount("/to-file", "bind", "link", "bind", "copy-symlink")
    assert minirunc.run(made) == (0, "file\n", "")
    for name in ("dangling", "etc", "file"):  # `file` has the very name that the link has as its text
        made.config["mounts"][-1]["destination"] = f"/{name}"
        result = minirunc.run(made)
        assert (result.status, result.out) == (1, "")
        assert f'\\"/{name}\\" already exists and is not the link \\"file\\"' in result.err
    assert os.readlink(made.rootfs / "dangling") == "/no/such/file"


def test_source_that_is_no_link_is_bound(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """copy-symlink: files, directories, and a link with a slash behind it are bound as without the word."""
    made = linked(bundle("cat /x/file /y /z/inner; grep -c ' /[xyz] ' /proc/self/mountinfo"))
    (made.path / "directory").mkdir()
    (made.path / "directory/file").write_text("in directory\n")
    (made.path / "directory/inner").write_text("inner\n")
    (made.path / "to-directory").symlink_to("directory")
    for destination, source in (("/x", "directory"), ("/y", "file"), ("/z", "to-directory/")):
        made.mount(destination, "bind", source, "bind", "copy-symlink")
    assert minirunc.run(made) == (0, "in directory\nof the host\ninner\n3\n", "")


@pytest.mark.parametrize("word", ["copy-symlink", "src-nofollow"])
def test_link_that_only_we_may_reach(
    tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle], word: str
) -> None:
    """In a user namespace, in a directory its root may not enter: read and bound by us, from outside."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "link").symlink_to("elsewhere")
    (closed / "file").write_text("file\n")
    made = mapped(bundle("readlink /x; cat /y"))
    made.mount("/x", "bind", str(closed / "link"), "bind", word)
    made.mount("/y", "bind", str(closed / "file"), "bind", word)
    assert minirunc.run(made) == (0, "elsewhere\nfile\n", "")


def test_missing_source_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """With each of the words."""
    for word in ("copy-symlink", "src-nofollow", "dest-nofollow"):
        made = bundle()
        made.mount("/x", "bind", "/no/such/source", "bind", word)
        result = minirunc.run(made)
        assert result.status == 1
        assert 'open_tree(AT_FDCWD, \\"/no/such/source\\"' in result.err
        assert "no such file or directory" in result.err


def test_link_itself_is_bound(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """src-nofollow: the mount is of the link; what it says is found in the container. Its target is not followed
    either, as what is bound there could not be found again."""
    made = linked(bundle("readlink /x; readlink /to-file; cat /x /to-file /file; cat /proc/self/mountinfo"))
    made.mount("/x", "bind", "link", "bind", "src-nofollow", "ro")
    made.mount("/to-file", "bind", "link", "bind", "src-nofollow")
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:5] == ["file", "file", *["of the image"] * 3]
    mounts = inside.mounts("\n".join(lines[5:]))
    assert "ro" in mounts["/x"].options
    assert (made.rootfs / "x").read_text() == ""


def test_link_onto_a_directory_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """src-nofollow: a link is no directory."""
    made = linked(bundle())
    made.mount("/etc", "bind", "link", "bind", "src-nofollow")
    assert "not a directory" in minirunc.run(made).err


def test_target_is_not_followed(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """dest-nofollow: the mount stands on the link itself; what it leads to is as it was, what is missing is made."""
    made = linked(bundle("cat /to-file /file /dangling /new /sub/new; cat /proc/self/mountinfo"))
    for destination in ("/to-file", "/dangling", "/new", "/sub/new"):
        made.mount(destination, "bind", "file", "bind", "dest-nofollow")
    made.mount("/var", "tmpfs", "tmpfs", "dest-nofollow")
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:5] == ["of the host", "of the image", *["of the host"] * 3]
    assert {"/to-file", "/dangling", "/new", "/var"} <= set(inside.mounts("\n".join(lines[5:])))
    assert not (made.rootfs / "no").exists()


def test_file_system_onto_a_link_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """dest-nofollow: what has a directory at its top does not go onto a link."""
    made = linked(bundle())
    (made.rootfs / "to-etc").symlink_to("etc")
    for kind, source, *options in (("tmpfs", "tmpfs"), ("bind", "/usr", "bind")):
        made.mount("/to-etc", kind, source, "dest-nofollow", *options)
        assert "not a directory" in minirunc.run(made).err
        del made.config["mounts"][-1]


def test_link_is_bound_onto_a_link(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """src-nofollow and dest-nofollow together."""
    made = linked(bundle("readlink /dangling; cat /dangling"))
    made.mount("/dangling", "bind", "link", "bind", "src-nofollow", "dest-nofollow")
    assert minirunc.run(made) == (0, "file\nof the image\n", "")
