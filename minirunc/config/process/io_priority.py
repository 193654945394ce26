"""process.ioPriority: ioprio_set(2) for the container's process group before its execve."""

from minirunc.base.errors import ConfigError, SyscallError
from minirunc.base.record import Int32, Record
from minirunc.config import none_of
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process

# linux/ioprio.h; the value is class << 13 | priority
CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}


class IOPriority(Record):
    class_: str = ""
    priority: Int32 = 0  # the specification's text requires it, its schema and runc do not


def check(process: "Process") -> None:
    wanted = process.io_priority
    if wanted is None:
        return
    if not 0 <= wanted.priority <= 7:
        why = f"invalid ioPriority.Priority: {wanted.priority}: expected an integer from 0 to 7"
        raise ConfigError("process.ioPriority.priority", why)
    if wanted.class_ not in CLASSES:
        raise none_of(CLASSES, "process.ioPriority.class", f'invalid ioPriority.Class: "{wanted.class_}"')


def apply(io_priority: IOPriority | None, hand: Hand) -> None:
    """For the process group, which is the process alone: it leads a session of its own."""
    if io_priority is not None:
        try:
            with hand.batch() as do:
                do.ioprio_set(2, 0, CLASSES[io_priority.class_] << 13 | io_priority.priority)  # IOPRIO_WHO_PGRP
        except SyscallError as error:
            error.add_note(f"process.ioPriority: {io_priority.class_}")
            raise
