"""Births of containers from changed configs, each created and deleted; a program in namespaces of its own.

    unshare -m -u -i -n --propagation private python -m tests.fuzz.births MINIRUNC DIRECTORY TOKEN [SEED COUNT]

Without a seed, each line of stdin is a config, each line of stdout what is wrong with its run (`""` if nothing is),
whether it was started, and what was said.
A config works or gets one clean error; either way nothing is left. DIRECTORY holds rootfs/. Prints a JSON summary.
What could reach the host is put back before a config is used (`tamed`): the sources of mounts, namespaces to join,
hooks, the rootfs and the cgroup are of a few harmless kinds. Nothing is started but hooks and, by a run, what the
busybox of the rootfs has.
"""

import copy
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.source import Source, adjusted, mutated
from tests.fuzz.whole import EVERYTHING, GRAFTS, WORDS
from tests.ground import leftovers
from tests.ground.bundle import default_config
from tests.ground.runtime import IN_UML

_SOURCES = (
    "program",
    "proc",
    "tmpfs",
    "sysfs",
    "cgroup",
    "none",
    "",
    "/dev/null",
    "/nosuch",
    "rootfs/etc",
    "rootfs/etc/passwd",
)
_ROOTS = ("rootfs", "./rootfs/../rootfs", "rootfs/etc", "rootfs/etc/passwd", "nosuch", "")
_JOINED = ("", "/nosuch", "/dev/null", "/proc/self/ns/net", "/proc/self/ns/ipc")
_HOOKS = ("/bin/true", "/bin/false", "/nosuch", "true", "")


def one_of(choices: tuple[str, ...], value: Any, odd: int) -> Any:
    """The value if it is harmless, another one of the choices if not."""
    return value if value in choices or not isinstance(value, str) else choices[odd % len(choices)]


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, where it is one."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def tamed(config: Any, cgroup: str, odd: int) -> Any:
    """Harmless to the host, wherever the changes struck; names count in any case, as Go's JSON has it."""
    if not isinstance(config, dict):
        return config
    for name in list(config):
        low = name.lower()
        if low == "root" and isinstance(config[name], dict):
            for key in [key for key in config[name] if key.lower() == "path"]:
                config[name][key] = one_of(_ROOTS, config[name][key], odd)
        elif low == "mounts":
            _limit(objects(config[name]), "source", _SOURCES, odd)
        elif low == "hooks" and isinstance(config[name], dict):
            for listed in config[name].values():
                _limit(objects(listed), "path", _HOOKS, odd)
        elif low == "linux" and isinstance(config[name], dict):
            for key in list(config[name]):
                if key.lower() == "namespaces":
                    _limit(objects(config[name][key]), "path", _JOINED, odd)
                elif key.lower() == "cgroupspath":
                    del config[name][key]
            config[name]["cgroupsPath"] = cgroup
    return config


def _limit(entries: list[dict[str, Any]], member: str, choices: tuple[str, ...], odd: int) -> None:
    for entry in entries:
        for key in [key for key in entry if key.lower() == member]:
            entry[key] = one_of(choices, entry[key], odd)


def no_warnings(said: str) -> list[str]:
    """The lines that are none: a hook after the end may fail."""
    return [line for line in said.split("\n") if line and " level=warning " not in line]


class Trial:
    """The place where births are tried, and what is there when nobody is."""

    def __init__(self, minirunc: str, directory: Path, token: str) -> None:
        self.directory = directory
        self.token = token
        self.minirunc = [minirunc, "--root", str(directory / "state")]
        leftovers.become_subreaper()
        self.mounts = set(Path("/proc/self/mountinfo").read_text().splitlines())
        self.children = leftovers.children()
        self.created = False  # whether the last one was
        self.said = ""  # by the last run

    def command(self, *words: str) -> tuple[int, str]:
        """Exit status and stderr; a file, as a container keeps it."""
        with (self.directory / "said").open("w+", errors="replace") as said:
            done = subprocess.run(
                [*self.minirunc, *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60, check=False
            )
            said.seek(0)
            return done.returncode, said.read()

    def run(self, config: Any, name: str) -> str:
        """Run it to its end; what is wrong with that, or empty. What its program says is its own affair."""
        (self.directory / "config.json").write_text(json.dumps(config))
        try:
            status, said = self.command("run", "--bundle", str(self.directory), name)
        except subprocess.TimeoutExpired:
            self.command("delete", "--force", name)
            return f"does not end; {self.left()}"
        self.said = said
        errors = [line for line in said.splitlines() if " level=error " in line]
        if "internal error" in said or "Traceback" in said or len(errors) > 1 or (errors and status != 1):
            return f"run ended with {status}: {said}; {self.left()}"
        self.created = not errors
        return self.left()

    def birth(self, config: Any, name: str) -> str:
        """Create and delete; what is wrong with that, or empty."""
        (self.directory / "config.json").write_text(json.dumps(config))
        status, said = self.command("create", "--bundle", str(self.directory), name)
        errors = no_warnings(said)
        wrong = ""
        if status == 0:
            wrong = "" if not errors else f"created, but said {said}"
            deleted, told = self.command("delete", "--force", name)
            wrong = wrong or (f"delete ended with {deleted}: {told}" if deleted or no_warnings(told) else "")
        elif status != 1 or len(errors) != 1 or " level=error " not in errors[0]:
            wrong = f"create ended with {status}: {said}"
        elif "internal error" in said or "Traceback" in said:
            wrong = said
        self.created = status == 0
        return wrong or self.left()

    def left(self) -> str:
        """What is there that was not."""
        found = [*map(str, leftovers.state_directories(self.directory / "state"))]
        found += leftovers.processes(self.children) + leftovers.cgroups(self.token)
        rootfs = str(self.directory / "rootfs")
        if f" {rootfs} " in Path("/proc/self/mountinfo").read_text():
            # By design, where it had no mount namespace: who calls runc unmounts it.
            subprocess.run(["umount", rootfs], check=True)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if line not in self.mounts:
                found.append(f"mount {line}")
                subprocess.run(["umount", "-l", line.split()[4]], check=False)  # the next one starts anew
        return f"left behind: {', '.join(found)}" if found else ""


def base(number: int) -> dict[str, Any]:
    """A config that works here: as callers have it, with much more, and with a user namespace."""
    if number % 4 == 1:
        return default_config()
    config: dict[str, Any] = copy.deepcopy(EVERYTHING)
    linux = config["linux"]
    linux["resources"] = {"devices": linux["resources"]["devices"]}  # the controllers may not be here
    if number % 4 == 2:
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "user"]
        del linux["uidMappings"], linux["gidMappings"]
    else:
        linux["devices"] = []  # there they would be bound from the host's
    if IN_UML:
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "time"]
        del linux["timeOffsets"]
    return config


def serve(minirunc: str, directory: str, token: str) -> None:
    """A run for each line."""
    trial = Trial(minirunc, Path(directory), token)
    for number, line in enumerate(sys.stdin):
        config = tamed(json.loads(line), f"/{token}/{number}", number)
        print(json.dumps([trial.run(config, f"{token}-{number}"), trial.created, trial.said]), flush=True)


def main(minirunc: str, directory: str, token: str, seed: str, count: str) -> None:
    """`count` births, numbered from the seed on, so that each can be had again alone."""
    trial = Trial(minirunc, Path(directory), token)
    created, findings = 0, []
    for number in range(int(seed), int(seed) + int(count)):
        source = Source(random.Random(number).randbytes(400))
        changed = mutated(source, EVERYTHING, GRAFTS) if number % 4 == 0 else adjusted(source, base(number), WORDS)
        config = tamed(changed, f"/{token}/{number}", number)
        wrong = trial.birth(config, f"{token}-{number}")
        created += trial.created
        if wrong:
            findings.append([number, wrong, config])
    print(json.dumps({"created": created, "findings": findings}))


if __name__ == "__main__":
    os.environ.pop("XDG_RUNTIME_DIR", None)
    (main if len(sys.argv) > 4 else serve)(*sys.argv[1:])
