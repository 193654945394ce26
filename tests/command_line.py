"""The command line as a process, started as the launcher starts it: for tests of parsing and reporting."""

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parent.parent


def run(
    directory: Path,
    *words: str,
    name: str = "minirunc",
    prefix: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    stdout: int | None = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    """Run minirunc in this directory, under a name, by a program (`prefix`), with little but `env` around it."""
    launcher = directory / ".bin" / name
    launcher.parent.mkdir(exist_ok=True)
    launcher.write_text(f"import sys; sys.path.append({str(TOP)!r})\nfrom minirunc.__main__ import main\nmain()\n")
    return subprocess.run(
        [*prefix, sys.executable, "-I", "-S", launcher, *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        cwd=directory,
        check=False,
        env={"PATH": os.environ["PATH"]} | (env or {}),
    )
