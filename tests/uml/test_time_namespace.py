"""config.json linux.namespaces: a kind that the kernel lacks, as this one has no time namespaces."""

from collections.abc import Callable

import pytest

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime
from tests.test_namespaces import mapped


@pytest.mark.parametrize("userns", [False, True])
def test_kind_that_this_kernel_lacks_is_named(minirunc: Runtime, bundle: Callable[..., Bundle], userns: bool) -> None:
    """The kernel's "invalid argument" alone would lead nobody there."""
    made = mapped(bundle()) if userns else bundle()
    made.namespace("time")
    made.linux["timeOffsets"] = {"monotonic": {"secs": 5}}
    result = minirunc.run(made)
    assert (result.status, result.out) == (1, "")
    assert "unshare(CLONE_NEWTIME): invalid argument: time namespaces aren't enabled in the kernel" in result.err
