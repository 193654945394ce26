"""Runs the tests of this directory in User-Mode Linux: booted once, each test reported as its own.

Those of a directory in BOOTS are a boot of their own each: with a security module on, with systemd, for an engine.
"""

#   pytest on the host                           User-Mode Linux
#   the first test's turn      -- node ids -->   pytest -p tests.ground.reports runs them all
#   each test's turn:          <-- a file ----   one JSON line a report
#   its reports are repeated

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ground import reports, uml
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML

HERE = Path(__file__).parent
# A group takes up to ten minutes, on a machine under load twice as long.
DEADLINE_S = int(os.environ.get("MINIRUNC_UML_S") or 2400)
# The directory, and what is special about its kernel: options of uml.run.
BOOTS: dict[str, dict[str, Any]] = {
    "apparmor": {"security": "apparmor"},
    "selinux": {"security": "selinux"},
    "systemd": {"systemd": True},
    "docker": {"systemd": True, "memory": "3G"},
    "podman": {"systemd": True, "memory": "3G"},
    "containerd": {"systemd": True, "memory": "3G"},
}
OUTCOME = pytest.StashKey[dict[str, dict[str, list[pytest.TestReport]]]]()
TROUBLE = pytest.StashKey[dict[str, str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests in one xdist worker, so that each kernel is booted once."""
    for item in _ours(items):
        item.add_marker(pytest.mark.xdist_group(_group(item)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """On the host, repeat what the test gave in the other kernel."""
    if IN_UML or not _ours([item]):
        return None
    group = _group(item)
    outcomes = item.config.stash.setdefault(OUTCOME, {})
    troubles = item.config.stash.setdefault(TROUBLE, {})
    if group not in outcomes:
        outcomes[group], troubles[group] = _run_all(item.session, group)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    told = outcomes[group].get(_bare(item), [])
    for report in told:
        report.nodeid = item.nodeid
        item.ihook.pytest_runtest_logreport(report=report)
    if not any(report.when == "teardown" for report in told):
        trouble = troubles[group] or "User-Mode Linux did not report this test"
        item.ihook.pytest_runtest_logreport(report=_failed(item, trouble))
        troubles[group] = trouble.splitlines()[0]  # the whole of it once is enough
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run_all(session: pytest.Session, group: str) -> tuple[dict[str, list[pytest.TestReport]], str]:
    """Run this session's tests of a group there: the reports, and what went wrong with the ground."""
    command = shlex.split("-m pytest -p tests.ground.reports -p no:cacheprovider")
    command = [sys.executable, *command, *(_bare(item) for item in _ours(session.items) if _group(item) == group)]
    with tempfile.TemporaryDirectory(prefix="minirunc-reports-", dir="/var/tmp") as directory:
        file = Path(directory) / "reports"
        environment = {reports.FILE: str(file), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {name: os.environ[name] for name in os.environ if name.startswith("MINIRUNC")}
        trouble = ""
        try:
            boot = BOOTS.get(group.removeprefix("uml-"), {})
            result = uml.run(command, deadline_s=DEADLINE_S, environment=environment, **boot)
            if result.status not in (0, 1):
                trouble = f"pytest in User-Mode Linux ended with {result.status}:\n{result.output}"
        except uml.GroundError as error:
            trouble = str(error)
        return reports.read(session.config, file), trouble


def _ours(items: list[pytest.Item]) -> list[pytest.Item]:
    return [item for item in items if HERE in item.path.parents]


def _group(item: pytest.Item) -> str:
    """Which boot the test is in."""
    directory = item.path.parent.name
    return f"uml-{directory}" if directory in BOOTS else "uml"


def _bare(item: pytest.Item) -> str:
    # xdist's loadgroup adds @group to the node ids of its workers.
    return item.nodeid.removesuffix(f"@{_group(item)}")


def _failed(item: pytest.Item, why: str) -> pytest.TestReport:
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "setup")


@pytest.fixture
def limited(bundle: Callable[..., Bundle]) -> Callable[..., Bundle]:
    """Make a bundle with linux.resources: `limited("cat /sys/fs/cgroup/pids.max", pids={"limit": 9})`."""

    def make(args: str | Sequence[str], **resources: object) -> Bundle:
        made = bundle(args)
        made.linux["resources"].update(resources)
        return made

    return make


@pytest.fixture
def disk() -> Iterator[Path]:
    """A loop device of 16 MiB, its file on a tmpfs."""
    file = Path("/dev/shm/disk")
    file.write_bytes(bytes(16 << 20))
    name = subprocess.run(["losetup", "--show", "-f", file], check=True, capture_output=True, text=True).stdout
    yield Path(name.strip())
    subprocess.run(["losetup", "-d", name.strip()], check=True)
    file.unlink()
