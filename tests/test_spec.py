"""commands/spec.py: the config.json to begin with."""

import json
import os
import shutil
import subprocess

import pytest

from minirunc.base.version import SPEC
from tests.command_line import TOP, run
from tests.ground import oci_schema


def members(value, path="", found=None):
    """The paths of all members and items in their order, with scalar values."""
    found = [] if found is None else found
    if isinstance(value, dict):
        for name, item in value.items():
            members(item, f"{path}.{name}", found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            members(item, f"{path}[{index}]", found)
    else:
        found.append((path, value))
    return found


def test_the_file_is_indented_by_tabs_and_ends_without_a_line_feed(tmp_path):
    """runc's layout."""
    assert run(tmp_path, "spec").returncode == 0
    text = (tmp_path / "config.json").read_text()
    assert text == json.dumps(json.loads(text), indent="\t")
    assert json.loads(text)["ociVersion"] == SPEC


def test_the_process_has_few_capabilities_and_none_inheritable(tmp_path):
    """CVE-2022-29162: neither inheritable nor ambient ones by default; no_new_privs is on."""
    run(tmp_path, "spec")
    process = json.loads((tmp_path / "config.json").read_text())["process"]
    assert list(process["capabilities"]) == ["bounding", "effective", "permitted"]
    assert process["capabilities"]["bounding"] == ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    assert process["noNewPrivileges"] is True
    assert (process["args"], process["terminal"], process["cwd"]) == (["sh"], True, "/")


@pytest.mark.skipif(not shutil.which("runc"), reason="Debian's runc is not installed")
@pytest.mark.parametrize("options", [[], ["--rootless"]])
def test_members_are_those_of_runc_in_its_order(tmp_path, options):
    """A drop-in: scripts that edit runc's starter edit ours.

    Debian's runc is older: it names an older spec and sets ambient capabilities. It adds a cgroup namespace only
    where /sys/fs/cgroup is cgroup v2, which is all that minirunc knows.
    """
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    subprocess.run(["runc", "spec", *options], cwd=theirs, check=True)
    assert run(ours, "spec", *options).returncode == 0
    expected = json.loads((theirs / "config.json").read_text())
    found = json.loads((ours / "config.json").read_text())
    expected["ociVersion"] = found["ociVersion"]
    expected["hostname"] = "minirunc"
    expected["process"]["capabilities"].pop("ambient", None)
    kinds = expected["linux"]["namespaces"]
    if {"type": "cgroup"} not in kinds:
        kinds.insert(kinds.index({"type": "mount"}) + 1, {"type": "cgroup"})
    assert members(found) == members(expected)


@pytest.mark.parametrize("options", [[], ["--rootless"]])
def test_the_file_is_valid(tmp_path, options):
    """By the JSON schema of config.md."""
    assert run(tmp_path, "spec", *options).returncode == 0
    assert oci_schema.faults(oci_schema.TOP, json.loads((tmp_path / "config.json").read_text())) == []


def test_rootless_maps_the_caller_to_root(tmp_path):
    """No network namespace, no resources, no gid but one's own, /sys bound, ids mapped."""
    assert run(tmp_path, "spec", "--rootless").returncode == 0
    spec = json.loads((tmp_path / "config.json").read_text())
    assert spec["linux"]["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert spec["linux"]["gidMappings"] == [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    kinds = [namespace["type"] for namespace in spec["linux"]["namespaces"]]
    assert kinds == ["pid", "ipc", "uts", "mount", "cgroup", "user"]
    assert "resources" not in spec["linux"]
    mounts = {mount["destination"]: mount for mount in spec["mounts"]}
    assert mounts["/sys"]["type"] == "none"
    assert "rbind" in mounts["/sys"]["options"]
    assert not [word for mount in mounts.values() for word in mount.get("options", []) if "gid=" in word]


def test_bundle_says_where(tmp_path):
    """--bundle DIR; the mode is 0666 without the umask."""
    (tmp_path / "b").mkdir()
    assert run(tmp_path, "spec", "--bundle", "b").returncode == 0
    assert (tmp_path / "b" / "config.json").stat().st_mode & 0o111 == 0
    assert not (tmp_path / "config.json").exists()


def test_an_existing_file_is_left_alone(tmp_path):
    """runc's message."""
    (tmp_path / "config.json").write_text("mine")
    done = run(tmp_path, "spec")
    assert done.returncode == 1
    assert done.stderr.endswith('level=error msg="File config.json exists. Remove it first"\n')
    assert (tmp_path / "config.json").read_text() == "mine"


def test_a_link_is_not_followed(tmp_path):
    """A dangling link named config.json is something that exists."""
    (tmp_path / "config.json").symlink_to("elsewhere")
    assert run(tmp_path, "spec").returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_may_not_be_written_is_told(tmp_path):
    """An ordinary user's error, and no file."""
    (tmp_path / "b").mkdir()
    tmp_path.chmod(0o755)
    command = ["setpriv", "--reuid", "54321", "--clear-groups", str(TOP / ".venv/bin/minirunc"), "spec"]
    done = subprocess.run(command, cwd=tmp_path / "b", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith('level=error msg="config.json: permission denied"\n')
    assert list((tmp_path / "b").iterdir()) == []


def test_half_a_file_is_not_left(tmp_path):
    """On a full disk: the next try would find it in the way."""
    script = f'mount -t tmpfs -o size=4k full {tmp_path}; echo >{tmp_path}/full; "$@"; echo $?; ls {tmp_path}'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    command += [str(TOP / ".venv/bin/minirunc"), "spec", "--bundle", str(tmp_path)]
    filled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert filled.stdout == "1\nfull\n"
    assert "no space left on device" in filled.stderr


@pytest.mark.parametrize(("bundle", "reason"), [("missing", "no such file or directory"), ("file", "not a directory")])
def test_a_bundle_that_is_no_directory_is_named(tmp_path, bundle, reason):
    """One clear line that names the object."""
    (tmp_path / "file").write_text("")
    done = run(tmp_path, "spec", "-b", bundle)
    assert done.returncode == 1
    assert done.stderr.endswith(f'level=error msg="{bundle}/config.json: {reason}"\n')


def test_a_file_of_another_name(tmp_path):
    """--file (crun's): seen from the bundle's directory."""
    (tmp_path / "b").mkdir()
    assert run(tmp_path, "spec", "-b", "b", "-f", "other.json").returncode == 0
    assert run(tmp_path, "spec", "--file", str(tmp_path / "third.json"), "-b", "b").returncode == 0
    assert (tmp_path / "b/other.json").read_text() == (tmp_path / "third.json").read_text()
    assert "File other.json exists. Remove it first" in run(tmp_path, "spec", "-b", "b", "-f", "other.json").stderr
    assert not (tmp_path / "b/config.json").exists()
