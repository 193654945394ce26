"""linux.netDevices: network devices moved into the container's network namespace, once it is there; outside.

    check   the names
    apply   each device: addresses read -> RTM_NEWLINK moves and renames it -> addresses given again -> up
    undo    the birth fails after all: back under the old name and index, all addresses, up if it was

The kernel sets a device down when it moves it, not before: what cannot be moved is not touched. It keeps MTU, MAC
address and alias, and takes all addresses, routes and a bridge the device was a port of. Kept are permanent addresses
of global scope, read while it is up (down, it has no IPv6 ones). No device is taken back from a container that came to
life (runtime-spec config-linux.md "Namespace Lifecycle and Container Termination").

If we are killed on the way, a new namespace ends with its last process: physical devices fall back to the first one,
virtual ones are destroyed. In a joined one they stay, and nobody knows any more whether what has the name there now
is the device that was moved: `delete` says where to look, and brings nothing into the host.
"""

import posix

from minirunc.base import log
from minirunc.base.errors import ConfigError, Error, SecurityError, SyscallError
from minirunc.base.record import Record
from minirunc.kernel import procfs, rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirunc.config import Config

EBUSY = 16
_NOT_IN_NAMES = frozenset(b"/: \t\n\v\f\r\xa0\0")  # dev_valid_name() in the kernel's net/core/dev.c
_INDEXES = 256  # how many are tried before there is none


class NetDevice(Record):
    name: str = ""  # in the container; empty: as on the host; with %d the kernel finds a number


def check(config: "Config") -> None:
    linux = config.linux
    if linux.namespace("network") is None:
        why = "unable to move network devices without a NET namespace; linux.namespaces has no network"
        raise ConfigError("linux.netDevices", why)
    if posix.geteuid() != 0:
        raise ConfigError("linux.netDevices", "network devices are not supported for rootless containers")
    inside: dict[str, str] = {}
    for name, device in linux.net_devices.items():
        where = f'linux.netDevices["{name}"]'
        if not _is_name(name) or "%" in name:
            raise ConfigError(where, _invalid(name))
        wanted = device.name or name
        if not _is_name(wanted) or wanted.count("%") != wanted.count("%d") or wanted.count("%") > 1:
            raise ConfigError(f"{where}.name", f"{_invalid(wanted)}, %d once for a number of the kernel's choice")
        if wanted in inside and "%" not in wanted:
            why = f'"{wanted}" is the name of linux.netDevices["{inside[wanted]}"] in the container already'
            raise ConfigError(f"{where}.name", why)
        inside[wanted] = name


def _is_name(name: str) -> bool:
    raw = name.encode("utf-8", "surrogatepass")
    return 0 < len(raw) < 16 and name not in (".", "..") and not _NOT_IN_NAMES & set(raw)


def _invalid(name: str) -> str:
    return f'invalid network device name "{name}": 1 to 15 bytes, no "/", ":" or blank, not "." or ".."'


class _Device:
    """One on its way: what it was, and where it is going."""

    __slots__ = ("addresses", "index", "link", "name", "removals", "where")

    def __init__(self, where: str, link: rtnetlink.Link, name: str) -> None:
        self.where = where
        self.link = link
        self.name = name  # in the container, or a template for it
        self.addresses: list[rtnetlink.Address] = []
        self.index = 0  # in the container
        self.removals = 0  # of that index, before it came


def apply(net_devices: dict[str, NetDevice], pid: int) -> "Moved":
    """Move them from our network namespace into that of `pid`; all of them, or none."""
    moved = Moved(pid)
    try:
        moved.take(net_devices)
    except BaseException:
        moved.undo()
        raise
    return moved


class Moved:
    """Devices that were moved: `undo` brings them back, `close` leaves them where they are."""

    __slots__ = ("_devices", "_fds", "_here", "_home", "_inside", "_there", "_watch")

    def __init__(self, pid: int) -> None:
        self._devices: list[_Device] = []
        self._fds: list[int] = []
        try:
            self._home = self._opened("thread-self")
            self._there = self._opened(pid)
            if posix.fstat(self._home).st_ino == posix.fstat(self._there).st_ino:
                why = "the container's network namespace is the one they are in; give it another in linux.namespaces"
                raise ConfigError("linux.netDevices", why)
            self._inside, self._watch = rtnetlink.Socket.within(self._there)
        except BaseException:
            self._close_fds()
            raise
        self._here = rtnetlink.Socket()

    def _opened(self, process: int | str) -> int:
        fd = procfs.namespace(process, "net")
        self._fds.append(fd)
        return fd

    def _close_fds(self) -> None:
        while self._fds:
            posix.close(self._fds.pop())

    def close(self) -> None:
        """Let go of both namespaces."""
        self._here.close()
        self._inside.close()
        self._watch.close()
        self._close_fds()

    def take(self, net_devices: dict[str, NetDevice]) -> None:
        """Move them all, after a look at each; raises what stands against it."""
        # Templates last: they take a number that no plain name needs.
        planned = [self._planned(*item) for item in sorted(net_devices.items(), key=lambda item: "%" in item[1].name)]
        for device in planned:
            try:
                self._take(device)
            except SyscallError as error:
                error.add_note(f"unable to move network device: config.json: {device.where}")
                raise

    def _planned(self, name: str, wanted: NetDevice) -> _Device:
        where = f'linux.netDevices["{name}"]'
        link = self._here.link(name)
        if link is None:
            raise ConfigError(where, "link not found on runtime namespace: no such network device")
        device = _Device(where, link, wanted.name or link.name)
        if "%" not in device.name and self._inside.has(device.name):
            why = f'"{device.name}": file exists: a network device of the container\'s namespace has the name'
            raise ConfigError(f"{where}.name" if wanted.name else where, why)
        return device

    def _take(self, device: _Device) -> None:
        log.debug(f"moving network device {device.link.name}, {device.name} in the container")
        device.addresses = self._here.addresses(device.link.index)
        self._devices.append(device)
        self._move_in(device)
        for address in filter(rtnetlink.Address.is_kept, device.addresses):
            self._inside.add_address(device.index, address.renamed(device.link.name, device.name))
        self._inside.set_up(device.index)

    def _move_in(self, device: _Device) -> None:
        """Under an index of our choice, its own if that is free: all that follows names the device by it."""
        for index in _free(self._inside, device.link.index):
            device.index = index
            device.removals = self._watch.removals(index)
            if _moved(self._here, device.link.index, device.name, self._there, index):
                return

    def undo(self) -> None:
        """Back to where they were, what can be; a warning for what cannot."""
        for device in reversed(self._devices):
            try:
                self._bring_back(device)
            except (Error, OSError) as error:
                log.warning(f"config.json: {device.where}: not returned to the host: {error}")
        self.close()

    def _bring_back(self, device: _Device) -> None:
        link = device.link
        there = self._here.link(index=link.index)
        if there and there.name == link.name:
            return  # it never left
        self._check_same(device, 0)
        for index in _free(self._here, link.index):
            try:
                if _moved(self._inside, device.index, link.name, self._home, index):
                    self._check_same(device, 1)  # now nobody inside can do anything more
                    break
            except Error:
                if self._here.has(index=index):  # not the one that was moved, or under another name
                    self._here.move(index, "dev%d", self._there, 0)
                raise
        for address in device.addresses:
            self._here.add_address(index, address)
        if link.up:
            self._here.set_up(index)

    def _check_same(self, device: _Device, more: int) -> None:
        """Refuse what others in the container's namespace put in its place: the host would take it for its own."""
        if self._watch.removals(device.index) != device.removals + more:
            raise SecurityError("it was removed in the container's network namespace; what is in its place stays there")


def _free(namespace: rtnetlink.Socket, index: int) -> "Iterator[int]":
    """Indexes that no device there has, the one that is wanted first; raises Error when it has looked long enough."""
    for number in range(index, index + _INDEXES):
        if not namespace.has(index=number):
            yield number
    raise Error(f"of {_INDEXES} indexes of network devices from {index} on all are in use")


def _moved(source: rtnetlink.Socket, index: int, name: str, namespace: int, new_index: int) -> bool:
    """Move it; False if the new index is in use by now.

    With a name that somebody took meanwhile the kernel refuses, and has moved the device all the same.
    """
    try:
        source.move(index, name, namespace, new_index)
    except SyscallError as error:
        if error.errno == EBUSY and source.has(index=index):
            return False
        raise
    return True


def lost(config: "Config") -> list[str]:
    """Of a birth that was killed: where its devices may be, in words for the log."""
    from _socket import if_nametoindex

    network = config.linux.namespace("network")
    if network is None or not network.path:
        return []
    lines = []
    for name, device in config.linux.net_devices.items():
        try:
            if_nametoindex(name)
        except OSError:
            inside = f'"{name}" or "{device.name}"' if device.name else f'"{name}"'
            why = f"its runtime was killed on the way: look for {inside} in {network.path}, perhaps without addresses"
            lines.append(f'linux.netDevices["{name}"] is not here: {why}')
    return lines
