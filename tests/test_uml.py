"""tests/ground/uml.py: the harness that boots the second kernel."""

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.ground import uml
from tests.ground.runtime import wait_until


def test_status_and_output_come_back() -> None:
    """The command's exit status, stdout and stderr are what it gave."""
    assert uml.run(["sh", "-c", "echo out; echo err >&2; exit 7"]) == (7, "out\nerr\n")


def test_command_runs_in_the_current_directory_with_the_environment_given() -> None:
    """The host's files are there under the same names."""
    result = uml.run(["sh", "-c", 'pwd; echo "$WORD"; uname -n'], environment={"WORD": "two words"})
    assert result == (0, f"{os.getcwd()}\ntwo words\numl\n")


def test_systemd_is_the_first_process_if_asked_for(tmp_path: Path) -> None:
    """The command is a service of it, and its status, output and directory come back as they do without."""
    result = uml.run(["sh", "-c", "pwd; cat /proc/1/comm /proc/self/cgroup; exit 7"], systemd=True)
    assert result == (7, f"{os.getcwd()}\nsystemd\n0::/system.slice/ground.service\n")


def test_systemd_writes_nothing_of_the_hosts() -> None:
    """What is written is gone with it; but below /var/tmp it stays, as without systemd."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as kept, tempfile.TemporaryDirectory(dir="/opt") as lost:
        script = f"test -d {lost} && touch {kept}/made {lost}/made /etc/minirunc-made; rm -r /etc/machine-id"
        assert uml.run(["sh", "-c", script], systemd=True) == (0, "")
        assert os.listdir(kept) == ["made"]
        assert os.listdir(lost) == []
        assert not os.path.exists("/etc/minirunc-made")
        assert os.path.exists("/etc/machine-id")


def test_two_at_once() -> None:
    """Two kernels run side by side, each with its own result."""
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda word: uml.run(["echo", word]), ["one", "two"]))
    assert results == [(0, "one\n"), (0, "two\n")]


def test_deadline_ends_it_and_leaves_no_process(tmp_path: Path) -> None:
    """A command that hangs is an error of the ground, and the kernel's processes are gone."""
    with pytest.raises(uml.GroundError, match="not done within 8 s"):
        uml.run(["sh", "-c", f"echo begun; touch {tmp_path}/begun; sleep 1000"], deadline_s=8)
    assert (tmp_path / "begun").exists()
    # The kernel's own children may need a moment to be reaped after their namespace is gone.
    time.sleep(0.5)
    assert _kernels_of(tmp_path) == []


def test_kernel_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    """A test run that is killed leaves no kernel that goes on for ever."""
    command = [sys.executable, "-m", "tests.ground.uml", "sh", "-c", f"touch {tmp_path}/begun; sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as starter:
        wait_until((tmp_path / "begun").exists, "it has booted")
        (first,) = _children(starter.pid)
        (kernel,) = _children(first)
        pidfd = os.pidfd_open(kernel)
        (box,) = re.findall(r"\binit=(\S+)/init\b", Path(f"/proc/{kernel}/cmdline").read_text().replace("\0", " "))
        starter.kill()
    # Dead, but perhaps not waited for: a test before this one may have made us the one to adopt it.
    ended = select.select([pidfd], [], [], 60)[0]
    os.close(pidfd)
    assert ended
    shutil.rmtree(box)  # which who was killed cannot have removed


def test_kernel_that_dies_is_an_error() -> None:
    """A ground that ends before its command does not pass for a result."""
    with pytest.raises(uml.GroundError, match="ended before the command did"):
        uml.run(["sh", "-c", "echo o > /proc/sysrq-trigger; sleep 60"])


def test_missing_kernel_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without linux.uml the answer names the package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(uml.GroundError, match="package user-mode-linux"):
        uml.run(["true"])


def test_kernel_that_does_not_boot_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it said on its console is in the error."""
    fake = tmp_path / "linux.uml"
    fake.write_text("#!/bin/sh\necho no memory\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(uml.GroundError, match="did not boot:\nno memory"):
        uml.run(["true"])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _kernels_of(directory: Path) -> list[str]:
    """Command lines of processes that have to do with this directory, but ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_text()
            except OSError:
                continue
            if str(directory) in line and sys.executable not in line:
                found.append(line)
    return found
