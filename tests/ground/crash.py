"""Runs a command again and again, each time killed one step later, until it comes through; a program of its own.

    python -I -S crash.py TOP PLAN    PLAN is JSON: before, killed, after: command lines; every: how many steps at once

A step is a file opened, made, renamed or removed, a batch sent to the hand, a system call done, an answer of systemd's.
After each kill the `after` commands must succeed and leave --root empty. Prints how many steps there were. Commands run
in forks of one process, which has imported everything: a hundred crashes take seconds.
"""

import json
import os
import signal
import sys
from typing import Any

if __name__ == "__main__":
    sys.path.append(sys.argv[1])

from minirunc import __main__ as entry
from minirunc.cgroup import dbus
from minirunc.commands import create, delete, run, start, update  # noqa: F401
from minirunc.commands import exec as exec_  # noqa: F401
from minirunc.container import enter, hooks  # noqa: F401
from minirunc.kernel import hand, trace

STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.posix_spawn"}


class Fuse:
    """Kills us at a step."""

    def __init__(self, left: int) -> None:
        self.left = left

    def step(self) -> None:
        """One more is done."""
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_audit(self, event: str, args: tuple[object, ...]) -> None:
        """A step of Python's own."""
        if event in STEPS and not (event == "open" and str(args[0]).endswith((".py", ".pyc"))):
            self.step()

    def watch(self, owner: type, method: str) -> None:
        """Each of its calls is a step."""
        do = getattr(owner, method)

        def watched(*args: object, **named: object) -> Any:
            done = do(*args, **named)
            self.step()
            return done

        setattr(owner, method, watched)

    def light(self) -> None:
        """From now on."""
        self.watch(hand.Hand, "_send")
        self.watch(dbus.Connection, "call")
        trace.sink = lambda _: self.step()
        sys.addaudithook(self.on_audit)


def command(words: list[str], kill_at: int | None = None) -> int:
    """Its exit status, or -9."""
    pid = os.fork()
    if pid == 0:
        sys.argv = ["minirunc", *words]
        if kill_at is not None:
            Fuse(kill_at).light()
        entry.main()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def must(words: list[str], when: str) -> None:
    """Run it; it must succeed."""
    if status := command(words):
        sys.exit(f"{words} ended with {status} {when}")


def main(plan: dict[str, Any]) -> None:
    """Until the command comes through."""
    root = ["--root", plan["root"]]
    step = 0
    while True:
        for words in plan["before"]:
            must([*root, *words], f"before step {step}")
        status = command([*root, *plan["killed"]], step)
        for words in plan["after"]:
            must([*root, *words], f"after step {step}")
        if os.listdir(plan["root"]):
            sys.exit(f"left after step {step}: {os.listdir(plan['root'])}")
        if status != -signal.SIGKILL:
            print(step, status)
            return
        step += plan["every"]


if __name__ == "__main__":
    main(json.loads(sys.argv[2]))
