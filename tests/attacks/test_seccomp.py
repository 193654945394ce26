"""Attacks on the system call filter: forged before it is loaded, or got round before it is on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.attackers import give_python
from tests.attacks.table import attack
from tests.attacks.test_tracing import attacked, held, tracer
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Runtime
from tests.ground.seccomp import docker, filtered, profile, rule

COUNT = 30 if IN_UML else 500
DENIED = (1, "", "mkdir: can't create directory '/x': Network is down\n")


@pytest.mark.parametrize("uid", [0, 1000])
@attack("traced before the filter is on", "tracing the runtime", "not dumpable, with CAP_SYS_ADMIN up to the execve")
def test_hand_is_not_traced_before_its_filter_is_on(minirunc: Runtime, bundle: Callable[..., Bundle], uid: int) -> None:
    """Without no_new_privs, root or the same user: what opens has the container's filter and rights on."""
    made = filtered(tracer(bundle()), docker())
    made.process["noNewPrivileges"] = False
    made.process["user"] = {"uid": uid, "gid": uid}
    os.chown(made.rootfs, uid, uid)
    told = attacked(minirunc, made, COUNT)
    held(told)


FORGER = """
import os
told = []
for directory, _, files in os.walk("/state"):
    for name in ["new", *files]:
        for path in (f"{directory}/{name}", f"{directory}/:seccomp/{name}"):
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
                told.append(path)
            except OSError as error:
                told.append(error.strerror)
for way in (lambda: os.rename("/state/:seccomp", "/state/x"), lambda: os.mkdir("/state/:seccomp/x"),
            lambda: os.listdir("/state/:seccomp"), lambda: os.chmod("/state/:seccomp", 0o777)):
    try:
        way()
        told.append("done")
    except OSError as error:
        told.append(error.strerror)
print(len(told), *sorted(set(told)), sep=", ")
"""


@attack("filters forged from inside", "names and paths", "they are root's, and nobody else may look there")
def test_user_inside_cannot_change_kept_filters(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A user who is given the state root as a volume, even one that is open to look at."""
    victim = filtered(bundle("mkdir /x"), profile("ALLOW", rule("mkdir mkdirat", "ERRNO", errno=100)))
    assert minirunc.run(victim) == DENIED
    minirunc.root.chmod(0o755)
    attacker = bundle()
    give_python(attacker, FORGER)
    attacker.mount("/state", "bind", str(minirunc.root), "bind", "rw")
    attacker.process["user"] = {"uid": 1000, "gid": 1000}
    result = minirunc.run(attacker)
    assert (result.status, result.err) == (0, "")
    count, *answers = result.out.strip().split(", ")
    assert int(count) >= 6
    assert set(answers) <= {"Permission denied", "Operation not permitted"}, result.out
    assert minirunc.run(victim) == DENIED


def forge(minirunc: Runtime, victim: Bundle, allowing: Bundle, uid: int) -> Path:
    """A file that is right in all but its owner: what allows all, under the digests of what does not."""
    from minirunc.container.filters import digest  # the attacker knows the form

    assert minirunc.run(victim) == DENIED
    (file,) = (minirunc.root / ":seccomp").iterdir()
    assert minirunc.run(allowing).status == 0
    (other,) = set(file.parent.iterdir()) - {file}
    text = other.read_bytes()[32:]
    other.unlink()
    file.write_bytes(digest(bytes.fromhex(file.name), text) + text)
    os.chown(file, uid, uid)
    return file


@attack("filters forged beforehand", "names and paths", "owner and mode are looked at, of file and directory")
def test_forged_filter_of_another_owner_is_not_loaded(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """It would be loaded if it were root's, so the forgery is one; it is not for its owner's, or its directory's."""
    victim = filtered(bundle("mkdir /x"), profile("ALLOW", rule("mkdir mkdirat", "ERRNO", errno=100)))
    allowing = filtered(bundle("true"), profile("ALLOW"))
    file = forge(minirunc, victim, allowing, 0)
    forged = file.read_bytes()
    assert minirunc.run(victim) == (0, "", "")
    (victim.rootfs / "x").rmdir()
    os.chown(file, 1000, 1000)
    assert minirunc.run(victim) == DENIED
    assert file.read_bytes() != forged
    file.write_bytes(forged)
    os.chown(file.parent, 1000, 1000)
    assert minirunc.run(victim) == DENIED
