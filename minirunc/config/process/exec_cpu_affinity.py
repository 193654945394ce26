"""process.execCPUAffinity: the CPUs of an exec'ed process before it enters the cgroup, and after."""

from minirunc.base.record import Record


class ExecCPUAffinity(Record):
    initial: str = ""  # a CPU list: "0-3,7"
    final: str = ""
