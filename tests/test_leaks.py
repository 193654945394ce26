"""container/*, library.py: what many containers leave on the host and in a process that uses us: nothing."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ground.bundle import CHECKOUT, Bundle
from tests.ground.host import Host, descendants, descendants_in, nothing_new
from tests.ground.runtime import TIMEOUT_S, Runtime

IN_A_ROW = 200
AT_ONCE = 20


@pytest.mark.alone
def test_two_hundred_in_a_row_leave_nothing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """`run` of true: no process, mount, cgroup, state directory or file."""
    made = bundle(["true"])
    assert minirunc.run(made).status == 0  # makes the mount points in the rootfs
    host = Host(minirunc, made)
    before = host.now()
    for _ in range(IN_A_ROW):
        result = minirunc("run", "--bundle", made.path, minirunc.id())
        assert result == (0, "", "")
    assert descendants().keys() == set(descendants_in(before))  # run has waited for all there was
    nothing_new(host, before)
    assert minirunc.ok("list", "--quiet") == ""


# A life a line, for sh: $M is minirunc, $1 the id; what it prints. Each begins and ends with nothing there.
LIVES = {
    """
    $M create --bundle . $1 && $M start $1 && $M exec $1 echo hello && $M exec --detach $1 sleep 1000
    $M kill $1 KILL && until $M state $1 | grep -q stopped; do :; done && $M delete $1
    """: "hello\n",
    """
    $M run --detach --bundle . $1 && $M exec $1 sh -c 'exit 7' || echo $?
    $M pause $1 && $M delete --force $1
    """: "7\n",
    """
    $M create --pid-file $1.pid --bundle . $1 && $M delete $1 && cat $1.pid | wc -l && rm $1.pid
    """: "0\n",
    """
    $M create --bundle . $1 && $M start $1 && $M exec $1 nosuch 2>/dev/null || echo $?
    $M kill $1 9; $M create --bundle . $1 2>/dev/null || echo $?; $M delete --force $1
    """: "255\n1\n",
    """
    $M run --detach --bundle . $1 && $M run --bundle . $1 2>/dev/null || echo $?
    (until $M ps $1 | grep -q 'sleep 999'; do :; done; $M kill $1 TERM; $M kill $1 KILL) &
    $M exec $1 sleep 999 || echo $?
    wait; until $M delete $1 2>/dev/null; do :; done
    """: "1\n137\n",
}


@pytest.mark.alone
def test_twenty_at_once_leave_nothing(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """create, start, exec, kill, pause and delete of containers that share a bundle, some of them failing."""
    made = bundle("sleep 1000 & wait")
    made.write()
    id = minirunc.start(made)
    minirunc.ok("delete", "--force", id)
    host = Host(minirunc, made)
    before = host.now()
    environ = os.environ | {"M": f"{minirunc.binary} --root {minirunc.root}"}
    running = []
    for script, told in itertools.islice(itertools.cycle(LIVES.items()), AT_ONCE):
        out = tempfile.TemporaryFile("w+", dir=tmp_path)
        argv = ["sh", "-c", script, "sh", minirunc.id()]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
        running.append((subprocess.Popen(argv, cwd=made.path, env=environ, **streams), out, told))
    try:
        for process, out, told in running:
            assert process.wait(TIMEOUT_S) == 0
            assert os.pread(out.fileno(), 4096, 0).decode() == told
    finally:
        for process, out, _ in running:
            process.kill()
            process.wait()
            out.close()
    nothing_new(host, before)
    assert minirunc.ok("list", "--quiet") == ""


# A long-lived process that uses us as a library; argv: the checkout, the state root, an id, two bundles, how often.
# It says what it was before and after, as /proc and its own functions have it.
USER = """
import sys

sys.path.insert(0, sys.argv[1])

import json, os, resource, signal, threading, time

from minirunc.base.errors import Error
from minirunc.container import life
from minirunc.container.birth import Birth, Options
from minirunc.library import Container

root, id, good, bad, times, threads = *sys.argv[2:6], int(sys.argv[6]), int(sys.argv[7])


def seen():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {
        "fds": sorted(link(fd) for fd in os.listdir("/proc/self/fd")),
        "threads": os.listdir("/proc/self/task"),
        "children": open(f"/proc/self/task/{os.getpid()}/children").read().split(),
        "cwd": os.getcwd(),
        "root": os.readlink("/proc/self/root"),
        "namespaces": sorted(os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")),
        "cgroup": open("/proc/self/cgroup").read(),
        "status": {name: status[name].strip() for name in STATUS.split()},
        "handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "mask": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "timers": [signal.getitimer(which) for which in (0, 1, 2)],
        "wakeup": signal.set_wakeup_fd(-1),
        "limits": [resource.getrlimit(which) for which in range(16)],
        "scheduling": [sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0), os.nice(0)],
        "oom_score_adj": open("/proc/self/oom_score_adj").read(),
        "session": [os.getsid(0), os.getpgid(0)],
        "environment": sorted(os.environ.items()),
        "recursion": sys.getrecursionlimit(),
        "streams": [str(sys.stdin), str(sys.stdout), str(sys.stderr)],
    }


STATUS = (
    "Umask Uid Gid Groups SigBlk SigIgn SigCgt CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp TracerPid"
    " Threads NSpid"
)


def link(fd):
    try:
        return [int(fd), os.readlink(f"/proc/self/fd/{fd}")]
    except FileNotFoundError:
        return [-1, "the listing itself"]


def container(name):
    birth = Birth(root, name, Options(good, waits=False))
    state = birth.commit()
    container = Container.load(root, name)
    assert container.status == "running", container.status
    assert container.exec(["sh", "-c", "exit 7"]).wait() == 7
    refused(lambda: container.exec(["/nosuch"]))
    life.kill(container.store, 9)
    assert os.waitpid(state.pid, 0)[1] == 9
    assert container.status == "stopped"
    refused(lambda: container.exec(["true"]))
    life.end(birth.store, state)
    refused(lambda: Container.load(root, name))
    refused(lambda: Birth(root, name, Options(bad, waits=False)))
    refused(lambda: Birth(root, name, Options(bad + "/nosuch", waits=False)))
    refused(lambda: Birth(root, name, Options(good, waits=True)).commit(pid_file="/nosuch/pid"))


def refused(what):
    try:
        what()
    except Error:
        return
    raise AssertionError("it did not fail")


def many(name):
    for _ in range(times):
        container(name)
    done.append(name)


os.umask(0o027)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
done = []
first = threading.Thread(target=int)  # the C library's handler for threads comes with the first
first.start()
first.join()
container(id)  # imports, and the hand's program, which stays open
before = seen()
if threads:
    end = time.monotonic() + 30
    working = [threading.Thread(target=many, args=(f"{id}-{n}",)) for n in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    assert len(done) == threads
    while len(os.listdir("/proc/self/task")) > len(before["threads"]) and time.monotonic() < end:
        time.sleep(0.01)  # the kernel may need a moment after join
else:
    many(id)
print(json.dumps([before, seen()]))
"""


def used(minirunc: Runtime, bundle: Callable[..., Bundle], times: int, threads: int) -> None:
    """Run USER; it is the same after as before, and has printed nothing but what we ask for."""
    good, bad = bundle("sleep 1000"), bundle(["/nosuch"])
    good.write()
    bad.write()
    host = Host(minirunc, good)
    script = [sys.executable, "-IS", "-c", USER, str(CHECKOUT), str(minirunc.root), minirunc.id()]
    argv = [*script, str(good.path), str(bad.path), str(times), str(threads)]
    minirunc.ok("delete", "--force", minirunc.start(good))
    earlier = host.now()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=good.path)
    assert (done.returncode, done.stderr) == (0, "")
    before, after = json.loads(done.stdout)
    assert before["cwd"] == str(good.path)
    assert before["status"]["Umask"] == "0027"
    for what, value in before.items():
        assert after[what] == value, what
    nothing_new(host, earlier)


@pytest.mark.alone
def test_process_that_uses_the_library_is_left_as_it_was(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """50 births, execs and ends, and as many of each kind that fail: fds, threads, cwd, umask, signals, children."""
    used(minirunc, bundle, times=50, threads=0)


@pytest.mark.alone
def test_threads_of_a_process_that_uses_the_library(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """The core starts none and survives theirs: four threads make, use and end containers at the same time."""
    used(minirunc, bundle, times=5, threads=4)
