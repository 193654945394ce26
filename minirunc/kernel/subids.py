"""Why newuidmap(1) or newgidmap(1) refused: what /etc/subuid or /etc/subgid gives the user (subuid(5))."""

import posix

from minirunc.base import files, seams
from minirunc.base.errors import Error


def hint(kind: str, wanted: list[tuple[int, int]]) -> str:
    """What is missing in the file of `kind` ("uid" or "gid") for these (first id, count) of the host's, as "; ..."."""
    file = f"/etc/sub{kind}"
    user = seams.user_name(posix.getuid())
    own = getattr(posix, f"get{kind}")()
    ranges = _ranges(file, (user, str(posix.getuid())))
    for first, count in wanted:
        if (first, count) != (own, 1) and not _covered(first, first + count, ranges):
            name = user.removeprefix("#")
            return (
                f"; {file} does not give {user} the {kind}s {first} to {first + count - 1}: map others,"
                f' or have root add the line "{name}:{first}:{count}"'
            )
    return f"; {file} gives {user} these: new{kind}map must be set-user-ID root, its caller without no_new_privs"


def check_mapped(kind: str, wanted: list[tuple[int, int]]) -> None:
    """Raise Error naming ids that root of a user namespace cannot give, as they are not mapped in it."""
    words = files.read(f"/proc/self/{kind}_map").decode().split()
    ranges = sorted((int(first), int(first) + int(count)) for first, count in zip(words[::3], words[2::3], strict=True))
    for first, count in wanted:
        if not _covered(first, first + count, ranges):
            here = ", ".join(f"{start} to {stop - 1}" for start, stop in ranges)
            raise Error(f"the {kind}s {first} to {first + count - 1} are not all in this user namespace: it has {here}")


def _ranges(file: str, owners: tuple[str, str]) -> list[tuple[int, int]]:
    """(first, end) of each line for one of the owners, in order."""
    try:
        text = files.read(file).decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        owner, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if owner in owners and first.isdigit() and count.strip().isdigit():
            found.append((int(first), int(first) + int(count)))
    return sorted(found)


def _covered(first: int, end: int, ranges: list[tuple[int, int]]) -> bool:
    for start, stop in ranges:
        if start <= first < stop:
            first = stop
    return first >= end
