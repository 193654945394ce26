"""commands/exec.py, container/enter.py: one more process in a container, and each option that shapes it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirunc.kernel import lsm
from tests import inside
from tests.ground import leftovers
from tests.ground.bundle import CAPABILITIES, Bundle
from tests.ground.runtime import Result, Runtime, wait_until

STATUS = ("cat", "/proc/self/status")
NUMBERS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_RAW": 13, "CAP_AUDIT_WRITE": 29}


def mask(*names: str) -> str:
    """A capability set as /proc/PID/status shows it."""
    return f"{sum(1 << NUMBERS[name] for name in names):016x}"


@pytest.fixture
def made(bundle: Callable[..., Bundle]) -> Bundle:
    """A container that waits."""
    return bundle("exec sleep 1000")


@pytest.fixture
def id(minirunc: Runtime, made: Bundle) -> str:
    """Its id; it runs."""
    return minirunc.start(made)


def failure(result: Result) -> str:
    """What an exec that failed says: one log line, and runc's exit status for it."""
    assert (result.status, result.out) == (255, "")
    found = re.fullmatch(r'time="[^"]+" level=error msg="(exec failed: .+)"\n', result.err)
    assert found is not None, result.err
    return found[1].replace('\\"', '"')


def test_environment_cwd_and_user_are_the_containers(minirunc: Runtime, made: Bundle) -> None:
    """What no option changes is as in process; a terminal and the console size are not taken over."""
    made.process.update(
        {
            "env": ["PATH=/bin:/x", "A=1"],
            "cwd": "/tmp",
            "user": {"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o27},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 77, "soft": 66}],
        }
    )
    id = minirunc.start(made)
    assert minirunc.ok(
        "exec", id, "sh", "-c", "env | sort; pwd; umask; id -u; id -g; id -G; ulimit -n"
    ).splitlines() == [
        *("A=1", "HOME=/", "PATH=/bin:/x", "PWD=/tmp", "SHLVL=1"),
        *("/tmp", "0027", "7", "8", "8 9", "66"),
    ]


def test_streams_are_the_callers(minirunc: Runtime, id: str) -> None:
    """stdin, stdout and stderr; each to its own end."""
    result = minirunc("exec", id, "sh", "-c", "cat; echo err >&2", input="in\n")
    assert result == Result(0, "in\n", "err\n")


def test_it_is_in_the_containers_namespaces_and_cgroup(minirunc: Runtime, id: str) -> None:
    """All of them, and pid 1 there is the container's process."""
    wanted = {kind: os.readlink(f"/proc/{minirunc.pid(id)}/ns/{name}") for kind, name in inside.TYPES.items()}
    lines = minirunc.ok("exec", id, "sh", "-c", inside.NAMESPACES).splitlines()
    assert lines == list(wanted.values())
    assert "sleep\0" in minirunc.ok("exec", id, "cat", "/proc/1/cmdline")
    running = minirunc.popen("exec", id, "sh", "-c", "echo ready; read x")
    assert running.stdout is not None
    running.stdout.readline()
    pids = json.loads(minirunc.ok("ps", "-f", "json", id))
    assert len(pids) == 2
    assert "0::/" in Path(f"/proc/{pids[0]}/cgroup").read_text()
    assert len({minirunc.cgroup(id), *(Path(f"/proc/{pid}/cgroup").read_text() for pid in pids)}) == 2
    running.communicate("\n")


def test_created_container(minirunc: Runtime, made: Bundle) -> None:
    """`exec` needs no `start`: the namespaces are there."""
    id = minirunc.create(made)
    assert minirunc.ok("exec", id, "hostname") == "test\n"
    assert minirunc.status(id) == "created"


def test_paused_container(minirunc: Runtime, id: str) -> None:
    """Refused; with --ignore-paused the process waits for resume."""
    minirunc.ok("pause", id)
    why = "exec failed: cannot exec in a paused container (use --ignore-paused to override)"
    assert failure(minirunc("exec", id, "true")) == why
    waiting = minirunc.popen("exec", "--ignore-paused", id, "echo", "hello")
    wait_until(lambda: len(json.loads(minirunc.ok("ps", "-f", "json", id))) == 2, "it is in the cgroup")
    assert waiting.poll() is None
    minirunc.ok("resume", id)
    assert waiting.communicate(timeout=30) == ("hello\n", "")


def test_frozen_cgroup_above_or_below(minirunc: Runtime, made: Bundle) -> None:
    """Though the container itself is not paused: a prompt answer, where the process could not begin."""
    made.linux["cgroupsPath"] = f"/{minirunc.token}/container"
    id = minirunc.start(made)
    cgroup = minirunc.cgroup(id)
    (cgroup / "below").mkdir()
    (cgroup / "below/cgroup.freeze").write_text("1")
    why = "cannot exec in a paused container (use --ignore-paused to override)"
    assert f"{why}: {cgroup}/below is frozen" in failure(minirunc("exec", "--cgroup", "below", id, "true"))
    assert minirunc.ok("exec", id, "echo", "hello") == "hello\n"
    (cgroup.parent / "cgroup.freeze").write_text("1")
    wait_until(lambda: "frozen 1" in (cgroup / "cgroup.events").read_text(), "it is frozen")
    assert f"{why}: {cgroup.parent} is frozen" in failure(minirunc("exec", id, "true"))
    minirunc.ok("delete", "--force", id)
    assert not cgroup.parent.exists()


def test_stopped_container(minirunc: Runtime, id: str) -> None:
    """Refused."""
    minirunc.ok("kill", id, "KILL")
    minirunc.wait_for_status(id, "stopped")
    assert failure(minirunc("exec", id, "true")) == "exec failed: cannot exec in a stopped container"


def test_missing_container(minirunc: Runtime) -> None:
    """Refused, with exec's exit status."""
    assert failure(minirunc("exec", "nobody", "true")) == "exec failed: container does not exist: nobody"


class TestEnv:
    """--env."""

    def test_adds_and_replaces(self, minirunc: Runtime, id: str) -> None:
        """Several; the last of a name wins, and stands where the first stood; a value may hold anything."""
        out = minirunc.ok(
            "exec", "--env", "A=1", "-e", "B=x=y z", "--env=A=2", "-e", "TERM=dumb", "-e", "C=", id, "env"
        )
        assert out.splitlines()[1:] == ["TERM=dumb", "A=2", "B=x=y z", "C=", "HOME=/root"]

    def test_path_is_searched(self, minirunc: Runtime, id: str) -> None:
        """For the program, too."""
        why = failure(minirunc("exec", "--env", "PATH=/nosuch", id, "env"))
        assert why.endswith('exec: "env": executable file not found in $PATH')

    @pytest.mark.parametrize(
        ("word", "why"),
        [
            ("A", "--env: invalid environment variable: missing '='"),
            ("", "--env: invalid environment variable: missing '='"),
            ("=x", "--env: invalid environment variable: name cannot be empty"),
        ],
    )
    def test_without_a_name(self, minirunc: Runtime, id: str, word: str, why: str) -> None:
        """Refused."""
        assert failure(minirunc("exec", "--env", word, id, "true")) == f"exec failed: {why}"


class TestCwd:
    """--cwd."""

    def test_is_entered(self, minirunc: Runtime, id: str) -> None:
        """A path in the container, through its links."""
        assert minirunc.ok("exec", "--cwd", "/proc/self/root/tmp", id, "pwd").strip().endswith("/tmp")

    def test_missing_is_refused_and_not_made(self, minirunc: Runtime, made: Bundle, id: str) -> None:
        """An exec changes nothing in the container."""
        why = failure(minirunc("exec", "--cwd", "/no/such", id, "pwd"))
        assert why.endswith('chdir to cwd ("/no/such") set in config.json failed: no such file or directory')
        assert not (made.rootfs / "no").exists()

    def test_relative_is_refused(self, minirunc: Runtime, id: str) -> None:
        """As in config.json."""
        why = failure(minirunc("exec", "--cwd", "tmp", id, "pwd"))
        assert why == "exec failed: --cwd: Cwd must be an absolute path"

    def test_file_is_refused(self, minirunc: Runtime, id: str) -> None:
        """By name."""
        why = failure(minirunc("exec", "--cwd", "/bin/busybox", id, "pwd"))
        assert why.endswith('chdir to cwd ("/bin/busybox") set in config.json failed: not a directory')


class TestUser:
    """--user and --additional-gids."""

    @pytest.mark.parametrize(
        ("options", "uid", "gid", "groups"),
        [
            (["--user", "1000"], "1000", "0", "0"),
            (["--user", "1000:50"], "1000", "50", "50"),
            (["-u", "0:0"], "0", "0", "0"),
            (["--user", "4294967294:4294967294"], "4294967294", "4294967294", "4294967294"),
            (["--user", "1:2", "--additional-gids", "65", "-g", "66"], "1", "2", "2 65 66"),
        ],
    )
    def test_numbers(self, minirunc: Runtime, id: str, options: list[str], uid: str, gid: str, groups: str) -> None:
        """The uid; after a colon the gid, else it is the container's."""
        assert minirunc.ok("exec", *options, id, "sh", "-c", "id -u; id -g; id -G").split("\n")[:3] == [
            uid,
            gid,
            groups,
        ]

    def test_gids_add_to_the_containers(self, minirunc: Runtime, made: Bundle) -> None:
        """process.user.additionalGids stay."""
        made.process["user"]["additionalGids"] = [71]
        id = minirunc.start(made)
        assert minirunc.ok("exec", "-g", "72", id, "id", "-G") == "0 71 72\n"

    @pytest.mark.parametrize(
        ("word", "what", "part"),
        [
            ("root", "uid", "root"),
            ("", "", ""),
            (":5", "uid", ""),
            ("5:", "gid", ""),
            ("5:users", "gid", "users"),
            ("-5", "uid", "-5"),
            ("+5", "uid", "+5"),
            (" 5", "uid", " 5"),
            ("5 ", "uid", "5 "),
            ("0x5", "uid", "0x5"),
            ("5_0", "uid", "5_0"),
            ("٥", "uid", "٥"),
            ("4294967295", "uid", "4294967295"),
            ("4294967296", "uid", "4294967296"),
            ("5:6:7", "gid", "6:7"),
        ],
    )
    def test_anything_else_is_refused(self, minirunc: Runtime, id: str, word: str, what: str, part: str) -> None:
        """A word that is no number must not become root (CVE-2026-30892); an empty one is no option at all."""
        result = minirunc("exec", f"--user={word}", id, "id", "-u")
        if not word:
            assert result == Result(0, "0\n", "")
            return
        why = f"exec failed: bad {what}: parsing {part!r}: expected a number from 0 to 4294967294"
        assert failure(result) == why

    @pytest.mark.parametrize("number", ["-1", "4294967295", "99999999999999999999"])
    def test_gid_out_of_range(self, minirunc: Runtime, id: str, number: str) -> None:
        """Refused."""
        result = minirunc("exec", f"--additional-gids={number}", id, "id")
        assert result.status != 0
        assert number in result.err
        assert "internal error" not in result.err


class TestCapabilities:
    """--cap."""

    def test_bounding_effective_permitted(self, minirunc: Runtime, id: str) -> None:
        """Added to these three; never to the inheritable set (CVE-2022-29162), so to the ambient one neither."""
        seen = inside.status(minirunc.ok("exec", "--cap", "CAP_NET_RAW", "-c", "CAP_CHOWN", id, *STATUS))
        wanted = mask(*CAPABILITIES, "CAP_NET_RAW", "CAP_CHOWN")
        assert [seen[f"Cap{name}"] for name in ("Bnd", "Eff", "Prm")] == [wanted] * 3
        assert [seen[f"Cap{name}"] for name in ("Inh", "Amb")] == [mask()] * 2

    def test_ambient_where_the_container_lets_it_be_inherited(self, minirunc: Runtime, made: Bundle) -> None:
        """For a user who is not root that is the only way to have it."""
        made.process["capabilities"]["inheritable"] = ["CAP_KILL"]
        id = minirunc.start(made)
        options = ("--user", "1000", "--cap", "CAP_KILL", "--cap", "CAP_NET_RAW")
        seen = inside.status(minirunc.ok("exec", *options, id, *STATUS))
        assert (seen["CapInh"], seen["CapAmb"], seen["CapEff"]) == (mask("CAP_KILL"),) * 3
        assert seen["CapBnd"] == mask(*CAPABILITIES, "CAP_NET_RAW")

    def test_of_a_container_without_any(self, minirunc: Runtime, made: Bundle) -> None:
        """What is added is all there is."""
        del made.process["capabilities"]
        id = minirunc.start(made)
        assert inside.status(minirunc.ok("exec", id, *STATUS))["CapBnd"] == mask()
        seen = inside.status(minirunc.ok("exec", "--cap", "CAP_KILL", id, *STATUS))
        assert {seen[f"Cap{name}"] for name in ("Bnd", "Eff", "Prm")} == {mask("CAP_KILL")}


@pytest.mark.parametrize(
    ("option", "config", "seen"),
    [
        (None, True, "1"),
        (None, False, "0"),
        ("--no-new-privs", False, "1"),
        ("--no-new-privs=true", False, "1"),
        ("--no-new-privs=false", True, "0"),
    ],
)
def test_no_new_privs(minirunc: Runtime, made: Bundle, option: str | None, config: bool, seen: str) -> None:
    """--no-new-privs overrides the container's, also with false."""
    made.process["noNewPrivileges"] = config
    id = minirunc.start(made)
    assert inside.status(minirunc.ok("exec", *([option] if option else []), id, *STATUS))["NoNewPrivs"] == seen


class TestCgroup:
    """--cgroup: a cgroup below the container's."""

    @pytest.mark.parametrize("word", ["a/b", "/a/b", "a/./b/", "a/../a/b"])
    def test_below(self, minirunc: Runtime, id: str, word: str) -> None:
        """The process is in it from its beginning."""
        below = minirunc.cgroup(id) / "a/b"
        below.mkdir(parents=True)
        running = minirunc.popen("exec", "--cgroup", word, id, "sh", "-c", "echo ready; read x")
        assert running.stdout is not None
        running.stdout.readline()
        assert len((below / "cgroup.procs").read_text().split()) == 1
        running.communicate("\n")

    @pytest.mark.parametrize("word", ["..", "../x", "a/../..", "/..", "a/../../b"])
    def test_outside(self, minirunc: Runtime, id: str, word: str) -> None:
        """Refused."""
        why = failure(minirunc("exec", "--cgroup", word, id, "true"))
        assert why.endswith(f"bad sub cgroup path: {word}: it leaves the container's cgroup")

    def test_missing(self, minirunc: Runtime, id: str) -> None:
        """It is not made."""
        below = minirunc.cgroup(id) / "nosuch"
        why = failure(minirunc("exec", "--cgroup", "nosuch", id, "true"))
        assert re.search(rf"error adding pid \d+ to cgroups: {below}: no such file or directory$", why)
        assert not below.exists()

    def test_controllers_are_of_version_1(self, minirunc: Runtime, id: str) -> None:
        """cgroup v2 has one hierarchy: refused by name, as are two."""
        assert "cgroup v1 only" in failure(minirunc("exec", "--cgroup", "cpu:a", id, "true"))
        assert "once" in failure(minirunc("exec", "--cgroup", "a", "--cgroup", "b", id, "true"))


def test_container_that_has_left_its_cgroup(minirunc: Runtime, made: Bundle) -> None:
    """Where the first process moved to a cgroup below (as systemd does) and processes may be in leaves only: there."""
    id = minirunc.start(made)
    cgroup, pid = minirunc.cgroup(id), minirunc.pid(id)
    below = cgroup / "init"
    below.mkdir()
    (below / "cgroup.procs").write_text(str(pid))
    controllers = (cgroup / "cgroup.controllers").read_text().split()
    assert controllers, "this kernel has no controller to test it with"
    (cgroup / "cgroup.subtree_control").write_text(f"+{controllers[0]}")
    running = minirunc.popen("exec", id, "sh", "-c", "echo ready; read x")
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    assert len((below / "cgroup.procs").read_text().split()) == 2
    running.communicate("\n")


class TestFds:
    """--preserve-fds, and what is not to be there."""

    SCRIPT = "for fd in /proc/self/fd/*; do test -e $fd && echo ${fd##*/}; done"

    def test_three_and_up_are_kept(self, minirunc: Runtime, id: str) -> None:
        """With what they read and write; those above are closed."""
        pipes = [os.pipe() for _ in range(3)]
        arranged = {3: pipes[0][1], 4: pipes[1][1], 5: pipes[2][1]}
        shell = " ".join(f"{fd}>&{theirs}" for fd, theirs in arranged.items())
        argv = minirunc.argv("exec", "--preserve-fds", "2", id, "sh", "-c", "echo three >&3; echo four >&4; echo x >&5")
        done = subprocess.run(
            ["bash", "-c", f'exec "$@" {shell}', "sh", *argv],
            pass_fds=[theirs for _, theirs in pipes],
            capture_output=True,
            text=True,
            check=False,
        )
        for _, theirs in pipes:
            os.close(theirs)
        said = []
        for ours, _ in pipes:
            said.append(os.read(ours, 100))
            os.close(ours)
        assert said == [b"three\n", b"four\n", b""]
        assert done.returncode != 0
        assert "5: Bad file descriptor" in done.stderr

    def test_missing_is_named(self, minirunc: Runtime, id: str) -> None:
        """As runc does; nothing has run."""
        why = failure(minirunc("exec", "--preserve-fds", "5", id, "true"))
        assert re.fullmatch(r"exec failed: unable to stat preserved-fd \d \(of 5\): .*", why)

    def test_nothing_of_the_runtimes_is_open(self, minirunc: Runtime, id: str) -> None:
        """Not even its log."""
        log = minirunc.root.parent / "log"
        before = ["--log", str(log), "--debug"]
        out = minirunc.ok("exec", id, "ls", "/proc/self/fd", before=before)
        assert out.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


class TestProcessFile:
    """--process FILE."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Callable[[Any], Path]:
        """Write one."""

        def write(value: Any) -> Path:
            path = tmp_path / "process.json"
            path.write_text(value if isinstance(value, str) else json.dumps(value))
            return path

        return write

    def test_says_all(self, minirunc: Runtime, made: Bundle, file: Callable[[Any], Path]) -> None:
        """Nothing of the container's process is mixed in; words after the id do not count."""
        made.process.update({"env": ["PATH=/bin", "OURS=1"], "cwd": "/tmp", "user": {"uid": 5, "gid": 6}})
        id = minirunc.start(made)
        script = "env; pwd; id -u; id -g; id -G; umask; ulimit -n; grep -E '^Cap(Inh|Prm|Bnd)|NoNew' /proc/self/status"
        sets = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": [], "inheritable": ["CAP_KILL"]}
        value = {
            "args": ["/bin/sh", "-c", script],
            "env": ["PATH=/bin", "X=y"],
            "cwd": "/bin",
            "user": {"uid": 0, "gid": 3, "additionalGids": [4], "umask": 0o77},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 55, "soft": 44}],
            "capabilities": sets,
            "noNewPrivileges": True,
        }
        out = minirunc.ok("exec", "--process", file(value), id, "echo", "never")
        kill = mask("CAP_KILL")
        assert sorted(out.splitlines()[:5]) == ["HOME=/root", "PATH=/bin", "PWD=/bin", "SHLVL=1", "X=y"]
        assert out.split()[5:] == [
            *("/bin", "0", "3", "3", "4", "0077", "44"),
            *("CapInh:", kill, "CapPrm:", kill, "CapBnd:", kill, "NoNewPrivs:", "1"),
        ]

    def test_leaves_out_what_stays_the_containers(
        self, minirunc: Runtime, made: Bundle, file: Callable[[Any], Path]
    ) -> None:
        """As in runc: capabilities, limits and umask are then the container's; not noNewPrivileges."""
        made.process["user"]["umask"] = 0o67
        id = minirunc.start(made)
        script = "umask; ulimit -n; grep -E '^CapBnd|NoNew' /proc/self/status"
        out = minirunc.ok("exec", "-p", file({"args": ["/bin/sh", "-c", script], "cwd": "/"}), id)
        assert out.split() == ["0067", "1024", "CapBnd:", mask(*CAPABILITIES), "NoNewPrivs:", "0"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "{}:1:1: expecting value"),
            ('{"args": ["true"],\n "cwd": }', "{}:2:9: expecting value"),
            ("[]", "{}: expected an object, got a list"),
            ('{"cwd": "/"}', "{}: args: args must not be empty"),
            ('{"args": ["true"]}', "{}: cwd: Cwd property must not be empty"),
            ('{"args": ["true"], "cwd": "x"}', "{}: cwd: Cwd must be an absolute path"),
            ('{"args": "true", "cwd": "/"}', '{}: args: expected a list, got a string ("true")'),
            ('{"args": ["true", 5], "cwd": "/"}', "{}: args[1]: expected a string, got an integer (5)"),
            ('{"args": ["true"], "cwd": "/", "user": {"uid": -1}}', "{}: user.uid: "),
            ('{"args": ["true"], "cwd": "/", "env": ["A"]}', "{}: env[0]: invalid environment variable"),
        ],
    )
    def test_that_is_wrong(self, minirunc: Runtime, id: str, file: Callable[[Any], Path], text: str, why: str) -> None:
        """The place in the file is named."""
        path = file(text)
        assert failure(minirunc("exec", "--process", path, id)).startswith("exec failed: " + why.format(path))

    def test_missing(self, minirunc: Runtime, id: str) -> None:
        """The file is named."""
        why = "exec failed: open /nosuch.json: no such file or directory"
        assert failure(minirunc("exec", "--process", "/nosuch.json", id)) == why
        assert "is a directory" in failure(minirunc("exec", "--process", "/etc", id))

    def test_from_a_pipe(self, minirunc: Runtime, id: str) -> None:
        """Any file that can be read once."""
        text = json.dumps({"args": ["/bin/echo", "hello"], "cwd": "/"})
        assert minirunc("exec", "--process", "/dev/stdin", id, input=text).out == "hello\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nosuch"], 'unable to start container process: exec: "nosuch": executable file not found in $PATH'),
        (["/nosuch"], 'unable to start container process: exec: "/nosuch": stat /nosuch: no such file or directory'),
        (["/etc"], 'unable to start container process: exec: "/etc": is a directory'),
        (["/etc/passwd"], 'unable to start container process: exec: "/etc/passwd": permission denied'),
        ([""], 'unable to start container process: exec: "": executable file not found in $PATH'),
        ([], "exec args cannot be empty"),
    ],
)
def test_program_that_is_not_there(minirunc: Runtime, id: str, words: list[str], why: str) -> None:
    """In the words that callers look for; no process is left."""
    assert failure(minirunc("exec", id, *words)) == f"exec failed: {why}"
    assert json.loads(minirunc.ok("ps", "-f", "json", id)) == [minirunc.pid(id)]


def test_program_that_cannot_be_executed(minirunc: Runtime, made: Bundle, id: str) -> None:
    """What execve(2) alone finds out the process says itself, on its stderr, once."""
    (made.rootfs / "script").write_text("#!/nosuch\n")
    (made.rootfs / "script").chmod(0o755)
    assert minirunc("exec", id, "/script") == Result(255, "", "exec /script: no such file or directory\n")


@pytest.mark.parametrize(
    ("option", "module", "why"),
    [
        ("--apparmor", "apparmor", "apparmor failed to apply profile: AppArmor is not enabled on this host"),
        (
            "--process-label",
            "selinux",
            "selinux label is specified in config, but selinux is disabled or not supported",
        ),
    ],
)
def test_label_that_cannot_be_given(minirunc: Runtime, id: str, option: str, module: str, why: str) -> None:
    """It is refused by name: a process without its label would be less safe than it says."""
    if getattr(lsm, module)():
        pytest.skip(f"this host has {module} on")
    assert failure(minirunc("exec", option, "some", id, "true")) == f"exec failed: {option}: {why}"


def test_options_end_with_the_id(minirunc: Runtime, id: str) -> None:
    """What follows belongs to the command."""
    assert minirunc.ok("exec", id, "echo", "--cwd", "-t", "--", "x") == "--cwd -t -- x\n"


def test_arguments_of_any_bytes(minirunc: Runtime, id: str) -> None:
    """They need not be UTF-8."""
    argv = [os.fsencode(word) for word in minirunc.argv("exec", id, "echo")]
    done = subprocess.run([*argv, b"a\xff\xfeb", b"\n", "ü".encode()], capture_output=True, check=True)
    assert done.stdout == b"a\xff\xfeb \n " + "ü\n".encode()


def test_detached(minirunc: Runtime, id: str, tmp_path: Path) -> None:
    """--detach: returns at once; the process is an orphan that the caller adopts, and runs on in the container."""
    minirunc.ok("exec", "--detach", "--pid-file", tmp_path / "pid", id, "sleep", "1000")
    pid = int((tmp_path / "pid").read_text())
    assert f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text()
    assert sorted(json.loads(minirunc.ok("ps", "-f", "json", id))) == sorted([minirunc.pid(id), pid])
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def test_end_of_the_container_ends_it(minirunc: Runtime, id: str) -> None:
    """128 + SIGKILL."""
    running = minirunc.popen("exec", id, "sh", "-c", "echo ready; exec sleep 1000")
    assert running.stdout is not None
    running.stdout.readline()
    minirunc.ok("delete", "--force", id)
    assert running.wait(30) == 128 + signal.SIGKILL


def test_many_at_once(minirunc: Runtime, id: str) -> None:
    """Twenty at a time, each with its own status; no process stays."""
    running = [minirunc.popen("exec", id, "sh", "-c", f"exit {number}") for number in range(20)]
    assert [process.wait(60) for process in running] == list(range(20))
    assert json.loads(minirunc.ok("ps", "-f", "json", id)) == [minirunc.pid(id)]


def test_container_that_ends_meanwhile(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Each of a handful of execs either runs or says why not; none hangs."""
    id = minirunc.start(bundle("sleep 0.15"))
    running = [minirunc.popen("exec", id, "true") for _ in range(8)]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 137, 255), err
        assert "internal error" not in err
    leftovers.alive(set())
    minirunc.wait_for_status(id, "stopped")


def test_small_open_file_limit(minirunc: Runtime, id: str) -> None:
    """The caller's RLIMIT_NOFILE may be as small as 20; the process has the container's."""
    argv = minirunc.argv("exec", id, "sh", "-c", "ulimit -n")
    done = subprocess.run(
        ["sh", "-c", 'ulimit -Sn 20; exec "$@"', "sh", *argv], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1024\n"


def test_umask_of_the_caller(minirunc: Runtime, made: Bundle) -> None:
    """It is the process's only where the container has none (as runc has it)."""
    id = minirunc.start(made)
    assert minirunc.ok("exec", id, "sh", "-c", "umask", umask=0o77) == "0077\n"
    made.process["user"]["umask"] = 0o26
    id = minirunc.start(made)
    assert minirunc.ok("exec", id, "sh", "-c", "umask", umask=0o77) == "0026\n"
