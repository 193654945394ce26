"""Attacks by files that the runtime or its caller has open (CVE-2024-21626)."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import IN_UML, Result, Runtime, wait_until

NUMBERS = range(3, 6 if IN_UML else 51)
CREATED_KIB = 100  # of private memory


@contextmanager
def leaking(minirunc: Runtime) -> Iterator[None]:
    """A caller that leaves the host's root directory open at each of these numbers, in all it executes."""
    opened = " ".join(f"{number}</" for number in range(3, 10))  # dash knows one digit
    minirunc.prefix = ["sh", "-c", f'exec {opened}; exec "$@"', "sh"]
    yield
    minirunc.prefix = []


def forms(number: int) -> int:
    """How many ways to name this fd are tried: all three for the lowest."""
    return 3 if number < 9 else 1


def climbing(secret: Path) -> str:
    """A script that tells the host's file if its directory is one of the host's, then where it thinks it is."""
    return f"cat .{'/..' * 30}{secret} ./{secret} 2>/dev/null; pwd; ls /is-container"


def contained(results: list[Result], secret: Path) -> None:
    """Nobody has read the file; who ran at all was in the container; many were refused."""
    for result in results:
        assert secret.read_text() not in result.out
        if result.status == 0:
            assert result.out.splitlines()[-1] == "/is-container"
    refused = [result for result in results if result.status]
    assert len(refused) > len(results) // 2
    for result in refused:
        assert re.search(
            "no such file or directory|not a directory|outside of container|too many levels|permission denied",
            result.err,
        )


def target(bundle: Callable[..., Bundle], tmp_path: Path) -> tuple[Bundle, Path]:
    """A bundle that climbs for the secret, and the secret."""
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    made = bundle(climbing(secret))
    (made.rootfs / "is-container").touch()
    return made, secret


@attack("CVE-2024-21626, cwd", "leaked files", "files above the streams are closed at entry; getcwd is checked")
def test_cwd_that_is_an_open_file_of_the_runtime(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """process.cwd as /proc/self/fd/N, or as a link in the image to it, with a caller that leaks the host's root."""
    made, secret = target(bundle, tmp_path)
    results = []
    with leaking(minirunc):
        for number in NUMBERS:
            link = made.rootfs / f"work{number}"
            link.symlink_to(f"/proc/self/fd/{number}")
            for cwd in (f"/proc/self/fd/{number}", f"/{link.name}", f"/proc/1/fd/{number}")[: forms(number)]:
                made.process["cwd"] = cwd
                results.append(minirunc.run(made))
    contained(results, secret)


@attack("CVE-2024-21626, exec --cwd", "leaked files", "files above the streams are closed at entry; getcwd is checked")
def test_cwd_of_an_exec_that_is_an_open_file_of_the_runtime(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """`exec --cwd`, the directory the image named, and startContainer hooks that begin there."""
    made, secret = target(bundle, tmp_path)
    script = made.process["args"][2]
    made.args(["sleep", "1000"])
    results = []
    with leaking(minirunc):
        id = minirunc.start(made)
        for number in NUMBERS:
            (made.rootfs / f"work{number}").symlink_to(f"/proc/self/fd/{number}")
            ways = (f"/proc/self/fd/{number}", f"/work{number}", f"/proc/self/fd/{number}/..")[: forms(number)]
            results += [minirunc("exec", "--cwd", cwd, id, "sh", "-c", script) for cwd in ways]
    contained(results, secret)


@attack("CVE-2024-21626, program", "leaked files", "all files above the streams are closed before execve")
def test_program_below_an_open_file_of_the_runtime(
    minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """process.args[0] as /proc/self/fd/N/..., for run, exec and startContainer hooks: none of the host's runs."""
    made, secret = target(bundle, tmp_path)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho {secret.read_text()}\n")
    program.chmod(0o755)
    results = []
    with leaking(minirunc):
        id = minirunc.start(bundle(["sleep", "1000"]))
        for number in NUMBERS:
            words = [f"/proc/self/fd/{number}{program}"]
            results.append(minirunc("exec", id, *words))
            if forms(number) == 1:
                continue
            made.args(words)
            results.append(minirunc.run(made))
            made.args(["true"])
            made.config["hooks"] = {"startContainer": [{"path": words[0]}]}
            results.append(minirunc.run(made))
            made.config.pop("hooks")
    assert not [result for result in results if result.status == 0]
    contained(results, secret)


@attack("CVE-2024-21626, hooks", "leaked files", "hooks get the three streams alone")
def test_hooks_inherit_no_open_file(minirunc: Runtime, bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """All six kinds see fds 0 to 2 and no other, whatever the caller leaks."""
    made = bundle(["true"])
    seen = tmp_path / "seen"
    seen.mkdir()
    seen.chmod(0o777)
    made.mount(str(seen), "bind", str(seen), "bind")
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    made.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"set -- /proc/self/fd/*; echo $@ >{seen}/{kind}"]}]
        for kind in kinds
    }
    with leaking(minirunc):
        assert minirunc.run(made).status == 0
    for kind in kinds:
        found = (seen / kind).read_text().split()
        assert [path.rpartition("/")[2] for path in found] == ["0", "1", "2", "3"], kind  # 3 is what it reads them by


@attack("open files of a created container", "leaked files", "it holds its streams and the fifo, and one page of code")
def test_created_container_holds_nothing(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """It waits with fds 0 to 2 and its fifo, and less than 100 KiB of memory of its own; started, with 0 to 2."""
    made = bundle(["sleep", "1000"])
    made.linux["maskedPaths"] += [f"/proc/{number}/none" for number in range(500)]  # large batches
    made.process["env"].append("LONG=" + "x" * 50_000)
    with leaking(minirunc):
        id = minirunc.create(made)
    process = Path(f"/proc/{minirunc.pid(id)}")
    links = {name: os.readlink(process / "fd" / name) for name in os.listdir(process / "fd")}
    others = [link for name, link in links.items() if name not in ("0", "1", "2")]
    assert [link.rpartition("/")[2] for link in others] == ["exec.fifo"]
    rollup = (process / "smaps_rollup").read_text()
    private = sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+) kB", rollup, re.MULTILINE))
    assert 0 < private < CREATED_KIB
    minirunc.ok("start", id)
    wait_until(lambda: (process / "comm").read_text() == "sleep\n", "it has started")
    assert sorted(os.listdir(process / "fd")) == ["0", "1", "2"]
