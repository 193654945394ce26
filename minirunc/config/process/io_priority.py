"""process.ioPriority: ioprio_set(2) for the container's process group before its execve."""

from minirunc.base.record import Int32, Record


class IOPriority(Record):
    class_: str = ""
    priority: Int32 = 0
