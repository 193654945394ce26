"""linux.resources.network: accepted, without effect: cgroup v2 has no network controller."""

from minirunc.base.record import Record, UInt32


class InterfacePriority(Record):
    name: str
    priority: UInt32


class Network(Record):
    NAMES = {"class_id": "classID"}
    class_id: UInt32 | None
    priorities: list[InterfacePriority] = []
