"""`events`: what the container uses, at intervals, and processes killed for want of memory; a JSON line each."""

import posix
import sys
from time import monotonic

from minirunc.base import jsontext
from minirunc.base.errors import Error, StateError
from minirunc.base.settings import Settings
from minirunc.cgroup import stats as usage
from minirunc.cgroup.fs import GONE
from minirunc.cgroup.watch import END, LEFT, OOM, Watch
from minirunc.container.status import STOPPED, open_cgroup, status
from minirunc.container.store import Store
from minirunc.kernel import resctrlfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.linux.intel_rdt import IntelRdt

_PIPE_CLOSED = 141  # what a shell says of SIGPIPE


def events(settings: Settings, container_id: str, *, interval: int, stats: bool) -> int:
    """Until the cgroup is empty, or, of `stats`, once; `interval` is in nanoseconds."""
    store = Store(settings.root, container_id)
    state = store.load(anybodys=True)
    if interval <= 0:
        raise Error("duration interval must be greater than 0")
    stopped = StateError(f"container with id {store.id} is not running")
    if status(store, state) == STOPPED:
        raise stopped
    try:
        cgroup = open_cgroup(state)
    except FileNotFoundError:
        raise stopped from None
    try:
        rdt = _rdt(store)
        if not stats:
            return _follow(store.id, cgroup, rdt, interval / 1e9)
        _say({"type": "stats", "id": store.id, "data": _data(store.id, cgroup, rdt)})
        return 0
    except BrokenPipeError:
        return _PIPE_CLOSED
    except OSError as error:
        if error.errno not in GONE:
            raise
        if stats:
            raise stopped from None
        return 0
    finally:
        posix.close(cgroup)


def _follow(id: str, cgroup: int, rdt: "IntelRdt | None", interval_s: float) -> int:
    """Tell what happens to the end; intervals that passed while nobody read are not caught up with."""
    with Watch(cgroup, reader=sys.stdout.fileno()) as watch:
        due = monotonic() + interval_s
        while True:
            happened = watch.wait(due - monotonic())
            if happened == OOM:
                _say({"type": "oom", "id": id})
            elif happened == END:
                return 0
            elif happened == LEFT:
                return _PIPE_CLOSED
            elif monotonic() >= due:
                _say({"type": "stats", "id": id, "data": _data(id, cgroup, rdt)})
                due = max(due + interval_s, monotonic())


def _data(id: str, cgroup: int, rdt: "IntelRdt | None") -> usage.Members:
    """The members of runc's types.Stats; it has network_interfaces for who gives it a veth, which no bundle can."""
    measured: usage.Members = {}
    if rdt is not None:
        from minirunc.container.rdt import stats

        measured = stats(rdt, id)
    return {**usage.read(cgroup), "intel_rdt": measured, "network_interfaces": None}


def _rdt(store: Store) -> "IntelRdt | None":
    """linux.intelRdt, if this machine can have it and config.json does: few do, and it takes time to read."""
    try:
        posix.close(resctrlfs.find())
    except resctrlfs.NotMounted:
        return None
    from minirunc.container.life import config_of

    return config_of(store).linux.intel_rdt


def _say(record: dict[str, object]) -> None:
    sys.stdout.write(jsontext.dumps(record) + "\n")
    sys.stdout.flush()
