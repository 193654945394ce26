"""What a cgroup's file holds before it is written, as the writes that would bring it back."""

from minirunc.kernel import cgroupfs

# Files of a line a key: a write changes one line. What a key without a line is given: nothing was said of it.
_KEYED = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "io.latency": "target=0",
    "misc.max": "",
    "rdma.max": "",
}


def is_keyed(file: str) -> bool:
    """Whether a write to the file leaves the other lines alone."""
    return file in _KEYED


def writes(cgroup: int, file: str, value: str) -> list[tuple[str, str]]:
    """(file, value), in order, that undo a write of `value` to the file; none for a file that cannot be read."""
    try:
        now = cgroupfs.read(cgroup, file)
        if file == "cpu.idle" and now == "0":
            return [(file, now), ("cpu.weight", cgroupfs.read(cgroup, "cpu.weight"))]  # which an idle cgroup loses
    except OSError:
        return []
    if file == "cpu.weight" and now == "0":
        return []  # of an idle cgroup
    if file in _KEYED:
        return _line(file, value, now)
    return [(file, now or "\n")]  # an empty write is none


def _line(file: str, value: str, now: str) -> list[tuple[str, str]]:
    words = value.split()
    key = words[0] if len(words) > 1 else "default"
    for line in now.split("\n"):
        if line.partition(" ")[0] == key:
            return [(file, line)]
    if key == "default":
        return [(file, now)]
    return [(file, f"{key} {_KEYED[file]}")] if _KEYED[file] else []
