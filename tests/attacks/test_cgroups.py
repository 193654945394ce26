"""Attacks by the cgroup: what the container is shown of it, the paths it is named by, annotations (CVE-2023-25809)."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import inside
from tests.attacks.attackers import give_user_namespace, ran, refused, some, untouched
from tests.attacks.table import attack
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

TOP = "/sys/fs/cgroup"
WRITES = f"""
    cat /proc/self/mountinfo
    cd {TOP}
    for directory in . .. ./*/ ./*/*/; do
        mkdir "$directory/x" && echo made && rmdir "$directory/x"
        echo $$ >"$directory/cgroup.procs" && echo moved
        echo 1 >"$directory/cgroup.freeze" && echo frozen
        chmod 777 "$directory/cgroup.procs" && echo changed
    done 2>/tmp/errors
    sort /tmp/errors | sed 's/.*: //' | uniq
"""


def shown(lines: list[str]) -> inside.Mount:
    """What is mounted on TOP, by the lines of mountinfo among others."""
    return inside.mounts("\n".join(line for line in lines if " - " in line))[TOP]


def writable(made: Bundle) -> None:
    """Its cgroup mount is not read-only."""
    for mount in made.config["mounts"]:
        if mount["destination"] == TOP:
            mount["options"].remove("ro")


@attack("CVE-2023-25809, as root", "cgroups", "read-only as the mount says, or no more than its own cgroup")
def test_hosts_cgroups_are_not_writable(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Without a cgroup namespace: a read-only mount of the host's hierarchy; with a user namespace its own alone."""
    with untouched(tmp_path):
        made = bundle(WRITES)
        made.without_namespace("cgroup")
        lines = ran(minirunc.run(made)).splitlines()
        found = shown(lines)
        assert (found.fs_type, found.root) == ("cgroup2", "/")
        assert "ro" in found.options
        assert not {"made", "moved", "frozen", "changed"} & set(lines)
        made = bundle(WRITES)
        made.without_namespace("cgroup")
        give_user_namespace(made)
        writable(made)
        id = minirunc.id()
        result = minirunc.run(made, id=id)
        assert (result.status, result.err) == (0, "")
        lines = result.out.splitlines()
        found = shown(lines)
        assert (found.fs_type, found.root.rpartition("/")[2]) == ("cgroup2", id)
        assert not {"made", "moved", "frozen", "changed"} & set(lines)


@attack("out of a cgroup that may be written", "cgroups", "a cgroup namespace, whose root is the container's cgroup")
def test_writable_cgroup_is_only_its_own(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """With a cgroup namespace and a writable mount: it moves among what is below its own, and sees nothing above."""
    made = bundle(f"""
        cat /proc/self/mountinfo
        cd {TOP} && mkdir below && echo $$ >below/cgroup.procs && cat /proc/self/cgroup
        echo $$ >cgroup.procs && rmdir below
        ls -d ../cgroup/.. ../cgroup*; find . -name '{minirunc.token}*'; echo $$ >../cgroup.procs
    """)
    writable(made)
    neighbour = leftovers.cgroup2_mounts()[0] / f"{minirunc.token}-neighbour"
    neighbour.mkdir()
    try:
        with untouched(tmp_path):
            result = minirunc.run(made)
            assert neighbour.is_dir()
    finally:
        neighbour.rmdir()
    lines = result.out.splitlines()
    assert shown(lines).root in ("/", "")
    assert "0::/below" in lines
    assert lines[-2:] == ["../cgroup", "../cgroup/.."]
    assert "can't create ../cgroup.procs" in result.err


@contextmanager
def in_a_cgroup(minirunc: Runtime) -> Iterator[Path]:
    """`minirunc` is called in a cgroup two levels down, DIRECTORY/own."""
    directory = leftovers.cgroup2_mounts()[0] / minirunc.id()
    (directory / "own").mkdir(parents=True)
    script = f'echo $$ >{directory}/own/cgroup.procs; exec "$@"'
    minirunc.prefix = ["sh", "-ec", script, "sh"]
    try:
        yield directory
    finally:
        minirunc.prefix = []
        (directory / "own").rmdir()
        directory.rmdir()


@attack("cgroup paths with `..`", "cgroups", "cleaned by their text: a relative path stays beside the runtime's own")
def test_relative_cgroup_path_does_not_climb(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """linux.cgroupsPath as an engine's user may have it: `..` leads to no cgroup above the one it is relative to."""
    with untouched(tmp_path), in_a_cgroup(minirunc) as directory:
        made = bundle("cat /proc/self/cgroup")
        made.without_namespace("cgroup")
        top = directory.name
        for path in some(["../../../../x", "x", "y/../x/.", "../x", "./..//../x", "y/../../../x"]):
            made.linux["cgroupsPath"] = path
            assert f"0::/{top}/x" in ran(minirunc.run(made)).splitlines(), path
        made.linux["cgroupsPath"] = "system.slice:box:..:x"  # whose form is systemd's, without systemd
        assert f"0::/{top}/system.slice:box:..:x" in ran(minirunc.run(made)).splitlines()
        for path in some(["../..", "..", "y/..", "."], 1):
            made.linux["cgroupsPath"] = path
            refused(minirunc.run(made), "is the cgroup the runtime's own is in")
        for path in some(["/../..", "/", "/..", "//", "/x/.."], 1):
            made.linux["cgroupsPath"] = path
            refused(minirunc.run(made), "is the root of the cgroup hierarchy")
        assert sorted(entry.name for entry in directory.iterdir() if entry.is_dir()) == ["own"]


@attack("exec's cgroup with `..`", "cgroups", "--cgroup may not leave the container's by its text")
def test_exec_does_not_leave_the_cgroup(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`exec --cgroup`: below the container's own, or an error."""
    with untouched(tmp_path):
        id = minirunc.start(bundle("exec sleep 1000"))
        (minirunc.cgroup(id) / "below").mkdir()
        assert "0::/below" in minirunc.ok("exec", "--cgroup", "below/../below", id, "cat", "/proc/self/cgroup")
        for path in some(["below/../../x", "..", "../..", "below/../..", f"../{id}", "/..", "/../../"], 2):
            assert minirunc("exec", "--cgroup", path, id, "true").status == 255, path


ANNOTATIONS = {
    **{
        f"org.systemd.property.{name}": f"'{value}'"
        for name, value in {
            "ExecStopPost": "/bin/touch {host}/new",
            "ExecStart": "x",
            "MemoryMax": "1",
            "X..": "/",
        }.items()
    },
    "run.oci.systemd.subgroup": "../../..",
    "module.wasm.image/variant": "compat",
    "org.criu.config": "{host}/file",
    "../../x": "../../x",
    "bundle": "/",
}


@attack("annotations that name a cgroup", "cgroups", "a delegated cgroup is below the container's, or refused")
def test_delegated_cgroup_is_below(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """run.oci.delegate-cgroup as a pod's author may have it: `..` leads nowhere, nor does a file of the cgroup's."""
    with untouched(tmp_path):
        made = bundle("exec sleep 1000")
        for name in some(["..", "../x", "x/../../..", "/../x", "x/.."], 2):
            made.config["annotations"] = {"run.oci.delegate-cgroup": name}
            refused(minirunc.run(made), "component in delegate-cgroup")
        made.config["annotations"] = {"run.oci.delegate-cgroup": "cgroup.procs/x"}
        refused(minirunc.run(made), "unable to apply cgroup configuration: run.oci.delegate-cgroup cgroup.procs/x")
        made.config["annotations"] = {"run.oci.delegate-cgroup": "/sys/fs/cgroup"}
        id = minirunc.start(made)
        assert minirunc.cgroup(id).parts[-4:] == (id, "sys", "fs", "cgroup")


@attack("CVE-2024-3154, annotations", "cgroups", "few annotations have an effect; engines are told of the unsafe ones")
def test_annotations_of_others_have_no_effect(tmp_path: Path, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What config.json's annotations ask other runtimes for is only shown by `state`."""
    made = bundle("cat /proc/self/cgroup; exec sleep 1000")
    with untouched(tmp_path) as host:
        plain = minirunc.start(made)
        made.config["annotations"] = {name: value.replace("{host}", str(host)) for name, value in ANNOTATIONS.items()}
        made.config["hooks"] = {"poststop": [{"path": "/bin/echo", "args": ["echo", "hooked"]}]}
        id = minirunc.start(made)
        state = minirunc.state(id)
        assert state["annotations"] == made.config["annotations"]
        assert (state["id"], state["bundle"]) == (id, str(made.path))
        assert minirunc.cgroup(id) == minirunc.cgroup(plain).with_name(id)
        assert groups(minirunc.pid(id)) == groups(minirunc.pid(plain))
        minirunc.ok("delete", "--force", id)
    unsafe = json.loads(minirunc.ok("features"))["potentiallyUnsafeConfigAnnotations"]
    assert "org.systemd.property." in unsafe


def groups(pid: int) -> list[str]:
    """The lines of a process's status that another runtime's annotations change."""
    wanted = ("Groups:", "Seccomp:", "NoNewPrivs:", "CapEff:")
    return [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(wanted)]
