"""Attacks in a pod: the container that came first, root of the user namespace that the others join."""

import json
from collections.abc import Callable

from tests.attacks.attackers import give_user_namespace
from tests.attacks.table import attack
from tests.attacks.test_tracing import held, tracer
from tests.ground.bundle import Bundle
from tests.ground.rootless import given, ordinary_user
from tests.ground.runtime import IN_UML, Runtime, wait_until

COUNT = 3 if IN_UML else 30
SHARED = {"user": "user", "pid": "pid", "network": "net", "ipc": "ipc"}


def joined_while_traced(minirunc: Runtime, first: Bundle, second: Bundle) -> None:
    """The first container is a tracer; the second one is run in its namespaces, again and again."""
    id = minirunc.start(first)
    wait_until((first.rootfs / "ready").exists, "the tracer is at work")
    for kind, name in SHARED.items():
        second.namespace(kind, path=f"/proc/{minirunc.pid(id)}/ns/{name}")
    second.process["capabilities"] = first.process["capabilities"]
    second.linux["seccomp"] = first.linux["seccomp"]
    for _ in range(COUNT):
        result = minirunc.run(second)
        assert result.status == 0, result.err
    (first.rootfs / "stop").touch()
    wait_until((first.rootfs / "report").exists, "the tracer tells")
    minirunc.wait_for_status(id, "stopped")
    minirunc.ok("delete", id)
    told = json.loads((first.rootfs / "report").read_text())
    held(told)


@attack("a pod's next container traced", "tracing the runtime", "the hand is executed outside, then joins")
def test_next_container_of_a_pod_is_not_traced(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Same user and pid namespace: CAP_SYS_PTRACE there is not good for a hand whose memory is the outer one's."""
    first, second = tracer(bundle(), "CAP_SYS_PTRACE"), bundle(["sleep", "0.01"])
    for made in (first, second):
        give_user_namespace(made)
    joined_while_traced(minirunc, first, second)


@attack("a rootless pod's next container traced", "tracing the runtime", "the hand is executed outside, then joins")
def test_next_container_of_an_ordinary_users_pod_is_not_traced(
    minirunc: Runtime, bundle: Callable[..., Bundle]
) -> None:
    """The same, of a user who runs both."""
    with ordinary_user(minirunc) as home:
        first, second = given(bundle(), home), given(bundle(["sleep", "0.01"]), home)
        joined_while_traced(minirunc, tracer(first, "CAP_SYS_PTRACE"), second)
