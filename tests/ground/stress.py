"""Many containers: one after the other, at once, their commands killed at any moment; with either driver.

How many is told by the environment, so that a short run is part of all tests and a long one is a word away:
MINIRUNC_CYCLES=1000, MINIRUNC_AT_ONCE=100, MINIRUNC_KILLS=500; MINIRUNC_SEED is that of a run that failed.
"""

import os
import random
import secrets
import subprocess
import time
from collections.abc import Sequence

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.host import Host, dying_cgroups, nothing_new, open_files
from tests.ground.runtime import IN_UML, TIMEOUT_S, Result, Runtime, wait_until

CYCLES = int(os.environ.get("MINIRUNC_CYCLES") or (8 if IN_UML else 40))
AT_ONCE = int(os.environ.get("MINIRUNC_AT_ONCE") or (8 if IN_UML else 100))
KILLS = int(os.environ.get("MINIRUNC_KILLS") or (6 if IN_UML else 60))
SEED = os.environ.get("MINIRUNC_SEED") or secrets.token_hex(4)

DYING_S = 60  # until the kernel has let go of all removed cgroups but some
DYING = 10  # that may stay
FILES = 32  # as the kernel counts them, by the batch

# Commands to be killed, each with those before it. ID and BUNDLE are filled in.
VICTIMS: list[tuple[list[str], str]] = [
    ([], "create --bundle BUNDLE ID"),
    ([], "run --detach --bundle BUNDLE ID"),
    ([], "run --bundle BUNDLE ID"),
    (["create --bundle BUNDLE ID"], "start ID"),
    (["create --bundle BUNDLE ID"], "delete ID"),
    (["run --detach --bundle BUNDLE ID"], "exec ID sleep 1000"),
    (["run --detach --bundle BUNDLE ID"], "exec --detach ID sleep 1000"),
    (["run --detach --bundle BUNDLE ID"], "pause ID"),
    (["run --detach --bundle BUNDLE ID", "pause ID"], "resume ID"),
    (["run --detach --bundle BUNDLE ID"], "kill ID KILL"),
    (["run --detach --bundle BUNDLE ID"], "delete --force ID"),
    (["run --detach --bundle BUNDLE ID", "pause ID"], "delete --force ID"),
]
# On the host the controller is not of cgroup v2, and nothing can be updated.
if IN_UML:
    VICTIMS.append((["run --detach --bundle BUNDLE ID"], "update --pids-limit 99 ID"))
# These end with the container's process alone: what they have to do until then takes as long as another's.
LIKE = {
    "run --bundle BUNDLE ID": "run --detach --bundle BUNDLE ID",
    "exec ID sleep 1000": "exec --detach ID sleep 1000",
}
NOWHERE = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def cycles(minirunc: Runtime, made: Bundle, count: int = CYCLES) -> str:
    """Lives one after the other, of three kinds by turns; all is as before, and the removed cgroups go. Tells figures.

    `made` sleeps; the same id again and again, and each time another.
    """
    made.write()
    id = minirunc.id()
    life(minirunc, made, id, 0)  # makes the mount points in the rootfs, and systemd's slices
    life(minirunc, made, id, 1)
    host = Host(minirunc, made)
    before, dying, most, opened = host.now(), dying_cgroups(), 0, open_files()
    began = time.monotonic()
    for number in range(count):
        life(minirunc, made, id if number % 2 else minirunc.id(), number)
        most = max(most, dying_cgroups())
    took = time.monotonic() - began
    nothing_new(host, before)
    wait_until(lambda: dying_cgroups() <= dying + DYING, "the removed cgroups go", DYING_S)
    if IN_UML:  # where nobody else opens any
        wait_until(lambda: open_files() < opened + FILES + count / 10, "no file stays open")
    told = f"{count} lives in {took:.0f} s; dying cgroups: {dying} before, at most {most}, {dying_cgroups()} after"
    told += f"; open files: {opened} before, {open_files()} after"
    print(told)
    return told


def life(minirunc: Runtime, made: Bundle, id: str, number: int) -> None:
    """create, start, delete; or run; or all that there is."""
    if number % 3 == 0:
        minirunc.ok("create", "--bundle", made.path, id)
        minirunc.ok("start", id)
        minirunc.ok("delete", "--force", id)
    elif number % 3 == 1:
        made.args(["true"])
        made.write()
        assert minirunc("run", "--bundle", made.path, id) == Result(0, "", "")
        made.args(["sleep", "1000"])
        made.write()
    else:
        minirunc.ok("run", "--detach", "--bundle", made.path, id)
        assert minirunc.ok("exec", id, "echo", "hello") == "hello\n"
        minirunc.ok("kill", id, "KILL")
        minirunc.wait_for_status(id, "stopped")
        minirunc.ok("delete", id)


def at_once(minirunc: Runtime, made: Bundle, count: int = AT_ONCE) -> str:
    """As many creates at the same time, then starts, then deletes: each works, all are there, nothing is left."""
    made.write()
    life(minirunc, made, minirunc.id(), 0)
    host = Host(minirunc, made)
    before = host.now()
    ids = [minirunc.id() for _ in range(count)]
    took = []
    for words, status in (
        (["create", "--bundle", made.path], "created"),
        (["start"], "running"),
        (["pause"], "paused"),
    ):
        took.append(all_at_once(minirunc, [[*words, id] for id in ids]))
        listed = minirunc.ok("list").splitlines()[1:]
        assert sorted(line.split()[0] for line in listed) == sorted(ids)
        assert {line.split()[2] for line in listed} == {status}
        assert len(set(map(minirunc.cgroup, ids[:: max(1, count // 10)]))) == len(ids[:: max(1, count // 10)])
    took.append(all_at_once(minirunc, [["delete", "--force", id] for id in ids]))
    nothing_new(host, before)
    assert minirunc.ok("list", "--quiet") == ""
    told = f"{count} at once: create, start, pause, delete took {', '.join(f'{one:.1f}' for one in took)} s"
    print(told)
    return told


def all_at_once(minirunc: Runtime, commands: Sequence[Sequence[object]]) -> float:
    """Run them at the same time; each must succeed and say nothing. How long it took."""
    with open(minirunc.root.parent / "said", "w+") as said:
        began = time.monotonic()
        running = [
            subprocess.Popen(minirunc.argv(*command), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            for command in commands
        ]
        try:
            statuses = [process.wait(5 * TIMEOUT_S) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
        took = time.monotonic() - began
        said.seek(0)
        assert (set(statuses), said.read()) == ({0}, "")
    return took


def kills(minirunc: Runtime, made: Bundle, count: int = KILLS) -> str:
    """SIGKILL to a command at any moment, then `delete --force`: nothing is left, and the id is free again."""
    made.write()
    id = minirunc.id()
    children = leftovers.children()
    lasts: dict[str, float] = {}
    done = 0
    for number in range(count):
        chosen = random.Random(f"{SEED}-{number}")
        (before, killed), chance = chosen.choice(VICTIMS), chosen.random()
        if killed not in lasts:
            lasts[killed] = duration(minirunc, made, id, before, LIKE.get(killed, killed))
        what = f"MINIRUNC_SEED={SEED}, kill {number}: `{killed}` after {chance * lasts[killed]:.4f} s"
        for words in before:
            minirunc.ok(*filled(words, made, id))
        process = minirunc.popen(*filled(killed, made, id), **NOWHERE)
        time.sleep(chance * lasts[killed])
        done += process.poll() is None
        process.kill()
        process.wait()
        result = minirunc("delete", "--force", id)
        assert result == Result(0, "", ""), what
        assert leftovers.state_directories(minirunc.root) == set(), what
        gone(minirunc, children, what)
    told = f"{done} of {count} commands were killed before their end (seed {SEED})"
    print(told)
    return told


def gone(minirunc: Runtime, children: set[int], what: str) -> None:
    """No process, unit or cgroup is there, at the latest when systemd and the hand of who was killed have seen it."""
    found: list[str] = []

    def none() -> bool:
        found[:] = [f"process {pid}" for pid in leftovers.alive(children)]
        found.extend(leftovers.units(minirunc.token))
        found.extend(f"cgroup {path}" for path in leftovers.cgroup_directories(minirunc.token))
        return not found

    try:
        wait_until(none, "", 10)
    except AssertionError:
        raise AssertionError(f"{what}: left: {', '.join(found)}") from None


def duration(minirunc: Runtime, made: Bundle, id: str, before: Sequence[str], killed: str) -> float:
    """How long the command takes, in s, and a little more: it may have a slow moment."""
    for words in before:
        minirunc.ok(*filled(words, made, id))
    began = time.monotonic()
    minirunc.ok(*filled(killed, made, id))
    took = time.monotonic() - began
    minirunc.ok("delete", "--force", id)
    return took * 1.1


def filled(line: str, made: Bundle, id: str) -> list[str]:
    """The words of a command line."""
    return [{"ID": id, "BUNDLE": str(made.path)}.get(word, word) for word in line.split()]
