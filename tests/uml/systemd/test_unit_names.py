"""config.json linux.cgroupsPath with --systemd-cgroup: which unit a container is, and where that lies."""

from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.uml.systemd.conftest import BY_SYSTEMD, CGROUP2, listed, scope, show


@pytest.mark.observes("linux.cgroupsPath")
@pytest.mark.parametrize(
    ("path", "unit", "cgroup"),
    [
        ("", "minirunc-ID.scope", "/system.slice/minirunc-ID.scope"),
        (":box:ID", "box-ID.scope", "/system.slice/box-ID.scope"),
        ("outer.slice:box:ID", "box-ID.scope", "/outer.slice/box-ID.scope"),
        ("outer-inner.slice:box:ID", "box-ID.scope", "/outer.slice/outer-inner.slice/box-ID.scope"),
        ("-.slice:box:ID", "box-ID.scope", "/box-ID.scope"),
        ("-:box:ID", "box-ID.scope", "/box-ID.scope"),
        ("system.slice:a_b.c:ID", "a_b.c-ID.scope", "/system.slice/a_b.c-ID.scope"),
    ],
)
def test_scope_of_a_container(
    minirunc: Runtime, limited: Callable[..., Bundle], path: str, unit: str, cgroup: str
) -> None:
    """`slice:prefix:name`: PREFIX-NAME.scope in that slice, by default system.slice; without, minirunc-ID.scope. The
    created container is in it, alone, before it runs."""
    id = minirunc.id()
    bundle = limited("sleep 1000")
    bundle.linux["cgroupsPath"] = path.replace("ID", id)
    minirunc.create(bundle, id=id, before=BY_SYSTEMD)
    unit, where = unit.replace("ID", id), CGROUP2 / cgroup.replace("ID", id)[1:]
    assert minirunc.cgroup(id) == where
    assert (where / "cgroup.procs").read_text() == f"{minirunc.pid(id)}\n"
    told = show(unit, "ControlGroup", "Slice", "ActiveState")
    inside = where.parent.name if where.parent != CGROUP2 else "-.slice"
    assert told == {"ControlGroup": f"/{where.relative_to(CGROUP2)}", "Slice": inside, "ActiveState": "active"}
    minirunc.ok("start", id)
    assert minirunc.cgroup(id) == where
    minirunc.ok("delete", "--force", id)
    assert (where.exists(), listed(unit)) == (False, [])


def test_slice_of_a_container(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`slice:prefix:name.slice`: the slice itself is the container's, in the one its own name says."""
    name = minirunc.id().partition("-")[0]
    bundle = limited("sleep 1000", pids={"limit": 9})
    bundle.linux["cgroupsPath"] = f":box:outer-{name}.slice"
    id = minirunc.start(bundle, before=BY_SYSTEMD)
    cgroup = CGROUP2 / f"outer.slice/outer-{name}.slice"
    assert minirunc.cgroup(id) == cgroup
    told = show(f"outer-{name}.slice", "ActiveState", "TasksMax", "Description")
    assert told == {"ActiveState": "active", "TasksMax": "9", "Description": f"libcontainer container {id}"}
    minirunc.ok("delete", "--force", id)
    assert (cgroup.exists(), listed(f"*{name}*")) == (False, [])


@pytest.mark.parametrize("path", ["/absolute", "relative", "system.slice:box", "a:b:c:d", "::::"])
def test_other_path_is_refused(minirunc: Runtime, limited: Callable[..., Bundle], path: str) -> None:
    """cgroupsPath: what is not slice:prefix:name is an error, in the words that callers know from runc."""
    bundle = limited("true")
    bundle.linux["cgroupsPath"] = path
    result = minirunc.run(bundle, before=BY_SYSTEMD)
    why = f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{path}" instead'
    assert result.status == 1
    assert why in result.err.replace('\\"', '"')


@pytest.mark.parametrize("above", ["not-a-slice", "a--b.slice", "-a.slice", "a-.slice", ".slice", "a/b.slice"])
def test_wrong_slice_is_refused(minirunc: Runtime, limited: Callable[..., Bundle], above: str) -> None:
    """cgroupsPath: a slice whose name says no place, or leads elsewhere, is an error that names it."""
    bundle = limited("true")
    bundle.linux["cgroupsPath"] = f"{above}:box:{minirunc.id()}"
    result = minirunc.run(bundle, before=BY_SYSTEMD)
    assert result.status == 1
    assert above in result.err
    assert "linux.cgroupsPath" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("name", ["a/../../b", "a b", "x" * 300])
def test_wrong_name_is_refused(minirunc: Runtime, limited: Callable[..., Bundle], name: str) -> None:
    """cgroupsPath: what cannot be a unit's name is an error that says why."""
    bundle = limited("true")
    bundle.linux["cgroupsPath"] = f":box:{name}"
    result = minirunc.run(bundle, before=BY_SYSTEMD)
    assert result.status == 1
    assert "linux.cgroupsPath" in result.err
    assert f"box-{name[:2]}" in result.err


def test_cgroup_manager_is_the_same(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """`--cgroup-manager systemd`, crun's word, is `--systemd-cgroup`."""
    id = minirunc.start(limited("sleep 1000"), before=["--cgroup-manager", "systemd"])
    assert minirunc.cgroup(id) == CGROUP2 / "system.slice" / scope(id)
    assert listed(scope(id)) == [scope(id)]


@pytest.mark.parametrize("option", [[], ["--cgroup-manager", "cgroupfs"]])
def test_without_the_option_systemd_is_not_asked(
    minirunc: Runtime, limited: Callable[..., Bundle], option: list[str]
) -> None:
    """Where systemd runs, cgroupsPath is a path all the same, and there is no unit."""
    bundle = limited("sleep 1000")
    id = minirunc.id()
    bundle.linux["cgroupsPath"] = f"/{id}"
    minirunc.start(bundle, id=id, before=option)
    assert minirunc.cgroup(id) == CGROUP2 / id
    assert listed(f"*{id}*") == []


def test_id_with_letters_that_no_unit_has(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """A + in the id stands escaped in the unit's name, as systemd-escape(1) does."""
    id = f"{minirunc.id()}+x_y.z"
    minirunc.start(limited("sleep 1000"), id=id, before=BY_SYSTEMD)
    escaped = scope(id.replace("+", "\\x2b"))
    assert minirunc.cgroup(id) == CGROUP2 / "system.slice" / escaped
    minirunc.ok("delete", "--force", id)
    assert not (CGROUP2 / "system.slice" / escaped).exists()
