"""Fixtures for all tests: a busybox root file system, bundles, the runtime, a watch on what it leaves."""

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from minirunc.kernel import syscalls
from minirunc.kernel.hand import Hand
from minirunc.kernel.hand_code import MACHINES, machine
from tests.attacks import table
from tests.ground import bundle as bundles
from tests.ground import compare, hands, leftovers
from tests.ground.runtime import PURE_V2, Runtime


def pytest_configure() -> None:
    """Have SIGINT end our children, also where we are a shell's background job, in which it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A busybox root file system, shared by the session: to copy, not to change."""
    return bundles.busybox_rootfs(tmp_path_factory.mktemp("busybox") / "rootfs")


@pytest.fixture
def bundle(tmp_path: Path, busybox: Path) -> Callable[..., bundles.Bundle]:
    """Make a fresh bundle: `bundle("id -u")` runs a script, `bundle(["id", "-u"])` a program."""
    count = 0

    def make(args: str | Sequence[str] = ("true",)) -> bundles.Bundle:
        nonlocal count
        count += 1
        return bundles.make(tmp_path / f"bundle{count}", busybox, args)

    return make


@pytest.fixture
def minirunc(tmp_path: Path) -> Iterator[Runtime]:
    """The runtime under test; the test fails if it leaves a state directory, process, unit, cgroup or mount."""
    if os.geteuid() != 0:
        pytest.fail("needs root: `make test` starts the tests so")
    leftovers.become_subreaper()
    runtime = Runtime(tmp_path)
    yield runtime
    left = runtime.close()
    assert not left, "left behind:\n  " + "\n  ".join(left)


@pytest.fixture
def pure_v2(minirunc: Runtime) -> list[str]:
    """Have `minirunc` run where cgroup v2 is on /sys/fs/cgroup; the prefix, for other commands."""
    minirunc.prefix = PURE_V2
    return PURE_V2


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """The test fails if it leaves a process of ours, living or dead, or an open file."""
    leftovers.become_subreaper()
    Hand().kill()  # the program's memfd stays open by design
    before = leftovers.children(), hands.fds()
    yield
    assert leftovers.children() == before[0]
    assert hands.fds() == before[1]


@pytest.fixture
def hand() -> Iterator[Hand]:
    """A hand of this machine, in our namespaces."""
    hand = Hand()
    yield hand
    hand.kill()


@pytest.fixture(params=[machine(), *(name for name in MACHINES if name != machine())])
def any_hand(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    """A hand of each machine, the foreign ones under qemu-user."""
    if request.param == machine():
        hand = Hand()
    else:
        monkeypatch.setattr(syscalls, "_GENERIC", request.param != "x86_64")
        hand = hands.under_qemu(request.param, tmp_path)
    yield hand
    hand.kill()


@pytest.fixture
def place(tmp_path: Path) -> SimpleNamespace:
    """A directory (`path`), a file of ten bytes in it (`digits`), and a name that is free (`none`)."""
    (tmp_path / "digits").write_text("0123456789")
    return SimpleNamespace(path=tmp_path, digits=str(tmp_path / "digits"), none=str(tmp_path / "none"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip that does not say why is a failure; an attack is noted for the table."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if why.removeprefix("Skipped").strip(": ") in ("", "unconditional skip"):
            report.outcome, report.longrepr = "failed", f"{item.nodeid}: a skipped test must say why"
    table.note(item, report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables of attacks and of engines."""
    table.summary(terminalreporter)
    compare.summary(terminalreporter)
