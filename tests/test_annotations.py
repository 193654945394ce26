"""config.json annotations: those that change what the runtime does, as in crun; all others are only passed on."""

import array
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minirunc.config.annotations import HONOURED, WITHOUT_EFFECT
from tests import inside
from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
DELEGATE = "run.oci.delegate-cgroup"


def annotated(made: Bundle, **values: str) -> Bundle:
    """The bundle with annotations of crun's, named without their `run.oci.`."""
    made.config["annotations"] = {f"run.oci.{name}": value for name, value in values.items()}
    return made


@pytest.mark.observes("annotations[]")
def test_all_are_passed_on(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """config.md "Annotations": state, list and hooks tell them as they are; names that nobody knows are no error."""
    made = bundle("exec sleep 1000")
    made.config["annotations"] = {"org.example.key": "välue\n", "bundle": "/", "run.oci.unknown": "x"}
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {tmp_path}/told"]}
    made.config["hooks"] = {"createRuntime": [hook]}
    id = minirunc.start(made)
    wanted = made.config["annotations"]
    assert minirunc.state(id)["annotations"] == wanted
    assert json.loads(minirunc.ok("list", "--format", "json"))[0]["annotations"] == wanted
    assert json.loads((tmp_path / "told").read_text())["annotations"] == wanted
    assert minirunc.state(id)["bundle"] == str(made.path)


@pytest.mark.parametrize("userns", [False, True])
@pytest.mark.parametrize(("value", "keeps"), [(None, False), ("0", False), ("1", True), ("", True)])
def test_keep_original_groups(
    minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool, value: str | None, keeps: bool
) -> None:
    """run.oci.keep_original_groups: no setgroups(2) of run and exec, whatever additionalGids says; "0" is not set."""
    made = annotated(bundle("exec sleep 1000"), **({} if value is None else {"keep_original_groups": value}))
    made.process["user"]["additionalGids"] = [7]
    if userns:
        mapped(made)
    minirunc.prefix = ["setpriv", "--groups", "50001,50002", "--"]
    id = minirunc.start(made)
    minirunc.ok("exec", "--detach", id, "sleep", "1000")
    pids = json.loads(minirunc.ok("ps", "--format", "json", id))
    wanted = ["50001", "50002"] if keeps else ["100007" if userns else "7"]
    shown = [inside.status(Path(f"/proc/{pid}/status").read_text())["Groups"].split() for pid in pids]
    assert shown == [wanted, wanted]


def test_output_of_hooks(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """run.oci.hooks.stdout and .stderr: files that all hooks' output is appended to; a relative one in the bundle."""
    made = annotated(bundle("true"), **{"hooks.stdout": f"{tmp_path}/out", "hooks.stderr": "err"})
    (tmp_path / "out").write_text("before\n")
    made.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind}; echo not {kind} >&2"]}] for kind in HOOKS
    }
    id = minirunc.create(made)
    minirunc.ok("start", id)
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)
    assert (tmp_path / "out").read_text().split() == ["before", *HOOKS]
    assert (made.path / "err").read_text() == "".join(f"not {kind}\n" for kind in HOOKS)
    assert (made.path / "err").stat().st_mode & 0o777 == 0o600


def test_output_of_hooks_that_cannot_be_opened(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The file is named; the birth fails as it does of a hook that fails, whose error then quotes no output."""
    made = annotated(bundle(), **{"hooks.stdout": "/nosuch/file"})
    made.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo said; exit 3"]}]}
    assert "output of hooks: open /nosuch/file: no such file or directory" in minirunc.run(made).err
    annotated(made, **{"hooks.stdout": "file"})
    err = minirunc.run(made).err
    assert "error running createRuntime hook #0: /bin/sh: exit status 3, stdout: , stderr: " in err


@pytest.mark.parametrize("relative", [False, True])
def test_pidfd_receiver(minirunc: Runtime, bundle: Callable[..., Bundle], relative: bool) -> None:
    """run.oci.pidfd_receiver: a pidfd of the container's process is sent to the socket that listens there."""
    made = bundle("exec sleep 1000")
    with socket.socket(socket.AF_UNIX) as listening:
        path = made.path / "receiver"
        listening.bind(str(path))
        listening.listen()
        annotated(made, pidfd_receiver="receiver" if relative else str(path))
        id = minirunc.create(made)
        connection, _ = listening.accept()
        with connection:
            fds = array.array("i")
            _, ancillary, _, _ = connection.recvmsg(16, socket.CMSG_SPACE(4))
            fds.frombytes(ancillary[0][2])
            said = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
            os.close(fds[0])
        assert f"Pid:\t{minirunc.pid(id)}\n" in said


def test_pidfd_receiver_that_is_not_there(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Nothing is left of a birth whose caller would wait for ever."""
    made = annotated(bundle(), pidfd_receiver="/nosuch")
    assert "socket /nosuch: no such file or directory" in minirunc.run(made).err


@pytest.mark.parametrize("userns", [False, True])
def test_delegated_cgroup(minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool) -> None:
    """run.oci.delegate-cgroup: the process is in a cgroup below the container's, seen so in its cgroup namespace.

    The container is killed and removed with all that is below.
    """
    made = bundle("cat /proc/self/cgroup > /seen; exec sleep 1000")
    made.config["annotations"] = {DELEGATE: "payload/./of-mine"}
    if userns:
        mapped(made)
    id = minirunc.start(made)
    assert minirunc.cgroup(id).parts[-3:] == (id, "payload", "of-mine")
    assert "0::/payload/of-mine\n" in (made.rootfs / "seen").read_text()
    assert minirunc.cgroup(id).stat().st_uid == (100000 if userns else 0)
    assert minirunc.cgroup(id).parents[1].stat().st_uid == 0
    minirunc.ok("exec", "--detach", id, "sleep", "1000")
    minirunc.ok("pause", id)
    minirunc.ok("resume", id)
    assert len(json.loads(minirunc.ok("ps", "--format", "json", id))) == 2
    minirunc.ok("delete", "--force", id)


WRONG = {
    "delegate-cgroup": {
        "../x": 'invalid ".." component in delegate-cgroup "../x"',
        "x/..": 'invalid ".." component in delegate-cgroup "x/.."',
        "/./": "must name a cgroup below the container's",
        "x\0": "contains a NUL byte",
        "\ud800": "contains half of a surrogate pair",
    },
    "handler": {
        "krun": 'there is no handler "krun"; take the annotation out to have an ordinary process, or use crun',
        "wasm": 'there is no handler "wasm"',
    },
    "mount_context_type": {
        "": 'invalid mount context type "" (must be one of: context, fscontext, defcontext, rootcontext)',
    },
    "systemd.force_cgroup_v1": {
        "/sys/fs/cgroup/systemd": "cgroup v1 is not used; take the annotation out to have cgroup v2, or use crun",
    },
    "pidfd_receiver": {"": "must be a path"},
    "hooks.stdout": {"": "must be a path", "a\0": "contains a NUL byte"},
    "hooks.stderr": {"": "must be a path"},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_refused(minirunc: Runtime, bundle: Callable[..., Bundle], name: str, value: str) -> None:
    """The error names annotation, value and what is allowed."""
    result = minirunc.run(annotated(bundle("echo ran"), **{name: value}))
    assert (result.status, result.out) == (1, "")
    wanted = f'config.json: annotations["run.oci.{name}"]: {WRONG[name][value]}'
    assert wanted in result.err.replace('\\"', '"')


def test_what_asks_for_nothing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """No handler; one for a pod's sandbox, which is an ordinary process; an empty cgroup's name."""
    made = annotated(bundle("cat /proc/self/cgroup"), **{"handler": "", "delegate-cgroup": ""})
    result = minirunc.run(made)
    assert "0::/\n" in result.out
    made.config["annotations"] = {"run.oci.handler": "krun", "io.kubernetes.cri.container-type": "sandbox"}
    assert minirunc.run(made).status == 0


def test_those_without_effect_are_told_to_who_debugs(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """One debug line each; no line without --debug, and none for what no runtime acts on."""
    made = bundle()
    names = [f"{name}x" if name.endswith(".") else name for name in WITHOUT_EFFECT]
    made.config["annotations"] = dict.fromkeys([*names, "org.example"], "1")
    assert minirunc.run(made) == (0, "", "")
    told = [line for line in minirunc.run(made, before=["--debug"]).err.splitlines() if "no effect" in line]
    assert len(told) == len(names)
    for name, line in zip(names, told, strict=True):
        assert f"annotation {name} has no effect: " in line


REFUSED = ("run.oci.handler", "run.oci.seccomp.plugins", "run.oci.systemd.force_cgroup_v1")


def test_the_table_is_what_acts_and_what_is_told() -> None:
    """Each name in HONOURED is read somewhere, and README says what it does."""
    readme = (CHECKOUT / "README.md").read_text()
    code = "".join(
        path.read_text() for path in (CHECKOUT / "minirunc").rglob("*.py") if path.name != "annotations.py"
    ).replace("run.oci.hooks.{name}", "run.oci.hooks.stdout run.oci.hooks.stderr")
    for name in HONOURED:
        assert f"`{name}`" in readme
        assert name in code or name in REFUSED  # which are only ever refused


def test_a_config_without_any_pays_nothing(bundle: Callable[..., Bundle]) -> None:
    """Its module is not imported."""
    made = bundle()
    program = (
        f"import sys; sys.path.append({str(CHECKOUT)!r}); from minirunc.config import load\n"
        f"load(open({str(made.file)!r}).read()); print('minirunc.config.annotations' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
