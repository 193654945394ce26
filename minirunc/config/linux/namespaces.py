"""linux.namespaces: what the container gets anew or joins by path; what is not listed is the host's."""

from minirunc.base.record import Record


class Namespace(Record):
    type: str
    path: str = ""  # empty: a new one
