"""`ps`: the container's processes, as pids or as the lines ps(1) has for them."""

import posix
import sys

from minirunc.base import jsontext, seams
from minirunc.base.errors import Error
from minirunc.base.settings import Settings
from minirunc.container.status import STOPPED, alive, open_cgroup, status
from minirunc.container.store import State, Store
from minirunc.kernel import cgroupfs


def ps(settings: Settings, container_id: str, *options: str, format: str) -> int:  # noqa: A002
    """Host pids; the table is the host's `ps -ef`, or what the options ask, cut to them."""
    if format not in ("table", "json"):
        raise Error(f"invalid format option: {format}")
    store = Store(settings.root, container_id)
    pids = _pids(store, store.load(anybodys=True))
    if format == "json":
        sys.stdout.write((jsontext.dumps(pids) if pids else "null") + "\n")
        return 0
    done = seams.subprocess().run(["ps", *(options or ("-ef",))], capture_output=True, check=False)
    out, err = (said.decode(errors="replace").strip("\n") for said in (done.stdout, done.stderr))
    if done.returncode:
        raise Error(f"ps: {err or out}")
    header, *lines = out.split("\n")  # a command may hold what str.splitlines() takes for the end of a line
    if "PID" not in header.split():
        raise Error("couldn't find PID field in ps output")
    column = header.split().index("PID")
    wanted = {str(pid) for pid in pids}
    kept = [line for line in lines if len(line.split()) > column and line.split()[column] in wanted]
    sys.stdout.write("\n".join([header, *kept]) + "\n")
    return 0


def _pids(store: Store, state: State) -> list[int]:
    """Those in the container's cgroup and below; none where it has stopped and the cgroup is gone."""
    if not state.cgroup:
        from minirunc.container import life, members

        return members.of(state.pid, life.config_of(store).linux.namespaces) if state.pid and alive(state) else []
    try:
        cgroup = open_cgroup(state)
    except FileNotFoundError:
        if status(store, state) != STOPPED:
            raise
        return []
    try:
        return sorted(cgroupfs.processes(cgroup))
    finally:
        posix.close(cgroup)
