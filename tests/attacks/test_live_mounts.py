"""Attacks on `mounts add` and `mounts remove`: names inside are turned elsewhere while the caller changes mounts."""

import json
from collections import Counter
from collections.abc import Callable

from tests.attacks.table import attack
from tests.attacks.test_races import swapping
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Result, Runtime, wait_until

MANY = 3 if IN_UML else 20
NO_LINK = "removed is what is reached over no link"


class Target:
    """A container that runs, and what is mounted in it."""

    def __init__(self, minirunc: Runtime, made: Bundle) -> None:
        self.minirunc = minirunc
        self.id = minirunc.start(made)
        self.before = self.mounted()

    def change(self, verb: str, destination: str) -> Result:
        mount = {"destination": destination, "type": "tmpfs", "source": "tmpfs"}
        return self.minirunc("mounts", verb, self.id, "-", input=json.dumps([mount]))

    def mounted(self) -> list[str]:
        """The mounts by their ids, so that one which has moved is the same."""
        lines = self.minirunc.ok("exec", self.id, "cat", "/proc/1/mountinfo").splitlines()
        return [line.split()[0] for line in lines]

    def refused(self, result: Result) -> bool:
        """Whether it was: by one error."""
        assert result.status in (0, 1), result
        assert len(result.err.splitlines()) == result.status, result.err
        return result.status == 1


@attack("mounts remove over a link to a mask", "masks and devices", NO_LINK)
def test_link_to_a_mask(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Neither a link itself, nor one on the way, has what protects the host taken away: the error says what to do."""
    made = bundle("exec sleep 1000")
    (made.rootfs / "itself").symlink_to("/proc/sys")
    (made.rootfs / "above").symlink_to("/proc")
    (made.rootfs / "out").symlink_to("proc/self/root")
    target = Target(minirunc, made)
    for name in ("/itself", "/above/sys", "/above/keys", "/out/proc/sys", "/out/sys"):
        result = target.change("remove", name)
        assert target.refused(result)
        assert f"{name} leads over a link; name the mount as /proc/1/mountinfo inside does" in result.err
    assert target.mounted() == target.before


@attack("mounts add and remove, names exchanged", "races for a path", f"looked at again, taken back; {NO_LINK}")
def test_names_exchanged(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """What was added is there, or nothing is; what is removed is that, never a mask: and both outcomes were seen."""
    made = bundle("exec sleep 1000")
    for name in ("d", "other"):
        (made.rootfs / name / "kernel").mkdir(parents=True)
    (made.rootfs / "to-other").symlink_to("other")
    (made.rootfs / "to-proc").symlink_to("/proc/sys")
    target = Target(minirunc, made)
    seen: Counter[tuple[str, bool]] = Counter()
    with swapping(made.rootfs / "d", made.rootfs / "to-other", made.rootfs / "to-proc"):
        for index in range(20 * MANY):
            if index >= MANY and len(seen) == 4:
                break
            refused = target.refused(target.change("add", "/d/kernel"))
            seen["add", refused] += 1
            now = target.mounted()
            assert now[: len(target.before)] == target.before
            assert len(now) == len(target.before) + (not refused)
            if not refused:
                seen["remove", target.refused(target.change("remove", "/d/kernel"))] += 1
                assert target.mounted() in (now, target.before)
                wait_until(lambda: cleared(target), "what was added is removed")
    print(dict(seen))  # with -s
    assert len(seen) == 4, seen


def cleared(target: Target) -> bool:
    """Try to remove what was added, wherever it is by now; whether it is gone."""
    for place in ("/d/kernel", "/other/kernel", "/to-other/kernel", "/to-proc/kernel"):
        target.change("remove", place)
    now = target.mounted()
    assert now[: len(target.before)] == target.before
    return now == target.before
