"""What goes wrong for the runtime must not leave a process less confined than its config says."""

from collections.abc import Callable

from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime


@attack("the bounding set of a runtime without CAP_SETPCAP", "rights and ids", "each drop is judged")
def test_bounding_set_that_cannot_be_dropped(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """A set-user-ID program inside would get what was to be gone."""
    made = bundle("grep CapBnd /proc/self/status")
    minirunc.prefix = ["setpriv", "--bounding-set", "-setpcap"]
    status, out, err = minirunc.run(made)
    assert (status, out) == (1, "")
    assert "CAP_CHOWN cannot be taken from the bounding set: the runtime itself lacks CAP_SETPCAP" in err
