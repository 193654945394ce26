"""rtnetlink(7): network devices and their addresses, in the caller's network namespace or in one we have an fd of.

    Socket.within   a hand goes there (setns), makes the sockets, sends them out and ends: a netlink socket belongs to
                    the namespace it was made in, and has the rights of who made it, root's of our user namespace.
                    No Python runs there, and the caller never leaves his own namespace
    Socket          a request and its answers; Watch  what became of devices meanwhile

pyroute2 puts messages together and takes them apart. Its own sockets are not used: they run an event loop, and the
caller may be in one. An answer is the kernel's if its sender is 0: who has CAP_NET_ADMIN there may send to us, too.
"""

import posix
from _socket import AF_INET6, MSG_DONTWAIT, MSG_TRUNC, SOCK_CLOEXEC, SOCK_RAW, socket
from struct import pack_into, unpack_from

from minirunc.base import seams
from minirunc.base.errors import Error, SecurityError, SyscallError
from minirunc.kernel import trace
from minirunc.kernel.constants import CLONE_NEWNET
from minirunc.kernel.hand import Hand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

AF_NETLINK = 16
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
RTMGRP_LINK = 1
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 1, 4, 0x10, 0x300
NLM_F_CREATE_NEW = 0x600  # NLM_F_CREATE|NLM_F_EXCL
NLM_F_ACK_TLVS = 0x200
NLMSGERR_ATTR_MSG = 1
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 17, 18, 20, 22
IFF_UP = 1
IFA_F_PERMANENT = 0x80
# What may be asked for: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN; the rest the kernel finds.
_IFA_F_GIVEN = 0x02 | 0x10 | 0x100 | 0x200 | 0x400
_FOREVER = 2**32 - 1
_ROOM = 1 << 18
_TRIES = 8

EEXIST, ENODEV, ENOBUFS = 17, 19, 105


class Link:
    """A network device as it was found."""

    __slots__ = ("index", "name", "up")

    def __init__(self, index: int, name: str, *, up: bool) -> None:
        self.index = index
        self.name = name
        self.up = up


class Address:
    """An address of a device, with what is needed to give it again."""

    __slots__ = ("attributes", "family", "flags", "prefixlen", "scope")

    def __init__(self, message: "Any") -> None:
        self.attributes: dict[str, Any] = {}
        for name in ("ADDRESS", "LOCAL", "BROADCAST", "LABEL", "RT_PRIORITY", "PROTO"):
            value = message.get_attr(f"IFA_{name}")
            if value is not None:
                self.attributes[f"IFA_{name}"] = value
        times = message.get_attr("IFA_CACHEINFO")
        if times is not None and any(times[name] != _FOREVER for name, _ in times.fields[:2]):
            self.attributes["IFA_CACHEINFO"] = {name: times[name] for name, _ in times.fields}
        self.family: int = message["family"]
        self.prefixlen: int = message["prefixlen"]
        self.scope: int = message["scope"]
        self.flags: int = message.get_attr("IFA_FLAGS") or message["flags"]

    def __str__(self) -> str:
        return f"{self.attributes.get('IFA_LOCAL') or self.attributes.get('IFA_ADDRESS')}/{self.prefixlen}"

    def is_kept(self) -> bool:
        """Whether it goes with the device: permanent, and of global scope (RT_SCOPE_UNIVERSE)."""
        return bool(self.flags & IFA_F_PERMANENT) and self.scope == 0

    def renamed(self, old: str, new: str) -> "Address":
        """The same for a device of another name: a label begins with it. The number of a template is not known yet."""
        other = Address.__new__(Address)
        for name in Address.__slots__:
            setattr(other, name, getattr(self, name))
        other.attributes = dict(self.attributes)
        label = other.attributes.pop("IFA_LABEL", "")
        if isinstance(label, str) and label.startswith(f"{old}:") and "%" not in new:
            label = new + label[len(old) :]
            if len(label.encode()) < 16:
                other.attributes["IFA_LABEL"] = label
        return other


class Socket:
    """Requests to one network namespace; raises SyscallError for what the kernel refuses, in its own words."""

    __slots__ = ("_sequence", "_socket", "_where")

    def __init__(self, fd: int | None = None) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0, fd)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._sequence = 0
        self._where = "outside" if fd is None else "netlink inside"

    @classmethod
    def within(cls, namespace: int) -> "tuple[Socket, Watch]":
        """A socket and a watch of the network namespace that is open as `namespace`."""
        hand = Hand()
        try:
            fd = hand.send_fd(namespace)
            with hand.batch() as do:
                do.setns(fd, CLONE_NEWNET)
                made = [do.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0) for _ in range(2)]
            return cls(hand.receive_fd(made[0])), Watch(hand.receive_fd(made[1]))
        finally:
            hand.kill()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def link(self, name: str = "", index: int = 0) -> Link | None:
        """The device of this name or index, or None."""
        answer = self._get(name, index)
        if answer is None:
            return None
        found = seams.rtnetlink_messages()[0](answer)
        found.decode()
        return Link(found["index"], found.get_attr("IFLA_IFNAME"), up=bool(found["flags"] & IFF_UP))

    def has(self, name: str = "", index: int = 0) -> bool:
        """Whether there is a device of this name or index; what it says of itself is not looked at."""
        return self._get(name, index) is not None

    def _get(self, name: str, index: int) -> bytes | None:
        message = seams.rtnetlink_messages()[0]()
        message["index"] = index
        message["attrs"] = [("IFLA_IFNAME", name)] if name else []
        try:
            return self._request("RTM_GETLINK", RTM_GETLINK, message, name or str(index))[0]
        except SyscallError as error:
            if error.errno == ENODEV:
                return None
            raise

    def move(self, index: int, name: str, namespace: int, new_index: int) -> None:
        """Move a device to another namespace, where it has this name and index: one request, or nothing happens.

        IFLA_NEW_IFINDEX: Linux 5.13; an older kernel takes another index only where this one is in use.
        """
        message = seams.rtnetlink_messages()[0]()
        message["index"] = index
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_NET_NS_FD", namespace)]
        if new_index:
            message["attrs"].append(("IFLA_NEW_IFINDEX", new_index))
        self._request("RTM_NEWLINK", RTM_NEWLINK, message, f"{index}, {name}, IFLA_NET_NS_FD")

    def set_up(self, index: int) -> None:
        """Set the device's state to up."""
        message = seams.rtnetlink_messages()[0]()
        message["index"] = index
        message["flags"] = message["change"] = IFF_UP
        self._request("RTM_NEWLINK", RTM_NEWLINK, message, f"{index}, IFF_UP")

    def addresses(self, index: int) -> list[Address]:
        """All the device's addresses, in an order to give them again: primary ones of IPv4 first."""
        _, ifaddrmsg = seams.rtnetlink_messages()
        found: list[Address] = []
        for answer in self._request("RTM_GETADDR", RTM_GETADDR, ifaddrmsg(), "", NLM_F_DUMP):
            message = ifaddrmsg(answer)
            message.decode()
            if message["index"] == index:
                # The kernel lists those of IPv6 with the newest first.
                found.insert(0 if message["family"] == AF_INET6 else len(found), Address(message))
        return found

    def add_address(self, index: int, address: Address) -> None:
        """Give the device the address; one that it has already is left as it is."""
        message = seams.rtnetlink_messages()[1]()
        message["family"], message["prefixlen"] = address.family, address.prefixlen
        message["scope"], message["index"] = address.scope, index
        message["attrs"] = [*address.attributes.items(), ("IFA_FLAGS", address.flags & _IFA_F_GIVEN)]
        try:
            self._request("RTM_NEWADDR", RTM_NEWADDR, message, f"{index}, {address}", NLM_F_CREATE_NEW)
        except SyscallError as error:
            if error.errno != EEXIST:
                raise

    def _request(self, call: str, kind: int, message: "Any", shown: str, flags: int = NLM_F_ACK) -> list[bytes]:
        """Send a message; the answers to it. A dump that was changed meanwhile is asked for again."""
        asked = NLM_F_REQUEST | flags | (0 if flags == NLM_F_DUMP else NLM_F_ACK)
        message["header"] = {"type": kind, "flags": asked}
        message.encode()
        data = bytearray(message.data)
        for _ in range(_TRIES):
            self._sequence += 1
            pack_into("<I", data, 8, self._sequence)
            self._socket.send(data)
            answers, errno, why, whole = self._answers()
            if trace.sink:
                trace.sink(f"{self._where}: {call}({shown}) = {f'-1 {posix.strerror(errno)}' if errno else 0}")
            if errno:
                error = SyscallError(call, shown, errno)
                error.message += f": {why}" if why else ""
                raise error
            if whole:
                return answers
        raise Error(f"{call}({shown}): what it lists changes all the time")

    def _answers(self) -> tuple[list[bytes], int, str, bool]:
        """Of the last request: the messages, errno and words of its end, and whether it is of one moment."""
        found: list[bytes] = []
        whole = True
        while True:
            for kind, flags, sequence, message in received(self._socket):
                if sequence != self._sequence:
                    continue
                whole &= not flags & NLM_F_DUMP_INTR
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    errno = -unpack_from("<i", message, 16)[0] if len(message) >= 20 else 0
                    return found, errno, _words(message) if flags & NLM_F_ACK_TLVS else "", whole
                found.append(message)


class Watch:
    """Tells whether a device is still the one that was there: an index is given anew only after its device went."""

    __slots__ = ("_gone", "_lost", "_socket")

    def __init__(self, fd: int) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0, fd)
        self._socket.bind((0, RTMGRP_LINK))
        self._gone: list[int] = []
        self._lost = False

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def removals(self, index: int) -> int:
        """How often a device of this index was removed or moved away so far; SecurityError if that is not known."""
        try:
            while not self._lost:
                for kind, _, _, message in received(self._socket, MSG_DONTWAIT):
                    if kind == RTM_DELLINK and len(message) >= 24 and not message[16]:  # AF_UNSPEC: no bridge's port
                        self._gone.append(unpack_from("<i", message, 20)[0])
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != ENOBUFS:
                raise
            self._lost = True
        if self._lost:
            raise SecurityError("too much happened in the container's network namespace to know what became of it")
        return self._gone.count(index)


def received(source: socket, flags: int = 0) -> "Iterator[tuple[int, int, int, bytes]]":
    """The next messages, if the kernel sent them: kind, flags, sequence, and the whole of it."""
    data, _, state, sender = source.recvmsg(_ROOM, 0, flags)
    if sender[0]:
        return
    if state & MSG_TRUNC:
        raise Error(f"a netlink message of more than {_ROOM} bytes")
    offset = 0
    while offset + 16 <= len(data):
        length, kind, bits, sequence = unpack_from("<IHHI", data, offset)
        if length < 16:
            return
        yield kind, bits, sequence, data[offset : offset + length]
        offset += length + -length % 4


def _words(message: bytes) -> str:
    """What the kernel says of an error beside its number: the attribute NLMSGERR_ATTR_MSG behind both headers."""
    offset = 36
    while offset + 4 <= len(message):
        length, kind = unpack_from("<HH", message, offset)
        if kind == NLMSGERR_ATTR_MSG:
            return message[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += max(length + -length % 4, 4)
    return ""
