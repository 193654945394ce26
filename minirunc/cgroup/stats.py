"""What the processes of a cgroup use: the members of runc's `events`, named after cgroup v1, from the files of v2.

A number of 0 is left out, or not, and a structure without any number, as runc 1.5 does: programs read it as zero. What
no file tells, as its controller is not enabled or the kernel too old, is left out likewise.
Source: Documentation/admin-guide/cgroup-v2.rst "Controllers", accounting/psi.rst; runc types/events.go.
"""

from minirunc.kernel import cgroupfs

ENOENT, EOPNOTSUPP = 2, 95
_NO_LIMIT = (1 << 64) - 1
_NS = 1000  # in a microsecond

Members = dict[str, object]

# cgroup v1's, of which v2 has none.
_CPUSET = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
    "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip
_IO = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
}


def read(cgroup: int) -> Members:
    """All of them, in runc's order. Raises OSError ENOENT or ENODEV where the cgroup was removed meanwhile."""
    found: Members = {
        "cpu": _cpu(cgroup),
        "cpuset": dict.fromkeys(_CPUSET, 0),
        "memory": _memory(cgroup),
        "pids": _pids(cgroup),
        "blkio": _blkio(cgroup),
        "hugetlb": _hugetlb(cgroup),
    }
    cgroupfs.read(cgroup, "cgroup.controllers")  # each has it: a removed one looks as if it had no controller
    return found


def _text(cgroup: int, file: str) -> str:
    """What a file says; nothing where there is none."""
    try:
        return cgroupfs.read(cgroup, file)
    except OSError as error:
        if error.errno not in (ENOENT, EOPNOTSUPP):  # the latter: pressure that is not measured
            raise
        return ""


def _number(text: str) -> int:
    """A number; below zero, which the kernel's sums may be for a moment, is zero."""
    return _NO_LIMIT if text == "max" else max(0, int(text or "0"))


def _keyed(text: str) -> dict[str, int]:
    """The numbers of a flat keyed file."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: _number(value) for key, _, value in pairs}


def _some(**members: object) -> Members:
    """Those that are not zero or empty."""
    return {name: value for name, value in members.items() if value}


def _cpu(cgroup: int) -> Members:
    stat = _keyed(_text(cgroup, "cpu.stat"))  # there without the controller, but then nothing of throttling
    usage = _some(total=stat.get("usage_usec", 0) * _NS)
    usage |= {"kernel": stat.get("system_usec", 0) * _NS, "user": stat.get("user_usec", 0) * _NS}
    throttling = _some(
        periods=stat.get("nr_periods"),
        throttledPeriods=stat.get("nr_throttled"),
        throttledTime=stat.get("throttled_usec", 0) * _NS,
    )
    return _some(usage=usage if any(usage.values()) else None, throttling=throttling, psi=_psi(cgroup, "cpu"))


def _memory(cgroup: int) -> Members:
    """`swap` counts memory, too, as in cgroup v1."""
    raw = _keyed(_text(cgroup, "memory.stat"))
    usage, limit, peak = (_number(_text(cgroup, f"memory.{name}")) for name in ("current", "max", "peak"))
    swapped, swap = (_number(_text(cgroup, f"memory.swap.{name}")) for name in ("current", "max"))
    failures = _keyed(_text(cgroup, "memory.events")).get("max", 0)
    return _some(
        cache=raw.get("file"),
        usage=_entry(limit, usage, peak, failures),
        swap=_entry(_NO_LIMIT if _NO_LIMIT in (limit, swap) else limit + swap, usage + swapped),
        raw=dict(sorted(raw.items())),
        psi=_psi(cgroup, "memory"),
    )


def _entry(limit: int, usage: int, most: int = 0, failures: int = 0) -> Members:
    """`failcnt` is how often the limit was met; runc 1.5 leaves it 0 on cgroup v2."""
    if not (limit or usage or most or failures):
        return {}
    return {"limit": limit, **_some(usage=usage, max=most), "failcnt": failures}


def _pids(cgroup: int) -> Members:
    """Without the controller there is no limit, and who is in the cgroup itself is counted."""
    current = _text(cgroup, "pids.current")
    if not current:  # a threaded cgroup tells of its threads alone
        listed = _text(cgroup, "cgroup.procs") or _text(cgroup, "cgroup.threads")
        return _some(current=len(listed.split()))
    limit = _number(_text(cgroup, "pids.max"))
    return _some(current=int(current), limit=0 if limit == _NO_LIMIT else limit)


def _blkio(cgroup: int) -> Members:
    """io.stat has a line a device: `8:0 rbytes=4096 wbytes=0 rios=1 ...`."""
    tables: dict[str, list[Members]] = {name: [] for name, _ in _IO.values()}
    for line in _text(cgroup, "io.stat").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if minor and key in _IO:
                name, op = _IO[key]
                tables[name].append(_some(major=int(major), minor=int(minor), op=op, value=_number(value)))
    return _some(**tables, psi=_psi(cgroup, "io"))


def _hugetlb(cgroup: int) -> Members:
    """A member a page size; pages that are reserved count, where the kernel tells of them (since 5.7)."""
    names = (name for name in cgroupfs.names(cgroup) if name.startswith("hugetlb.") and name.endswith(".events"))
    found: Members = {}
    for size in sorted(name[len("hugetlb.") : -len(".events")] for name in names):
        usage = _text(cgroup, f"hugetlb.{size}.rsvd.current") or _text(cgroup, f"hugetlb.{size}.current")
        failures = _keyed(_text(cgroup, f"hugetlb.{size}.events")).get("max", 0)
        found[size] = {**_some(usage=_number(usage)), "failcnt": failures}
    return found


def _psi(cgroup: int, resource: str) -> Members | None:
    """Lines like `some avg10=0.00 avg60=0.12 avg300=0.05 total=1234`: percent, and microseconds in all."""
    text = _text(cgroup, f"{resource}.pressure")
    if not text:
        return None
    found: Members = {name: dict.fromkeys(("avg10", "avg60", "avg300", "total"), 0) for name in ("some", "full")}
    for line in text.splitlines():
        name, *pairs = line.split()
        found[name] = {key: _decimal(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    return found


def _decimal(text: str) -> int | float:
    """As Go writes it in JSON: 0.00 is 0."""
    value = float(text) if "." in text else int(text)
    return int(value) if value == int(value) else value
