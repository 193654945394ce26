"""Attacks on cgroups of the host's that belong to the user whose container it is (CVE-2023-25809)."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attacks.table import attack
from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.rootless import USER, given, ordinary_user
from tests.ground.runtime import Runtime

# Every directory below that may be written, by trying, as access(2) is not all there is.
WRITABLE = "for d in $(find /sys/fs/cgroup -type d); do mkdir $d/made-inside 2>/dev/null && echo $d; done; true"


HIDDEN = "what is shown of others' cgroups is read-only, or covered"


@contextmanager
def owner_of_one(minirunc: Runtime) -> Iterator[Path]:
    """A user whose own cgroup is his, though not that above: he can make none beside it, but in it."""
    with ordinary_user(minirunc, delegated=False) as directory:
        own = _own(minirunc)
        for name in (".", "cgroup.procs", "cgroup.subtree_control"):
            os.chown(own / name, USER, USER)
        yield directory
        for path in own.glob("**/made-inside"):
            path.rmdir()


def _own(minirunc: Runtime) -> Path:
    (own,) = leftovers.cgroup2_mounts()[0].glob(f"t{minirunc.token}-*/own")
    return own


def in_sys(made: Bundle, *options: str) -> Bundle:
    """The host's /sys bound, as `spec --rootless` has it, and a cgroup mount with these options."""
    made.config["mounts"] = [mount for mount in made.config["mounts"] if not mount["destination"].startswith("/sys")]
    made.mount("/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
    if options:
        made.mount("/sys/fs/cgroup", "cgroup", "cgroup", *options)
    return made


@attack("CVE-2023-25809", "cgroups", HIDDEN)
@pytest.mark.parametrize("namespace", [True, False])
@pytest.mark.parametrize("options", [("rw",), ("ro",), ()])
def test_cgroup_of_its_caller_is_not_writable(
    minirunc: Runtime, bundle: Callable[..., Bundle], namespace: bool, options: tuple[str, ...]
) -> None:
    """No cgroup of the container's own: what is shown of its caller's is read-only, whatever the options, or hidden."""
    with owner_of_one(minirunc) as home:
        made = in_sys(given(bundle(WRITABLE), home), *options)
        if not namespace:
            made.without_namespace("cgroup")
        assert minirunc.run(made) == (0, "", "")
        assert not list(_own(minirunc).glob("**/made-inside"))


def test_without_cgroup_and_namespace_nothing_is_shown(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """cgroup2 cannot be mounted and there is no cgroup to bind: an empty read-only directory covers the host's."""
    with owner_of_one(minirunc) as home:
        made = in_sys(given(bundle("ls -A /sys/fs/cgroup; touch /sys/fs/cgroup/x"), home), "rw")
        made.without_namespace("cgroup")
        result = minirunc.run(made)
    assert result.out == ""
    assert "/sys/fs/cgroup/x: Read-only file system" in result.err


@attack("CVE-2023-25809, delegated", "cgroups", "only the container's own cgroup is shown to be written")
@pytest.mark.parametrize("namespace", [True, False])
def test_cgroup_of_its_own_is_all_that_is_writable(
    minirunc: Runtime, bundle: Callable[..., Bundle], namespace: bool
) -> None:
    """In a delegated cgroup: its own, at /sys/fs/cgroup, if the mount is not read-only; none of the host's others."""
    with ordinary_user(minirunc) as home:
        made = in_sys(given(bundle(f"{WRITABLE}; rmdir /sys/fs/cgroup/made-inside"), home), "rw")
        if not namespace:
            made.without_namespace("cgroup")
        assert minirunc.run(made) == (0, "/sys/fs/cgroup\n", "")
