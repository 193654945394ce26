"""System calls that are not there, or that a seccomp filter around minirunc denies: named, with what is needed.

A real filter (tests/ground/filtered.py) answers ENOSYS, as an older kernel does, or EPERM, as engines' old profiles do.
"""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from minirunc.kernel import render, syscalls
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import Result, Runtime

FILTERED = [sys.executable, "-IS", str(Path(__file__).parent / "ground/filtered.py")]
NUMBERS = {name: numbers[syscalls._GENERIC] for name, numbers in syscalls._NUMBERS.items()} | {"pidfd_send_signal": 424}
ENOSYS = ": a seccomp filter around minirunc blocks it"
EPERM = ": a seccomp filter around minirunc may be what denies it"

# Each newer call, and the commands that cannot do without it.
USED = {
    "bpf": {"run"},
    "clone3": {"run", "exec"},
    "close_range": {"run", "exec"},
    "faccessat2": {"run", "exec"},
    "fsconfig": {"run"},
    "fsmount": {"run"},
    "fsopen": {"run"},
    "memfd_create": {"run", "exec"},
    "mount_setattr": {"run"},
    "move_mount": {"run"},
    "open_tree": {"run"},
    "openat2": {"run"},
    "pidfd_getfd": set(),  # only for a listener that cannot be sent
    "pidfd_open": {"exec", "kill"},
    "pidfd_send_signal": {"kill"},
    "seccomp": set(),  # below
    "statx": {"run", "exec"},
}

ONE_RULE = {"names": ["personality"], "action": "SCMP_ACT_ERRNO"}


def denied(minirunc: Runtime, call: str, number: int) -> None:
    """From now on minirunc runs below a filter."""
    minirunc.prefix = [*FILTERED, str(NUMBERS[call]), str(number)]


def refused(result: Result) -> bool:
    """Whether it failed; if not, it had nothing to say."""
    assert result.status or (result.out, result.err) == ("", ""), result
    return bool(result.status)


def commands(minirunc: Runtime, bundle: Bundle, call: str, number: int) -> dict[str, Result]:
    """What each command gives below the filter, for a container made without it; nothing is left of a failed run."""
    found = {}
    denied(minirunc, call, number)
    found["run"] = minirunc.run(bundle)
    assert leftovers.state_directories(minirunc.root) == set()
    assert leftovers.cgroups(minirunc.token) == []
    minirunc.prefix = []
    bundle.args("exec sleep 1000")
    id = minirunc.create(bundle)
    denied(minirunc, call, number)
    for name, *words in (("start",), ("exec", "true"), ("pause",), ("resume",), ("kill", "0"), ("delete",)):
        options = ["--force"] if name == "delete" else []
        found[name] = minirunc(name, *options, id, *words)
    return found


def test_filter_that_kills_is_named(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """As systemd's SystemCallFilter= does without an error number: the hand dies of SIGSYS."""
    minirunc.prefix = [*FILTERED, str(NUMBERS["sethostname"]), "kill"]
    result = minirunc.run(bundle())
    assert result.status == 1
    assert "signal 31 killed it: a seccomp filter around minirunc forbids what it was to call" in result.err
    assert leftovers.state_directories(minirunc.root) == set()


def test_every_newer_call_is_in_the_tables() -> None:
    """A call that a kernel of some years ago lacks is in SINCE, and is taken away here."""
    newer = {name for name, (_, generic) in syscalls._NUMBERS.items() if generic > NUMBERS_OF_3_14}
    assert newer | {"pidfd_send_signal"} == set(syscalls.SINCE)
    assert set(USED) == set(syscalls.SINCE)


NUMBERS_OF_3_14 = 274  # sched_setattr, the last one of the generic table then


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM], ids=["ENOSYS", "EPERM"])
@pytest.mark.parametrize("call", USED)
def test_newer_call_is_done_without_or_named(
    minirunc: Runtime, bundle: Callable[..., Bundle], call: str, number: int
) -> None:
    """One error in one line, the exit status of any failure; what exists can still be deleted."""
    found = commands(minirunc, bundle(), call, number)
    assert {name for name, result in found.items() if refused(result)} == USED[call]
    for name in USED[call]:
        status, out, err = found[name]
        assert (status, out, err.count("\n")) == (255 if name == "exec" else 1, "", 1)
        assert f"{call}(" in err
        assert (ENOSYS if number == errno.ENOSYS else EPERM) in err


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM], ids=["ENOSYS", "EPERM"])
@pytest.mark.parametrize("call", ["capset", "pivot_root", "setgroups", "setns", "unshare"])
def test_older_call_is_never_done_without(
    minirunc: Runtime, bundle: Callable[..., Bundle], call: str, number: int
) -> None:
    """They make the boundary: without one there is no container."""
    found = commands(minirunc, bundle(), call, number)
    failed = {name for name, result in found.items() if refused(result)}
    assert failed & {"run", "exec"}
    assert failed <= {"run", "exec"}
    for name in failed:
        assert found[name].err.count("\n") == 1
        assert f"{call}(" in found[name].err


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM], ids=["ENOSYS", "EPERM"])
def test_process_is_never_without_its_filter(minirunc: Runtime, bundle: Callable[..., Bundle], number: int) -> None:
    """The hand itself says so, in the one line that it has."""
    made = bundle("echo runs")
    made.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [ONE_RULE]}
    denied(minirunc, "seccomp", number)
    why = os.strerror(number).lower()
    assert minirunc.run(made) == (255, "", f"error loading seccomp filter into kernel: {why}\n")


def test_session_keyring_that_is_denied_is_no_container(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Its process would have its caller's keys; --no-new-keyring says that it may."""
    made = bundle()
    denied(minirunc, "keyctl", errno.EPERM)
    result = minirunc.run(made)
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "unable to join the session keyring (create --no-new-keyring keeps the caller's): keyctl(" in result.err
    assert minirunc.run(made, "--no-new-keyring") == (0, "", "")
    denied(minirunc, "keyctl", errno.ENOSYS)  # a kernel without keys
    assert minirunc.run(made) == (0, "", "")


def test_null_device_stays_roots_where_it_cannot_be_told(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The standard streams are given to the process's user, but for /dev/null: unknown is not given."""
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 1000}
    id = minirunc.start(bundle("exec sleep 1000"))
    denied(minirunc, "statx", errno.ENOSYS)
    try:
        assert minirunc("exec", "--user", "1000", id, "true").status == 255
        assert minirunc.run(made).status == 1
        assert os.stat("/dev/null").st_uid == 0
    finally:
        os.chown("/dev/null", 0, 0)


@pytest.mark.parametrize(
    ("release", "call", "said"),
    [
        ("5.4.0-42-generic", "openat2", ": needs Linux 5.6 or newer, this is 5.4.0-42-generic"),
        ("5.11", "mount_setattr", ": needs Linux 5.12 or newer, this is 5.11"),
        ("5.12-rc1", "mount_setattr", ": this kernel was built without it"),
        ("10.0.1", "mount_setattr", ": this kernel was built without it"),
        ("6.1.0", "keyctl", ": this kernel was built without it"),
    ],
)
def test_older_kernel_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, release: str, call: str, said: str
) -> None:
    """By the release that uname(2) gives."""
    monkeypatch.setattr(render, "uname", lambda: SimpleNamespace(release=release))
    assert render.hint(call, errno.ENOSYS) == said


def test_denied_call_without_a_filter_has_no_hint() -> None:
    """It is a matter of rights then."""
    assert render.hint("openat2", errno.EPERM) == ""
