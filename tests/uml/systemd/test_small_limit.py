"""A memory limit of 256 KiB in a unit of systemd's."""

import pytest

from tests.uml.test_small_limit import (
    small,
    test_create_and_start,
    test_exec,
    test_limit_is_on_while_the_container_is_made,
    test_run,
)

__all__ = ["small", "test_create_and_start", "test_exec", "test_limit_is_on_while_the_container_is_made", "test_run"]


@pytest.fixture
def driver() -> tuple[str, ...]:
    """Global options of every command."""
    return ("--systemd-cgroup",)
