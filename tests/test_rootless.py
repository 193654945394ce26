"""An ordinary user runs containers: in a user namespace, in a cgroup that was delegated to him."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import inside
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.rootless import SUBIDS, USER, given, ordinary_user
from tests.ground.runtime import Runtime, wait_until
from tests.ground.terminal import Terminal


@pytest.fixture
def home(minirunc: Runtime) -> Iterator[Path]:
    """The user's directory; `minirunc` is run by him from now on."""
    with ordinary_user(minirunc) as directory:
        yield directory


@pytest.fixture
def bare_home(minirunc: Runtime) -> Iterator[Path]:
    """The same, in a cgroup that is not his: he can make none."""
    with ordinary_user(minirunc, delegated=False) as directory:
        yield directory


def test_user_is_root_inside(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.uidMappings of the user alone: written without help; setgroups(2) is given up, devices are the host's."""
    made = bundle(
        "id -u; id -g; cat /proc/self/uid_map /proc/self/setgroups; echo x >/dev/null; touch /x && stat -c %u /x"
    )
    made = given(made, home)
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert result.out.split() == ["0", "0", "0", str(USER), "1", "deny", "0"]
    assert (made.rootfs / "x").stat().st_uid == USER


def test_user_maps_his_subordinate_ids(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """More ids than his own: by newuidmap and newgidmap, from /etc/subuid and /etc/subgid; all of the life cycle."""
    made = given(bundle("touch /tmp/x; exec sleep 1000"), home, {"containerID": 1, "hostID": SUBIDS, "size": 65536})
    made.process["user"] = {"uid": 1000, "gid": 100, "additionalGids": [5]}
    id = minirunc.create(made)
    minirunc.ok("start", id)
    assert minirunc.status(id) == "running"
    script = "id -u; id -G; cat /proc/self/gid_map; stat -c %u:%g /tmp/x"
    expected = f"1000 100 5 0 {USER} 1 1 {SUBIDS} 65536 1000:100"
    assert minirunc.ok("exec", id, "sh", "-c", script).split() == expected.split()
    assert (made.rootfs / "tmp/x").stat().st_uid == SUBIDS + 999
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)


def test_user_adds_mounts(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """A file system of the container's own; what is the host's the kernel lets root copy: one error, none is left."""
    id = minirunc.start(given(bundle("exec sleep 1000"), home))
    before = minirunc.ok("exec", id, "cat", "/proc/1/mountinfo")
    fresh = {"destination": "/fresh", "type": "tmpfs", "source": "tmpfs"}
    bound = {"destination": "/data", "type": "bind", "source": "/etc", "options": ["bind"]}
    failed = minirunc("mounts", "add", id, "-", input=json.dumps([fresh, bound]))
    assert (failed.status, failed.out, failed.err.count("\n")) == (1, "", 1)
    assert "only root may copy mounts of the host into a container that exists" in failed.err
    assert minirunc.ok("exec", id, "cat", "/proc/1/mountinfo") == before
    minirunc.ok("mounts", "add", id, "-", input=json.dumps([fresh]))
    assert minirunc.ok("exec", id, "sh", "-c", "touch /fresh/x; stat -c %u /fresh/x") == "0\n"
    minirunc.ok("mounts", "remove", id, "-", input=json.dumps([fresh]))
    assert minirunc.ok("exec", id, "cat", "/proc/1/mountinfo") == before


def test_ids_that_are_not_his_are_refused(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.uidMappings of ids he was not given: newuidmap's own words, nothing is left."""
    made = given(bundle(), home, {"containerID": 1, "hostID": 1, "size": 10})
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, "")
    assert "newuidmap: " in result.err


# --- without a cgroup of his own ---


def test_no_cgroup_to_be_had_is_none(minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path) -> None:
    """--rootless auto, no limits, no linux.cgroupsPath: the container runs where its caller is, and all else is the
    same.
    """
    made = given(bundle("exec sleep 1000"), bare_home)
    id = minirunc.create(made)
    assert minirunc.status(id) == "created"
    assert json.loads(minirunc.ok("ps", "--format", "json", id)) == [minirunc.pid(id)]
    minirunc.ok("start", id)
    assert minirunc.status(id) == "running"
    assert minirunc.cgroup(id).name == "own"
    assert "0::/\n" in minirunc.ok("exec", id, "cat", "/proc/self/cgroup")
    assert id in minirunc.ok("list")
    minirunc.ok("exec", "--detach", id, "sleep", "1001")
    pids = json.loads(minirunc.ok("ps", "--format", "json", id))
    assert len(pids) == 2
    assert sorted(line.split()[-1] for line in minirunc.ok("ps", id).splitlines()[1:]) == ["1000", "1001"]
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    assert minirunc.ok("ps", "--format", "json", id) == "null\n"
    minirunc.ok("delete", id)


def test_what_takes_a_cgroup_says_so(minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path) -> None:
    """pause and resume freeze a cgroup, exec --cgroup enters one, events read it."""
    id = minirunc.start(given(bundle("exec sleep 1000"), bare_home))
    none = f"container {id} has no cgroup of its own"
    for command in (["pause", id], ["exec", "--cgroup", "x", id, "true"], ["events", id], ["events", "--stats", id]):
        result = minirunc(*command)
        assert result.status in (1, 255)
        assert none in result.err
    assert "container not paused" in minirunc("resume", id).err
    minirunc.ok("delete", "--force", id)


def test_run_without_a_cgroup_gives_the_status(
    minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path
) -> None:
    """`run`: to the end, nothing said, nothing left, also of what its first process left behind."""
    made = given(bundle("sleep 1000 & exit 7"), bare_home)
    assert minirunc.run(made) == (7, "", "")


def test_delete_force_ends_what_has_no_cgroup(
    minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path
) -> None:
    """The first process is found by pid and start time, its end is that of its pid namespace."""
    id = minirunc.start(given(bundle("sleep 1000 & exec sleep 1000"), bare_home))
    minirunc.ok("delete", "--force", id)


def test_limit_without_a_cgroup_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path) -> None:
    """linux.resources: a limit that cannot be had is an error that names it and what to do; so is --rootless false."""
    made = given(bundle(), bare_home)
    made.linux["resources"]["pids"] = {"limit": 10}
    result = minirunc.run(made)
    assert result.status == 1
    assert (
        "config.json: linux.resources.pids: rootless needs no limits + no cgrouppath when no permission is granted for"
        " cgroups: it cannot be made: permission denied; remove the limit, or start it in a cgroup that is delegated to"
        " you, as `systemd-run --user --scope -p Delegate=yes` does, with the line `Delegate=pids` in user@.service"
    ) in result.err


def test_cgroups_path_without_rights_is_refused(
    minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path
) -> None:
    """linux.cgroupsPath is asked for by name: an error names it."""
    made = given(bundle(), bare_home)
    made.linux["cgroupsPath"] = f"/{minirunc.id()}"
    result = minirunc.run(made)
    assert result.status == 1
    assert "config.json: linux.cgroupsPath: unable to apply cgroup configuration: " in result.err
    assert "permission denied" in result.err


@pytest.mark.parametrize(
    ("said", "runs"), [("true", True), ("1", True), ("AUTO", True), ("false", False), ("F", False)]
)
def test_rootless_option_decides(
    minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path, said: str, runs: bool
) -> None:
    """--rootless: whether a container may do without a cgroup that cannot be made."""
    made = given(bundle(), bare_home)
    result = minirunc.run(made, before=["--rootless", said])
    if runs:
        assert result == (0, "", "")
    else:
        assert result.status == 1
        assert "unable to apply cgroup configuration" in result.err
        assert "permission denied" in result.err


def test_wrong_value_of_rootless_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """--rootless: a truth value or auto, asked where it counts."""
    result = minirunc.run(bundle(), before=["--rootless", "yes"])
    assert result.status == 1
    assert "invalid value for --rootless: yes (true, false or auto)" in result.err


def test_shared_pid_namespace_without_a_cgroup_is_warned_of_and_ended(
    minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path
) -> None:
    """No pid namespace either: what shares the container's own user or mount namespace is ended all the same."""
    made = given(bundle("sleep 1000 & sleep 1001 & exec sleep 1002"), bare_home)
    made.without_namespace("pid")
    made.config["mounts"] = [mount for mount in made.config["mounts"] if mount["type"] != "proc"]
    made.mount("/proc", "none", "/proc", "rbind", "nosuid", "nodev", "noexec")
    made.write()
    made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []
    result = minirunc.run(made, "--detach", id=(id := minirunc.id()))
    assert result.status == 0
    assert "Such configuration is strongly discouraged" in result.err
    wait_until(lambda: len(json.loads(minirunc.ok("ps", "--format", "json", id))) == 3, "all three are there")
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)
    made.args("sleep 1000 & exit 3")
    before = bare_home / "before"
    minirunc.prefix += ["sh", "-c", f'sleep 1003 & echo $! >{before}; exec "$@"', "sh"]
    assert minirunc.run(made).status == 3
    os.kill(int(before.read_text()), 9)  # a child that it had before is no business of its
    os.waitpid(int(before.read_text()), 0)


def test_hooks_are_in_his_container(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """hooks.createContainer, hooks.startContainer: in the container's namespaces, all of them its own. The hand is
    hidden from him, too: it opens them itself.
    """
    made = given(bundle("true"), home)
    made.namespace("cgroup")
    made.namespace("time")
    kinds = ("createContainer", "startContainer")
    script = f"{inside.NAMESPACES}; id -u"
    made.config["hooks"] = {}
    for kind in kinds:
        log = home / kind
        log.touch()
        os.chown(log, USER, USER)
        made.mount(str(log), "bind", str(log), "bind")
        args = ["sh", "-c", f"({script}) >>{log}"]
        made.config["hooks"][kind] = [{"path": "/bin/sh", "args": args, "env": ["PATH=/usr/bin:/bin"]}]
    made.args(f"({script}) >>{home}/startContainer")
    assert minirunc.run(made) == (0, "", "")
    created = (home / "createContainer").read_text().splitlines()
    started = (home / "startContainer").read_text().splitlines()
    count = len(inside.TYPES) + 1
    assert created[-1] == "0"
    assert created == started[:count] == started[count:]
    assert not set(created) & {os.readlink(f"/proc/self/ns/{name}") for name in inside.TYPES.values()}


def test_what_waits_for_start_is_not_entered(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """exec, hooks.startContainer: the hand that waits is hidden from its own user, too, and nobody is there to ask it.
    What follows from that is said.
    """
    made = given(bundle("exec sleep 1000"), home)
    id = minirunc.create(made)
    result = minirunc("exec", id, "true")
    assert result.status == 255
    assert "unable to start container process: an ordinary user cannot enter what waits for `start`: " in result.err
    minirunc.ok("start", id)
    minirunc.ok("exec", id, "true")
    made.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    made.write()
    result = minirunc("create", "--bundle", made.path, minirunc.id())
    assert result.status == 1
    assert (
        "config.json: hooks.startContainer: an ordinary user cannot enter what waits for `start`: `run` it"
    ) in result.err


def test_his_clocks_are_off(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.timeOffsets: of a time namespace that his user namespace owns."""
    made = given(bundle("cat /proc/self/timens_offsets"), home)
    made.namespace("time")
    made.linux["timeOffsets"] = {"boottime": {"secs": 1337, "nanosecs": 1}, "monotonic": {"secs": 7881, "nanosecs": 2}}
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert [line.split() for line in result.out.splitlines()] == [["monotonic", "7881", "2"], ["boottime", "1337", "1"]]


def test_no_user_namespace_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.namespaces: who is not root gets no container without one."""
    made = given(bundle(), home)
    made.without_namespace("user")
    del made.linux["uidMappings"], made.linux["gidMappings"]
    result = minirunc.run(made)
    assert result.status == 1
    assert "config.json: linux.namespaces: rootless container requires user namespaces" in result.err


# --- what is missing is named ---


def test_missing_subordinate_ids_are_named(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """linux.uidMappings of ids that /etc/subuid does not give: the file, the user and the line that would."""
    made = given(bundle(), home, {"containerID": 1, "hostID": SUBIDS, "size": 65537})
    assert (
        f"; /etc/subuid does not give user the uids {SUBIDS} to {SUBIDS + 65536}: map others,"
        f' or have root add the line \\"user:{SUBIDS}:65537\\"'
    ) in minirunc.run(made).err
    made.linux["uidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    (home / "subgid").unlink()
    (home / "subgid").touch()
    assert "newgidmap: " in (err := minirunc.run(made).err)
    assert "; /etc/subgid does not give user the gids" in err


def test_missing_newuidmap_is_named(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """Several ranges take newuidmap; where it is not installed the error says so. One's own id does not take it."""
    made = given(bundle(), home, {"containerID": 1, "hostID": SUBIDS, "size": 10})
    made.write()
    empty = home / "empty"
    empty.mkdir()
    result = minirunc("run", "--bundle", made.path, minirunc.id(), env=_path_without(home, "newuidmap"))
    assert result.status == 1
    assert "mapping more than your own uid needs newuidmap (Debian package uidmap)" in result.err
    made.linux["uidMappings"] = made.linux["gidMappings"] = made.linux["uidMappings"][:1]
    for mount in made.config["mounts"]:
        mount["options"] = [word for word in mount.get("options", []) if word != "gid=5"]
    made.write()
    assert minirunc("run", "--bundle", made.path, minirunc.id(), env=_path_without(home, "newuidmap")).status == 0


def _path_without(home: Path, program: str) -> dict[str, str]:
    """An environment in which the program cannot be found."""
    directory = home / "bin"
    if not directory.exists():
        directory.mkdir()
        for name in ("setpriv", "unshare", "mount", "cp", "sh", "id"):
            (directory / name).symlink_to(str(shutil.which(name)))
    assert not (directory / program).exists()
    return {"PATH": str(directory)}


def test_newuidmap_without_its_rights_is_told(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """newuidmap that is not set-user-ID (or whose caller has no_new_privs): the error says what it takes."""
    made = given(bundle(), home, {"containerID": 1, "hostID": SUBIDS, "size": 10})
    minirunc.prefix += ["setpriv", "--no-new-privs", "--"]
    result = minirunc.run(made)
    assert result.status == 1
    assert "; /etc/subuid gives user these: newuidmap must be set-user-ID root" in result.err


def test_additional_groups_take_more_than_the_own_gid(
    minirunc: Runtime, bundle: Callable[..., Bundle], home: Path
) -> None:
    """process.user.additionalGids: setgroups(2) had to be given up for the map of the own gid."""
    made = given(bundle(), home)
    made.process["user"]["additionalGids"] = [0]
    result = minirunc.run(made)
    assert result.status == 1
    assert "cannot set any additional groups in a rootless container" in result.err


@pytest.mark.parametrize("keeps", [False, True])
def test_groups_are_kept_where_an_annotation_asks(
    minirunc: Runtime, bundle: Callable[..., Bundle], home: Path, keeps: bool
) -> None:
    """run.oci.keep_original_groups: what his groups may read on the host, the container may, though none is mapped."""
    made = given(bundle("cat /of-group"), home, {"containerID": 1, "hostID": SUBIDS, "size": 65536})
    (made.rootfs / "of-group").write_text("read\n")
    os.chown(made.rootfs / "of-group", 0, 50001)
    (made.rootfs / "of-group").chmod(0o640)
    made.config["annotations"] = {"run.oci.keep_original_groups": "1"} if keeps else {}
    minirunc.prefix = [word.replace("--clear-groups", "--groups 50001") for word in minirunc.prefix]
    status, out, err = minirunc.run(made)
    assert (status, out) == ((0, "read\n") if keeps else (1, ""))
    assert err == ("" if keeps else "cat: can't open '/of-group': Permission denied\n")


def test_state_directory_that_is_not_his_is_told(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """Without --root and XDG_RUNTIME_DIR state would be in /run, which is root's; with it, it is there."""
    made = given(bundle(), home)
    made.write()
    command = [*minirunc.prefix, minirunc.binary, "run", "--bundle", str(made.path), minirunc.id()]
    environment = {"PATH": os.environ["PATH"]}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "permission denied; give a --root of your own, or set XDG_RUNTIME_DIR" in result.stderr
    environment["XDG_RUNTIME_DIR"] = str(home)
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert (home / "minirunc").stat().st_mode & 0o7777 == 0o1700


def test_exec_from_another_cgroup_is_told(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """exec into a delegated cgroup from outside of it: the kernel's refusal, and what to do."""
    id = minirunc.start(given(bundle("exec sleep 1000"), home))
    before, minirunc.prefix = minirunc.prefix, ["setpriv", *f"--reuid {USER} --regid {USER} --clear-groups --".split()]
    result = minirunc("exec", id, "true")
    minirunc.prefix = before
    assert result.status == 255
    assert "permission denied; call from within the cgroup that is delegated to you" in result.err
    minirunc.ok("delete", "--force", id)


def test_memory_that_may_not_be_executed_is_told(minirunc: Runtime, bundle: Callable[..., Bundle], home: Path) -> None:
    """vm.memfd_noexec 2: an ordinary user cannot execute the hand, and is told what to have changed."""
    if not Path("/proc/sys/vm/memfd_noexec").exists():
        pytest.skip("vm.memfd_noexec is newer than this kernel")
    made = given(bundle(), home)
    script = 'echo 2 >/proc/sys/vm/memfd_noexec; exec "$@"'
    minirunc.prefix = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-ec", script, "sh", *minirunc.prefix]
    result = minirunc.run(made)
    assert result.status == 1
    assert "the sysctl vm.memfd_noexec is 2, and only root can do without: have it set to 1" in result.err


OBSERVED = r"""
id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; hostname
grep -E "^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs):" /proc/self/status; ls -d /proc/[0-9]* | wc -l
touch /x 2>&1; touch /dev/shm/x /tmp/x 2>&1; cat /proc/keys /proc/kcore 2>&- | wc -c; ulimit -n
echo > /dev/null && cat /proc/sys/kernel/hostname; touch /proc/sys/kernel/hostname 2>&1
"""


@pytest.mark.parametrize("delegated", [True, False])
def test_spec_rootless_runs_as_its_user(
    minirunc: Runtime, bundle: Callable[..., Bundle], request: pytest.FixtureRequest, delegated: bool
) -> None:
    """`spec --rootless` made by the user, no edit but args and terminal: what his container is, seen from inside."""
    made = given(bundle(), request.getfixturevalue("home" if delegated else "bare_home"))
    made.file.unlink(missing_ok=True)
    minirunc.ok("spec", "--rootless", "--bundle", made.path)
    made.config = json.loads(made.file.read_text())
    assert made.file.stat().st_uid == USER
    made.args(OBSERVED)
    made.process["terminal"] = False
    made.write()
    status, out, err = minirunc("run", "--bundle", made.path, minirunc.id())
    assert (status, err) == (1, "")
    rights = "0000000020000420"  # CAP_AUDIT_WRITE, CAP_NET_BIND_SERVICE, CAP_KILL
    assert [line.split() for line in out.splitlines()] == [
        ["0"],
        ["0"],
        ["0", str(USER), "1"],
        ["0", str(USER), "1"],
        ["minirunc"],
        ["CapInh:", "0" * 16],
        ["CapPrm:", rights],
        ["CapEff:", rights],
        ["CapBnd:", rights],
        ["CapAmb:", "0" * 16],
        ["NoNewPrivs:", "1"],
        ["3"],
        ["touch:", "/x:", "Read-only", "file", "system"],
        ["touch:", "/tmp/x:", "Read-only", "file", "system"],
        ["0"],
        ["1024"],
        ["minirunc"],
        ["touch:", "/proc/sys/kernel/hostname:", "Read-only", "file", "system"],
    ]


def test_spec_rootless_runs_as_it_is(minirunc: Runtime, bundle: Callable[..., Bundle], bare_home: Path) -> None:
    """`spec --rootless`: a config.json for this user, who has nothing."""
    made = given(bundle(), bare_home)
    made.file.unlink(missing_ok=True)
    minirunc.ok("spec", "--rootless", "--bundle", made.path)
    with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
        terminal.expect("# ")
        terminal.type("id -u; touch /sys/fs/cgroup/x; find /sys/fs/cgroup -writable ! -type l | wc -l; exit 5\n")
        terminal.expect("0\r\n")
        terminal.expect("Read-only file system")
        assert terminal.wait() == 5


# --- root, where cgroups cannot be written ---


def test_root_with_a_read_only_cgroup(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Root of the machine is told, unless --rootless true; then devices are kept away by a user namespace, or nothing
    is run.
    """
    mount = leftovers.cgroup2_mounts()[0]
    script = f'mount -o remount,bind,ro {mount} && exec "$@"'
    minirunc.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh"]
    made = bundle()
    result = minirunc.run(made)
    assert result.status == 1
    assert "unable to apply cgroup configuration" in result.err
    assert "read-only file system" in result.err
    wanted = ["--rootless", "true"]
    assert "linux.resources.devices: without a cgroup only a user namespace" in minirunc.run(made, before=wanted).err
    made.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    assert minirunc.run(made, before=wanted) == (0, "", "")
    del made.linux["resources"]["devices"]
    made.namespace("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert minirunc.run(made, before=wanted) == (0, "", "")
    minirunc.ok("delete", "--force", minirunc.start(given_sleep(made), before=wanted))


def given_sleep(made: Bundle) -> Bundle:
    """The bundle, with a process that stays."""
    made.args("exec sleep 1000")
    return made


def test_limit_of_namespaces_is_named(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """user.max_user_namespaces: "no space left on device" alone would lead nobody there."""
    made = bundle()
    made.namespace("user")
    made.linux["uidMappings"] = made.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    minirunc.prefix = ["unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh"]
    result = minirunc.run(made)
    assert result.status == 1
    assert "no space left on device: the limit is /proc/sys/user/max_*_namespaces" in result.err
