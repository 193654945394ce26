"""process: what runs in the container; the same record is read from `exec --process FILE`."""

from minirunc.base.record import EMPTY, Int32, Record
from minirunc.config import check_present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process.capabilities import Capabilities
    from minirunc.config.process.console_size import ConsoleSize
    from minirunc.config.process.exec_cpu_affinity import ExecCPUAffinity
    from minirunc.config.process.io_priority import IOPriority
    from minirunc.config.process.rlimits import Rlimit
    from minirunc.config.process.scheduler import Scheduler
    from minirunc.config.process.user import User


class Process(Record):
    NAMES = {"exec_cpu_affinity": "execCPUAffinity"}
    terminal: bool = False
    console_size: "ConsoleSize | None"
    user: "User" = EMPTY
    args: list[str] = []
    env: list[str] = []
    cwd: str = ""
    capabilities: "Capabilities | None"
    rlimits: "list[Rlimit]" = []
    no_new_privileges: bool = False
    oom_score_adj: Int32 | None  # absent: inherited
    scheduler: "Scheduler | None"
    io_priority: "IOPriority | None"
    exec_cpu_affinity: "ExecCPUAffinity | None"
    apparmor_profile: str = ""
    selinux_label: str = ""


def check(process: Process) -> None:
    """Each field in turn; also for a process whose fields were replaced by options of `exec`."""
    from minirunc.config.process import args, cwd

    cwd.check(process)
    args.check(process)
    fields = (
        "console_size", "env", "user", "capabilities", "rlimits", "oom_score_adj", "scheduler", "io_priority",
        "exec_cpu_affinity", "apparmor_profile", "selinux_label",
    )  # fmt: skip
    check_present(process, __name__, fields, process)
