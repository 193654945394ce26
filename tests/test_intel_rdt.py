"""linux.intelRdt on an emulated resctrl (tests/ground/resctrl.py): no machine with RDT was there to run it on.

The emulation is mounted; minirunc finds it because its one function that looks for resctrl is replaced.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minirunc.kernel import resctrlfs
from tests.config_json import loaded, refusal
from tests.ground import crash, leftovers, resctrl
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import Runtime

KERNELS = {"info", "mon_data", "mon_groups", "schemata", "tasks"}
ALL = "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n"
PATCHED = """
import sys
sys.path.append({top!r})
import posix
from minirunc.kernel import resctrlfs
resctrlfs.find = lambda: posix.open({tree!r}, resctrlfs._DIRECTORY)
"""


@pytest.fixture
def tree(minirunc: Runtime, tmp_path: Path) -> Iterator[Path]:
    """A resctrl that `minirunc` finds; the test fails if it leaves a group there."""
    if not Path("/dev/fuse").exists():
        pytest.skip("the emulated resctrl needs FUSE")
    with resctrl.mounted(tmp_path / "resctrl") as tree:
        minirunc.binary = str(tmp_path / "minirunc")
        text = PATCHED.format(top=str(CHECKOUT), tree=str(tree))
        Path(minirunc.binary).write_text(f"#!{sys.executable} -IS\n{text}from minirunc.__main__ import main\nmain()\n")
        Path(minirunc.binary).chmod(0o755)
        yield tree
        for id in leftovers.state_directories(minirunc.root):
            minirunc.ok("delete", "--force", id)
        assert groups(tree) == set()
        assert (tree / "schemata").read_text() == ALL


def groups(tree: Path) -> set[str]:
    """The groups there are, monitoring groups as "group/mon_groups/name"."""
    found = {path.name for path in tree.iterdir()} - KERNELS
    return found | {
        f"{name}/mon_groups/{inner.name}".lstrip("/")
        for name in ("", *found)
        for inner in (tree / name / "mon_groups").iterdir()
    }


def pids(tree: Path, group: str) -> list[int]:
    return [int(pid) for pid in (tree / group / "tasks").read_text().split()]


@pytest.fixture
def made(bundle: Callable[..., Bundle], tree: Path) -> Bundle:
    """A bundle whose process can look at resctrl, and lives on."""
    made = bundle("exec sleep 1000")
    made.mount("/resctrl", "bind", str(tree), "bind", "ro")
    return made


def test_group_named_after_the_container(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """Without closID: made, written in the specification's order, joined before the execve, removed by delete."""
    made.linux["intelRdt"] = {
        "l3CacheSchema": "L3:0=f0;1=f",
        "memBwSchema": "MB:0=20",
        "schemata": ["MB:1=30", "L3:1=7"],
    }
    id = minirunc.id()
    made.args(f"cat /resctrl/{id}/tasks > /joined; exec sleep 1000")
    minirunc.create(made, id=id)
    assert (tree / id / "schemata").read_text() == "    L3:0=f0;1=7\n    MB:0=20;1=30\n"
    assert pids(tree, id) == [minirunc.pid(id)]
    minirunc.ok("start", id)
    minirunc.ok("exec", id, "sh", "-c", "until [ -s /joined ]; do :; done")
    assert (made.rootfs / "joined").read_text() == f"{minirunc.pid(id)}\n"
    minirunc.ok("delete", "--force", id)
    assert groups(tree) == set()


def test_nothing_is_written_that_was_not_asked_for(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """`{}` is a group of the container's own with all that the kernel gives it; without intelRdt nothing is touched."""
    minirunc.start(made)
    assert groups(tree) == set()
    made.linux["intelRdt"] = {}
    id = minirunc.start(made)
    assert groups(tree) == {id}
    assert (tree / id / "schemata").read_text() == ALL
    assert pids(tree, id) == [minirunc.pid(id)]


def test_monitoring_group(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """Named after the container, in the group it is in; removed with it, also if somebody else had made it."""
    for clos, path in (("", "{}/mon_groups/{}"), ("/", "mon_groups/{1}"), ("pre", "pre/mon_groups/{1}")):
        if clos == "pre":
            (tree / "pre").mkdir()
        made.linux["intelRdt"] = {"enableMonitoring": True, "closID": clos}
        id = minirunc.id()
        monitor = path.format(id, id)
        if clos == "/":
            (tree / monitor).mkdir()
        minirunc.start(made, id=id)
        assert pids(tree, monitor) == [minirunc.pid(id)]
        assert minirunc.pid(id) in pids(tree, {"": id, "/": ""}.get(clos, clos)) or clos == "/"
        minirunc.ok("delete", "--force", id)
        assert groups(tree) == ({"pre"} if clos == "pre" else set())
    (tree / "pre").rmdir()


def test_events_tell_what_may_be_used_and_what_is(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """The members of runc's types.IntelRdt, in its order; counted in the group the container is in, which has others in
    it, too, or in its own.
    """

    def told(rdt: dict[str, Any]) -> Any:
        made.linux["intelRdt"] = rdt
        id = minirunc.start(made)
        line = minirunc.ok("events", "--stats", id)
        minirunc.ok("delete", "--force", id)
        return json.loads(line)["data"]["intel_rdt"]

    (tree / "pre").mkdir()
    (tree / "pre/tasks").write_text(str(os.getpid()))
    expected = {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 4},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=f0;1=7ff",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 4},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0=100;1=100",
        "schemata": ["L3:0=f0;1=7ff", "    MB:0=100;1=100"],
        "mbm_stats": [
            {"mbm_total_bytes": 1000, "mbm_local_bytes": 10},
            {"mbm_total_bytes": 1001, "mbm_local_bytes": 0},
        ],
        "cmt_stats": [{"llc_occupancy": 4096}, {"llc_occupancy": 4097}],
    }
    found = told({"l3CacheSchema": "L3:0=f0", "enableMonitoring": True})
    assert found == expected
    assert list(found) == list(expected)
    (tree / "pre/schemata").write_text("L3:0=f0\n")
    assert told({"closID": "pre", "enableMonitoring": True}) == expected
    shared = told({"closID": "pre"})
    assert min(row["mbm_total_bytes"] for row in shared.pop("mbm_stats")) >= 2000
    assert min(row["llc_occupancy"] for row in shared.pop("cmt_stats")) >= 8192
    assert shared == {name: value for name, value in expected.items() if not name.endswith("_stats")}
    del made.linux["intelRdt"]
    id = minirunc.start(made)
    assert json.loads(minirunc.ok("events", "--stats", id))["data"]["intel_rdt"] == {}
    made.linux["intelRdt"] = {"closID": "pre"}
    id = minirunc.start(made)
    (tree / "pre").rmdir()
    assert json.loads(minirunc.ok("events", "--stats", id))["data"]["intel_rdt"] == {}


def test_exec_and_hooks_inside_join(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """Neither is a child of the container's process: what it may use, all of them may use together."""
    id = minirunc.id()
    look = f"cat /resctrl/{id}/tasks /resctrl/{id}/mon_groups/{id}/tasks"
    made.linux["intelRdt"] = {"enableMonitoring": True}
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"{look} > /hook"], "env": ["PATH=/bin"]}
    made.config["hooks"] = {"startContainer": [hook]}
    minirunc.start(made, id=id)
    init = str(minirunc.pid(id))
    for text in ((made.rootfs / "hook").read_text(), minirunc.ok("exec", id, "sh", "-c", look)):
        seen = text.split()
        assert len(seen) == 4
        assert seen.count(init) == 2
        assert len(set(seen)) == 2


def test_exec_when_the_group_is_gone(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """As runc: it goes on, where the container's processes are by then; and says so. Delete is not held up."""
    made.linux["intelRdt"] = {}
    id = minirunc.start(made)
    (tree / id).rmdir()
    result = minirunc("exec", id, "true")
    assert result.status == 0
    assert f"the resctrl group /{id} is gone" in result.err
    minirunc.ok("delete", "--force", id)


def test_group_that_exists_is_joined_and_kept(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """closID: somebody else's, so it stays; so does one that had to be made, as others may have joined."""
    (tree / "gold").mkdir()
    (tree / "gold/schemata").write_text("L3:0=f;1=f\n")
    for rdt in ({"closID": "gold"}, {"closID": "new", "schemata": ["MB:0=50"]}):
        made.linux["intelRdt"] = rdt
        id = minirunc.start(made)
        assert pids(tree, str(rdt["closID"])) == [minirunc.pid(id)]
        minirunc.ok("delete", "--force", id)
    assert groups(tree) == {"gold", "new"}
    assert (tree / "new/schemata").read_text() == "    L3:0=7ff;1=7ff\n    MB:0=50;1=100\n"
    (tree / "gold").rmdir()
    (tree / "new").rmdir()


def test_group_of_the_containers_name_that_was_there(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """ "the runtime has not created the sub-directory": it stays."""
    id = minirunc.id()
    (tree / id).mkdir()
    made.linux["intelRdt"] = {"schemata": ["MB:0=50"]}
    minirunc.start(made, id=id)
    minirunc.ok("delete", "--force", id)
    assert groups(tree) == {id}
    (tree / id).rmdir()


@pytest.mark.parametrize(
    ("rdt", "why"),
    [
        (
            {"schemata": ["L3:0=f", "L3:0=505"]},
            (
                "config.json: linux.intelRdt: unable to apply Intel RDT configuration: intelrdt: unable to write"
                ' "L3:0=f, L3:0=505": invalid argument, last_cmd_status: The mask 505 has non-consecutive 1-bits'
            ),
        ),
        ({"closID": "new", "schemata": ["L2:0=f"]}, "last_cmd_status: Unknown or unsupported resource name 'L2'"),
        ({"closID": "new", "schemata": ["MB:0=50"], "enableMonitoring": True}, "executable file not found"),
    ],
)
def test_birth_that_fails_leaves_nothing(
    minirunc: Runtime, made: Bundle, tree: Path, rdt: dict[str, Any], why: str
) -> None:
    """Not even a group by closID, as long as nobody else is in it."""
    made.linux["intelRdt"] = rdt
    made.args(["nosuch"])
    result = minirunc.run(made)
    assert result.status == 1
    assert why in result.err.replace('\\"', '"')
    assert groups(tree) == set()


def test_group_of_a_failed_birth_that_others_have_joined(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """Removing it would take their limits away, silently."""
    made.linux["intelRdt"] = {"closID": "new", "schemata": ["MB:0=50"]}
    join = {"path": "/bin/sh", "args": ["sh", "-c", f"echo {os.getpid()} > {tree}/new/tasks; exit 1"]}
    made.config["hooks"] = {"createRuntime": [join]}
    assert minirunc.run(made).status == 1
    assert pids(tree, "new") == [os.getpid()]
    (tree / "new").rmdir()


def test_no_class_is_left(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """The processor has a few: the kernel's own words are passed on."""
    for name in ("a", "b", "c"):
        (tree / name).mkdir()
    made.linux["intelRdt"] = {}
    result = minirunc.run(made)
    assert result.status == 1
    assert "unable to apply Intel RDT configuration: " in result.err
    assert "no space left on device, last_cmd_status: Out of CLOSIDs" in result.err
    for name in ("a", "b", "c"):
        (tree / name).rmdir()


def test_killed_at_every_step(minirunc: Runtime, made: Bundle, tree: Path, tmp_path: Path) -> None:
    """`delete --force` finds the groups by the intent in state.json: a fourth one left behind would be one too many."""
    made.linux["intelRdt"] = {"closID": "new", "schemata": ["MB:0=50"], "enableMonitoring": True}
    id = minirunc.id()
    minirunc.root.mkdir()
    for rdt in ({"closID": "new", "schemata": ["MB:0=50"], "enableMonitoring": True}, {"enableMonitoring": True}):
        made.linux["intelRdt"] = rdt
        made.write()
        plan = {
            "root": str(minirunc.root),
            "every": 7,
            "before": [],
            "killed": ["create", "--bundle", str(made.path), id],
            "after": [["delete", "--force", id]],
        }
        program = tmp_path / "crash.py"
        text = PATCHED.format(top=str(CHECKOUT), tree=str(tree))
        program.write_text(f"{text}import runpy\nrunpy.run_path({crash.__file__!r}, run_name='__main__')\n")
        argv = [sys.executable, "-I", "-S", str(program), str(CHECKOUT), json.dumps(plan)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        steps, status = map(int, done.stdout.split())
        assert (status, steps > 50) == (0, True), done.stderr
        if "closID" in rdt:
            (tree / "new").rmdir()  # of the last create, which came through
        assert groups(tree) == set()


def test_state_that_cannot_be_read(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """config.json names the groups, then; they go once nobody lives in them."""
    made.linux["intelRdt"] = {"enableMonitoring": True}
    id = minirunc.start(made)
    (minirunc.root / id / "state.json").write_text("{")
    minirunc.ok("delete", "--force", id)
    assert groups(tree) == set()


def test_resctrl_unmounted_meanwhile(minirunc: Runtime, bundle: Callable[..., Bundle], tree: Path) -> None:
    """Its groups went with it: nothing holds up delete."""
    made = bundle("exec sleep 1000")
    made.linux["intelRdt"] = {}
    id = minirunc.start(made)
    script = Path(minirunc.binary)
    patched = script.read_text()
    script.write_text(patched.replace("resctrlfs.find =", "no ="))
    result = minirunc("delete", "--force", id)
    script.write_text(patched)
    assert result.status == 0
    assert "resctrl groups are not removed: there is no /sys/fs/resctrl" in result.err
    (tree / id).rmdir()


def test_schema_of_old_has_the_bandwidth_in_it(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """runtime-spec before 1.3: of an l3CacheSchema with a line for it memBwSchema takes that one's place."""
    made.linux["intelRdt"] = {"l3CacheSchema": "L3:0=f\nMB:0=90", "memBwSchema": "MB:1=50"}
    id = minirunc.start(made)
    assert (tree / id / "schemata").read_text() == "    L3:0=f;1=7ff\n    MB:0=100;1=50\n"


# --- config.json ---


@pytest.fixture
def found(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The emulated resctrl, for this process."""
    monkeypatch.setattr(resctrlfs, "find", lambda: os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    return tree


INVALID = 'closID: invalid intelRdt.ClosID "{}": the name of a directory, or "/" for the default group'
REFUSED = [
    *(
        ({"closID": name}, INVALID.format(name))
        for name in (".", "..", "a/b", "/a", "info", "mon_groups", "mon_data", "x" * 256)
    ),
    (
        {"closID": "none"},
        (
            "closID: clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are"
            ' empty): no group "none" in resctrl'
        ),
    ),
    ({"closID": "a\n"}, "closID: must not contain newlines"),
    ({"memBwSchema": "0=20"}, 'memBwSchema: must start with "MB:", got "0=20"'),
    ({"memBwSchema": "MB:0=20\nL3:0=f"}, "memBwSchema: must not contain newlines"),
    ({"schemata": ["L3:0=f", "L3:0=f\nMB:0=1"]}, "schemata[1]: must not contain newlines"),
    (
        {"closID": "gold", "l3CacheSchema": "L3:0=f0;1=ff"},
        ('l3CacheSchema: "L3:0=f0;1=ff" is not what the existing group of linux.intelRdt.closID "gold" has: L3:0=f'),
    ),
    (
        {"closID": "gold", "memBwSchema": "MB:0=40;2=10"},
        (
            'memBwSchema: "MB:0=40;2=10" is not what the existing group of linux.intelRdt.closID "gold" has:'
            " MB:2=nothing"
        ),
    ),
    (
        {"closID": "/", "memBwSchema": "MB:0=40"},
        'memBwSchema: "MB:0=40" is not what the existing group of linux.intelRdt.closID "/" has: MB:0=100',
    ),
]


def test_what_is_wrong_is_named(found: Path) -> None:
    """In runc's words; what a group that exists must have is compared as the kernel reads it."""
    (found / "gold").mkdir()
    (found / "gold/schemata").write_text("L3:0=f;1=ff\nMB:0=40\n")
    for rdt, why in REFUSED:
        assert refusal({"linux.intelRdt": rdt}) == f"config.json: linux.intelRdt.{why}"
    for rdt in (
        {"closID": "gold", "l3CacheSchema": "L3:00=0F; 1=ff"},
        {"closID": "gold", "l3CacheSchema": "L3:1=ff", "memBwSchema": "MB:0=31", "schemata": ["MB:0=10"]},  # rounded up
        {"closID": "/"},
    ):
        loaded({"linux.intelRdt": rdt})
    (found / "gold").rmdir()


def test_container_named_like_a_directory_of_the_kernels(minirunc: Runtime, made: Bundle) -> None:
    """Its group cannot be: closID has to say another."""
    made.linux["intelRdt"] = {}
    result = minirunc.run(made, id="info")
    assert result.status == 1
    assert "linux.intelRdt.closID: must be given: a group cannot be named info" in result.err


@pytest.mark.parametrize(
    ("features", "rdt", "why"),
    [
        ("MB", {"l3CacheSchema": "L3:0=f"}, "l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled"),
        ("L3", {"memBwSchema": "MB:0=20"}, "memBwSchema is specified in config, but Intel RDT/MBA is not enabled"),
        ("L3", {"enableMonitoring": True}, "enableMonitoring is specified in config, but monitoring is not enabled"),
    ],
)
def test_what_the_processor_has_not(
    minirunc: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str, rdt: dict[str, Any], why: str
) -> None:
    """Each part of RDT may be missing or switched off."""
    if not Path("/dev/fuse").exists():
        pytest.skip("the emulated resctrl needs FUSE")
    with resctrl.mounted(tmp_path / "resctrl", features) as tree:
        monkeypatch.setattr(resctrlfs, "find", lambda: os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        assert f"intelRdt.{why}: no info/" in refusal({"linux.intelRdt": rdt})


def test_machine_without_rdt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """config-linux.md "IntelRdt": an error where no resctrl is mounted, told by its magic; what to do depends."""
    if Path("/sys/fs/resctrl").exists():
        pytest.skip("this machine may have RDT")
    begin = "config.json: linux.intelRdt: intelRdt is specified in config, but Intel RDT is not enabled: "
    end = "; or remove it from config.json"
    why = "there is no /sys/fs/resctrl: neither this kernel nor this processor has it"
    assert refusal({"linux.intelRdt": {}}) == f"{begin}{why}{end}"
    monkeypatch.setattr(resctrlfs, "_PLACE", str(tmp_path))
    why = f"resctrl is not mounted: mount -t resctrl resctrl {tmp_path}"
    assert refusal({"linux.intelRdt": {}}) == f"{begin}{why}{end}"


def test_groups_made_by_two_at_once(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """Of two births with the same new closID one makes the group, the other joins; it stays when they end."""
    made.linux["intelRdt"] = {"closID": "new", "schemata": ["MB:0=50"]}
    made.write()
    ids = [minirunc.id(), minirunc.id()]
    started = [
        threading.Thread(target=minirunc.ok, args=("run", "--detach", "--bundle", str(made.path), id)) for id in ids
    ]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert set(pids(tree, "new")) == {minirunc.pid(id) for id in ids}
    for id in ids:
        minirunc.ok("delete", "--force", id)
    assert groups(tree) == {"new"}
    (tree / "new").rmdir()


# --- update ---


@pytest.mark.parametrize("clos", ["", "gold", "/"])
def test_update_of_a_running_container(minirunc: Runtime, made: Bundle, tree: Path, clos: str) -> None:
    """--l3-cache-schema, --mem-bw-schema: what they name is rewritten in the container's group and stored.

    The rest is kept. Also beside --resources; what schemata of config.json said does not come back.
    """
    if clos == "gold":
        (tree / "gold").mkdir()
    made.linux["intelRdt"] = {"schemata": ["L3:0=f"], "x-kept": 1} if not clos else {"closID": clos}
    id = minirunc.start(made)
    file = tree / (clos.strip("/") or ("" if clos else id)) / "schemata"
    minirunc.ok("update", "--l3-cache-schema", "L3:0=f0;1=3", id)
    assert file.read_text() == "    L3:0=f0;1=3\n    MB:0=100;1=100\n"
    minirunc.ok("update", "--mem-bw-schema", "MB:0=20", id)
    assert file.read_text() == "    L3:0=f0;1=3\n    MB:0=20;1=100\n"
    schemas = ("--l3-cache-schema", "L3:1=7", "--mem-bw-schema", "MB:1=70")
    minirunc.ok("update", "-r", "-", *schemas, id, input='{"unified": {"cgroup.max.depth": "5"}}')
    assert file.read_text() == "    L3:0=f0;1=7\n    MB:0=20;1=70\n"
    linux = json.loads((minirunc.root / id / "config.json").read_text())["linux"]
    assert linux["intelRdt"] == made.linux["intelRdt"] | {"l3CacheSchema": "L3:1=7", "memBwSchema": "MB:1=70"}
    assert linux["resources"]["unified"] == {"cgroup.max.depth": "5"}
    minirunc.ok("update", "--l3-cache-schema", "L3:0=7ff;1=7ff", "--mem-bw-schema", "MB:0=100;1=100", id)
    minirunc.ok("delete", "--force", id)
    if clos == "gold":
        (tree / "gold").rmdir()


def test_update_that_is_refused(minirunc: Runtime, made: Bundle, tree: Path) -> None:
    """All is as before: the group's schemata, the cgroup, what is stored; also where it is the storing that fails."""
    made.linux["intelRdt"] = {"schemata": ["L3:0=f", "MB:1=50"]}
    id = minirunc.start(made)
    file, depth = tree / id / "schemata", minirunc.cgroup(id) / "cgroup.max.depth"
    config = minirunc.root / id / "config.json"
    before = file.read_text(), depth.read_text(), config.read_bytes()
    document = '{"unified": {"cgroup.max.depth": "5"}}'
    for schemas, why in (
        (
            ("--l3-cache-schema", "L3:0=505"),
            'intelrdt: unable to write "L3:0=505": invalid argument, last_cmd_status: ',
        ),
        (("--l3-cache-schema", "L3:0=7", "--mem-bw-schema", "MB:7=20"), "last_cmd_status: "),
        (("--mem-bw-schema", "0=20"), "--mem-bw-schema: must be one line that starts with \"MB:\", got '0=20'"),
    ):
        result = minirunc("update", "-r", "-", *schemas, id, input=document)
        assert result.status == 1
        assert why in result.err.replace('\\"', '"')
        assert (file.read_text(), depth.read_text(), config.read_bytes()) == before
    (minirunc.root / id / ".config.json").mkdir()
    assert minirunc("update", "-r", "-", "--l3-cache-schema", "L3:0=7", id, input=document).status == 1
    assert (file.read_text(), depth.read_text(), config.read_bytes()) == before


def test_update_where_it_is_not_possible(
    minirunc: Runtime, made: Bundle, tree: Path, bundle: Callable[..., Bundle]
) -> None:
    """In runc's words: without a group of the container's, and on a processor that has it not."""
    id = minirunc.start(made)
    result = minirunc("update", "--l3-cache-schema", "L3:0=f", id)
    assert result.status == 1
    assert "updating a non-existent Intel RDT configuration is not supported" in result.err
    minirunc.ok("delete", "--force", id)
    minirunc.binary = str(CHECKOUT / ".venv/bin/minirunc")
    if Path("/sys/fs/resctrl").exists():
        pytest.skip("this machine may have RDT")
    id = minirunc.start(bundle("exec sleep 1000"))
    for option, why in (
        ("--l3-cache-schema", "Intel RDT/CAT: l3 cache schema is not enabled: there is no /sys/fs/resctrl"),
        ("--mem-bw-schema", "Intel RDT/MBA: memory bandwidth schema is not enabled: there is no /sys/fs/resctrl"),
    ):
        result = minirunc("update", option, "x", id)
        assert result.status == 1
        assert why in result.err
    minirunc.ok("delete", "--force", id)
