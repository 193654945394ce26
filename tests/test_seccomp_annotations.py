"""crun's annotations for filters (config/annotations.py): who is asked, what is loaded, which names are an error."""

import base64
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ground.agents import agent
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.ground.seccomp import docker, filtered, profile, rule
from tests.test_seccomp_notify import DOWN, MKDIR, down, failed, notifying

BPF_DATA = "run.oci.seccomp_bpf_data"
FAIL_UNKNOWN = "run.oci.seccomp_fail_unknown_syscall"
RECEIVER = "run.oci.seccomp.receiver"
DENIED = "mkdir: can't create directory '/dev/shm/x': Network is down\n"


def instructions(action: int) -> str:
    """A filter in base64: mkdir and mkdirat of this machine have this action, all else is allowed."""
    numbers = (83, 258) if os.uname().machine == "x86_64" else (34, 34)
    program = [
        (0x20, 0, 0, 0),  # load the number
        (0x15, 1, 0, numbers[0]),
        (0x15, 0, 1, numbers[1]),
        (0x06, 0, 0, action),
        (0x06, 0, 0, 0x7FFF0000),
    ]
    return base64.b64encode(b"".join(struct.pack("=HBBI", *line) for line in program)).decode()


def annotated(made: Bundle, name: str, value: str) -> Bundle:
    """The bundle with this annotation."""
    made.config.setdefault("annotations", {})[name] = value
    return made


@pytest.mark.parametrize("section", [None, {}, docker(), profile("KILL")], ids=["no", "empty", "docker", "deadly"])
def test_bpf_data_stands_for_the_section(minirunc: Runtime, bundle: Callable[..., Bundle], section: object) -> None:
    """For run and exec; linux.seccomp, whatever it says, makes no filter."""
    made = annotated(bundle(["sleep", "1000"]), BPF_DATA, instructions(0x50000 | errno.ENETDOWN))
    made.linux["seccomp"] = section
    id = minirunc.start(made)
    assert minirunc("exec", id, "mkdir", "/dev/shm/x") == (1, "", DENIED)
    assert minirunc.ok("exec", id, "grep", "-h", "Seccomp", "/proc/1/status", "/proc/self/status") == (
        "Seccomp:\t2\nSeccomp_filters:\t1\n" * 2
    )
    assert not (minirunc.root / ":seccomp").exists()


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "no nnp"])
def test_bpf_data_may_ask_an_agent(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path, nnp: bool) -> None:
    """If an instruction says so, and somebody is there to be asked; else such calls are ENOSYS."""
    made = annotated(bundle("mkdir /dev/shm/x"), BPF_DATA, instructions(0x7FC00000))
    made.process["noNewPrivileges"] = nnp
    assert minirunc.run(made) == (1, "", DENIED.replace("Network is down", "Function not implemented"))
    annotated(made, RECEIVER, str(tmp_path / "agent"))
    with agent(tmp_path / "agent", down) as asked:
        assert minirunc.run(made) == (1, "", DOWN)
    assert len(asked.messages) == 1


WRONG = {
    "no base64": ("***", "not base64: "),
    "no padding": ("QUJDRA", "not base64: "),
    "line": (instructions(0) + "\n", "not base64: "),
    "not ascii": ("ü", "not base64: "),
    "empty": ("", "has 0 bytes, not 8 for each of 1 to 4096 instructions"),
    "seven bytes": (base64.b64encode(b"1234567").decode(), "has 7 bytes, not 8 for each of 1 to 4096 instructions"),
    "too long": (
        base64.b64encode(bytes(8 * 4097)).decode(),
        "has 32776 bytes, not 8 for each of 1 to 4096 instructions",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_bpf_data_that_cannot_be_is_refused(minirunc: Runtime, bundle: Callable[..., Bundle], case: str) -> None:
    """Before anything is made."""
    value, why = WRONG[case]
    told = failed(minirunc, annotated(bundle(["true"]), BPF_DATA, value))
    assert told.startswith(f'config.json: annotations["{BPF_DATA}"]: invalid seccomp BPF data: {why}')


def test_bpf_data_that_the_kernel_refuses_is_no_process(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A program without a return."""
    made = annotated(bundle("echo started"), BPF_DATA, base64.b64encode(struct.pack("=HBBI", 0x20, 0, 0, 0)).decode())
    assert minirunc.run(made) == (255, "", "error loading seccomp filter into kernel: invalid argument\n")


def test_receiver_is_who_is_asked(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """What linux.seccomp says comes first, then the annotation, then the environment; exec reads them again."""
    names = ("listenerPath", "annotation", "environment")
    paths = [str(tmp_path / name) for name in names]
    made = notifying(bundle(["sleep", "1000"]), "", listenerMetadata="m")
    variable = {**os.environ, "RUN_OCI_SECCOMP_RECEIVER": paths[2]}
    with agent(paths[0], down) as first, agent(paths[1], down) as second, agent(paths[2], down) as third:
        id = minirunc.start(made, env=variable)
        assert minirunc("exec", id, "mkdir", "/dev/shm/x", env=variable) == (1, "", DOWN)
        minirunc.ok("delete", "--force", id)
        made.args("mkdir /dev/shm/x")
        assert minirunc.run(annotated(made, RECEIVER, paths[1]), env=variable) == (1, "", DOWN)
        made.linux["seccomp"]["listenerPath"] = paths[0]
        assert minirunc.run(made, env=variable) == (1, "", DOWN)
    assert [len(asked.messages) for asked in (first, second, third)] == [1, 1, 2]
    assert third.messages[0]["metadata"] == "m"


def test_receiver_is_an_absolute_path(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """As in crun; listenerPath need not be."""
    made = notifying(bundle(["true"]), "")
    for value in ("agent", "", "@agent"):
        why = f'config.json: annotations["{RECEIVER}"]: the seccomp receiver "{value}" is not an absolute path'
        assert failed(minirunc, annotated(made, RECEIVER, value)) == why
    del made.config["annotations"]
    result = minirunc.run(made, env={**os.environ, "RUN_OCI_SECCOMP_RECEIVER": "agent"})
    assert result.status == 1
    assert "RUN_OCI_SECCOMP_RECEIVER: the seccomp receiver agent is not an absolute path" in result.err


def test_unknown_names_are_an_error_if_asked_for(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Also when the same filter was compiled and kept without; `0` does not ask."""
    made = filtered(bundle(["true"]), profile("ALLOW", rule("nosuchcall", "ALLOW"), rule("mkdir nosuchcall", "ERRNO")))
    assert minirunc.run(annotated(made, FAIL_UNKNOWN, "0")) == (0, "", "")
    for value in ("1", ""):
        told = failed(minirunc, annotated(made, FAIL_UNKNOWN, value))
        assert told == (
            'config.json: linux.seccomp.syscalls[1].names[1]: invalid seccomp syscall "nosuchcall",'
            f" and the annotation {FAIL_UNKNOWN} is set"
        )
    made.linux["seccomp"]["syscalls"][1]["names"] = MKDIR.split()
    assert minirunc.run(made) == (0, "", "")
    assert minirunc.run(made) == (0, "", "")


def test_plugins_are_refused(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """There is no code of others in a runtime."""
    made = annotated(bundle(["true"]), "run.oci.seccomp.plugins", "/usr/lib/x.so")
    why = "there are no seccomp plugins; have an agent listen at linux.seccomp.listenerPath, or use crun"
    assert failed(minirunc, made) == f'config.json: annotations["run.oci.seccomp.plugins"]: {why}'
