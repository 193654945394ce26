"""process.scheduler: sched_setattr(2) on the container's process before its execve."""

from posix import cpu_count, sched_getaffinity
from struct import pack

from minirunc.base.errors import ConfigError, SyscallError
from minirunc.base.record import Int32, Record, UInt64
from minirunc.config import none_of
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

EPERM = 1

# linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}


class Scheduler(Record):
    policy: str = ""
    nice: Int32 = 0
    priority: Int32 = 0
    flags: list[str] = []
    runtime: UInt64 = 0  # ns
    deadline: UInt64 = 0  # ns
    period: UInt64 = 0  # ns


def check(process: "Process") -> None:
    wanted = process.scheduler
    if wanted is None:
        return
    policy = wanted.policy
    if not policy:
        raise none_of(POLICIES, "process.scheduler.policy", "scheduler policy is required")
    if policy not in POLICIES:
        raise none_of(POLICIES, "process.scheduler.policy", f"invalid scheduler policy: {policy}")
    for index, flag in enumerate(wanted.flags):
        if flag not in FLAGS:
            raise none_of(FLAGS, f"process.scheduler.flags[{index}]", f"invalid scheduler flag: {flag}")
    if policy in ("SCHED_OTHER", "SCHED_BATCH") and not -20 <= wanted.nice <= 19:
        why = f"invalid scheduler.nice: {wanted.nice} when scheduler.policy is {policy}"
        why += ": expected an integer from -20 to 19"
        raise ConfigError("process.scheduler.nice", why)
    if wanted.priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        why = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy"
        why += f": process.scheduler.policy is {policy}"
        raise ConfigError("process.scheduler.priority", why)
    if policy != "SCHED_DEADLINE" and (wanted.runtime or wanted.deadline or wanted.period):
        why = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy"
        why += f": process.scheduler.policy is {policy}"
        raise ConfigError("process.scheduler", why)


def apply(scheduler: Scheduler | None, hand: Hand) -> None:
    """struct sched_attr of sched_setattr(2); inside, before the capabilities go."""
    if scheduler is None:
        return
    flags = 0
    for flag in scheduler.flags:
        flags |= FLAGS[flag]
    attr = pack(
        "<IIQiIQQQ8x",  # what the flags of utilization clamps set stays 0: no field of the specification has it
        56,
        POLICIES[scheduler.policy],
        flags,
        scheduler.nice,
        scheduler.priority,
        scheduler.runtime,
        scheduler.deadline,
        scheduler.period,
    )
    try:
        with hand.batch() as do:
            do.sched_setattr(0, attr)
    except SyscallError as error:
        if error.errno == EPERM and scheduler.policy == "SCHED_DEADLINE" and _bound(hand.pid):
            # runc's words; sched_setattr(2)
            error.add_note("process scheduler can't be used together with AllowedCPUs: it takes all there are")
        error.add_note(f"process.scheduler: {scheduler.policy}")
        raise


def _bound(pid: int) -> bool:
    """Whether linux.resources.cpu.cpus or process.execCPUAffinity leaves it a part of the CPUs."""
    return len(sched_getaffinity(pid)) < (cpu_count() or 1)
