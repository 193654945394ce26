"""Runs minirunc in this interpreter and writes how long each line of the named modules took, calls included.

Started as `python -I -S tracer.py REPO OUT PARTS ARGUMENT...`; only files with one of the comma-separated
parts in their path are followed line by line: the rest pays for one call of `on_call` a function.
"""

import os
import posix
import sys
import time
from types import FrameType
from typing import Any

Key = tuple[str, str, int]  # file, function, line
spent: dict[Key, float] = {}  # ms
last: dict[int, tuple[Key, int]] = {}  # frame to the line it is in, and since when
OUT = sys.argv[2]
PARTS = sys.argv[3].split(",")


def settle(frame: FrameType) -> None:
    found = last.pop(id(frame), None)
    if found is not None:
        key, since = found
        spent[key] = spent.get(key, 0.0) + (time.perf_counter_ns() - since) / 1e6


def on_line(frame: FrameType, event: str, argument: object) -> Any:
    settle(frame)
    if event == "line":
        code = frame.f_code
        last[id(frame)] = ((code.co_filename, code.co_qualname, frame.f_lineno), time.perf_counter_ns())
    return on_line


def on_call(frame: FrameType, event: str, argument: object) -> Any:
    # a module's own lines are its import, which is told apart elsewhere
    file = frame.f_code.co_filename
    if any(part in file for part in PARTS) and frame.f_code.co_name != "<module>":
        return on_line
    return None


def leave(status: int) -> None:
    sys.settrace(None)
    with open(OUT, "w") as out:
        for (file, function, line), ms in spent.items():
            print(file, function, line, f"{ms:.4f}", sep="\t", file=out)
    really_leave(status)


really_leave = posix._exit
os._exit = posix._exit = leave  # type: ignore[assignment]


def main() -> None:
    import runpy

    sys.path.insert(0, sys.argv[1])
    sys.argv[:] = ["minirunc", *sys.argv[4:]]
    status = 0
    sys.settrace(on_call)
    try:
        runpy.run_module("minirunc", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    leave(status)


if __name__ == "__main__":
    main()
