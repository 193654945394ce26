"""The systemd driver without systemd: how cgroupsPath becomes a unit, and that no call waits for ever."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirunc.base.errors import ConfigError, Error
from minirunc.cgroup import dbus, sockets, systemd
from minirunc.cgroup.systemd import Systemd, Unit, path_of, unit_for
from tests.command_line import TOP

SHORT_S = 0.3


@pytest.mark.parametrize(
    ("cgroups_path", "user", "slice_", "name", "path"),
    [
        ("", False, "system.slice", "minirunc-id.scope", "/system.slice/minirunc-id.scope"),
        ("", True, "user.slice", "minirunc-id.scope", "/user.slice/minirunc-id.scope"),
        ("a.slice:docker:f00", False, "a.slice", "docker-f00.scope", "/a.slice/docker-f00.scope"),
        ("a-b-c.slice:p:n", False, "a-b-c.slice", "p-n.scope", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
        (":p:n", True, "user.slice", "p-n.scope", "/user.slice/p-n.scope"),
        ("-:p:n", False, "-.slice", "p-n.scope", "/p-n.scope"),
        ("-.slice:p:n", True, "-.slice", "p-n.scope", "/p-n.scope"),
        ("::n", False, "system.slice", "-n.scope", "/system.slice/-n.scope"),
        ("a.slice:p:a-b.slice", False, "a.slice", "a-b.slice", "/a.slice/a-b.slice"),
        (":p:a-b.slice", False, "a.slice", "a-b.slice", "/a.slice/a-b.slice"),
        (":p:a.slice", False, "-.slice", "a.slice", "/a.slice"),
        # What the kernel may have a file of is escaped in the cgroup's name alone.
        ("a.slice:_p:n", False, "a.slice", "_p-n.scope", "/a.slice/__p-n.scope"),
        ("cpu.slice:.p:n", False, "cpu.slice", ".p-n.scope", "/_cpu.slice/_.p-n.scope"),
        ("memory-x.slice:cgroup.p:n", False, "memory-x.slice", "cgroup.p-n.scope",
         "/_memory.slice/memory-x.slice/_cgroup.p-n.scope"),
    ],
)  # fmt: skip
def test_cgroups_path_names_the_unit(cgroups_path, user, slice_, name, path):
    """slice:prefix:name: PREFIX-NAME.scope in the slice, whose dashes nest; NAME.slice is the unit itself."""
    unit = unit_for(cgroups_path, "id", user=user)
    assert (unit.slice, unit.name, path_of(unit)) == (slice_, name, path)


def test_id_that_no_unit_can_have_is_escaped():
    """An id may have a plus sign, a unit may not: as systemd-escape(1) writes it."""
    assert unit_for("", "a+b", user=False).name == "minirunc-a\\x2bb.scope"


def test_user_manager_is_above():
    """A user's units are below the cgroup of his manager."""
    above = "/user.slice/user-1000.slice/user@1000.service"
    assert path_of(unit_for("", "id", user=True), above) == f"{above}/user.slice/minirunc-id.scope"


FORM = 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got'
LETTERS = "only letters, digits and :-_.\\ are allowed, not"
LONG = 248 * "n"
NESTED = "expected NAME.slice, where a dash stands between the names of slices that lie in each other"


@pytest.mark.parametrize(
    ("cgroups_path", "why"),
    [
        ("/x", f'{FORM} "/x" instead'),
        ("a:b", f'{FORM} "a:b" instead'),
        ("a:b:c:d", f'{FORM} "a:b:c:d" instead'),
        ("a--b.slice:p:n", f'invalid slice name: "a--b.slice": {NESTED}'),
        ("-a.slice:p:n", f'invalid slice name: "-a.slice": {NESTED}'),
        (".slice:p:n", f'invalid slice name: ".slice": {NESTED}'),
        ("a:p:n", f'invalid slice name: "a": {NESTED}'),
        ("a/b.slice:p:n", f'"a/b.slice" cannot be a systemd unit: {LETTERS} "/"'),
        (":p:../n", f'"p-../n.scope" cannot be a systemd unit: {LETTERS} "/"'),
        (":p :n@é", f'"p -n@é.scope" cannot be a systemd unit: {LETTERS} " @é"'),
        (f":p:{LONG}", f'"p-{LONG}.scope" cannot be a systemd unit: it has 256 characters, at most 255 are allowed'),
        (":p:-.slice", "-.slice is the root of the cgroup hierarchy; name a unit below it"),
        (":p:a--b.slice", f'invalid slice name: "a--b.slice": {NESTED}'),
    ],
)
def test_what_cannot_be_a_unit_is_refused(cgroups_path, why):
    """With the reason, before systemd is asked."""
    with pytest.raises(ConfigError) as wrong:
        unit_for(cgroups_path, "id", user=False)
    assert str(wrong.value) == f"config.json: linux.cgroupsPath: {why}"


@pytest.mark.parametrize(
    ("address", "sockets"),
    [
        ("unix:path=/run/user/1000/bus", ["/run/user/1000/bus"]),
        ("unix:path=/run/user/1000/bus,guid=f00", ["/run/user/1000/bus"]),
        ("unix:guid=f00,path=/a%20b%2cc", ["/a b,c"]),
        ("unix:abstract=/tmp/x", ["@/tmp/x"]),
        ("tcp:host=localhost,port=1;unix:path=/b;unix:abstract=c", ["/b", "@c"]),
        ("unix:path=relative", []),
        ("unix:path=/%zz", ["/%zz"]),
        ("autolaunch:", []),
        ("", []),
    ],
)
def test_sockets_of_a_bus_address(address, sockets):
    """DBUS_SESSION_BUS_ADDRESS: a list of transports; ours are Unix sockets, named or abstract."""
    assert dbus.socket_addresses(address) == sockets


class Server:
    """A socket behind which nobody is systemd: each connection is handed to `answer`, in a thread."""

    def __init__(self, path: Path, answer: Callable[[socket.socket], object] | None) -> None:
        self.path, self.answer, self.count = str(path), answer, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(0)
        self.open: list[socket.socket] = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        if answer:
            self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            self.open.append(connection)
            self.answer(connection)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if self.answer:
            self.thread.join()
        for connection in self.open:
            connection.close()


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Callable[..., Server]]:
    """Make the socket that the driver takes for the bus."""
    made = []

    def make(answer: Callable[[socket.socket], object] | None = None) -> Server:
        made.append(Server(tmp_path / "bus", answer))
        monkeypatch.setattr(systemd, "check_running", lambda: None)
        monkeypatch.setattr(sockets, "_addresses", lambda user: [(made[0].path, True)])
        return made[0]

    yield make
    for one in made:
        one.close()


def let_in(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"DATA\r\nOK f00\r\n")


UNIT = Unit("system.slice", "minirunc-id.scope")
CALLS = {
    "start unit minirunc-id.scope": lambda manager: systemd.start(manager, UNIT, "id", 1, [], SHORT_S),
    "stop unit minirunc-id.scope": lambda manager: systemd.stop(manager, UNIT, SHORT_S),
    "set properties of unit minirunc-id.scope": lambda manager: systemd.set_properties(manager, UNIT, [], SHORT_S),
    "tell its version": lambda manager: manager.version(SHORT_S),
    "tell its cgroup": lambda manager: systemd.control_group(manager, SHORT_S),
}


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (None, "no authentication by"),
        (lambda connection: connection.sendall(b"DA"), "no authentication by"),
        (let_in, "no answer to Hello from"),
    ],
)
def test_socket_that_does_not_answer_is_given_up(server, what, answer, phase):
    """Each call has a deadline, and its error says how far it got."""
    made = server(answer)
    begun = time.monotonic()
    with pytest.raises(Error) as late, Systemd(user=True) as manager:
        CALLS[what](manager)
    assert SHORT_S <= time.monotonic() - begun < SHORT_S + 2
    assert str(late.value) == f"systemd did not {what} within 0.3 seconds: {phase} {made.path}"


def test_socket_that_lets_nobody_in_is_given_up(server):
    """Too many wait to be accepted already: unix(7), EAGAIN."""
    made = server(None)
    waiting = []
    while True:
        one = socket.socket(socket.AF_UNIX)
        waiting.append(one)
        one.setblocking(False)
        try:
            one.connect(made.path)
        except BlockingIOError:
            break
    with pytest.raises(Error) as late, Systemd(user=False) as manager:
        manager.version(SHORT_S)
    for one in waiting:
        one.close()
    assert str(late.value) == f"systemd did not tell its version within 0.3 seconds: no connection to {made.path}"


def test_lost_connection_is_made_again_once(server):
    """The bus was started anew; if it is not there then either, that is the error."""
    made = server(lambda connection: (let_in(connection), connection.shutdown(socket.SHUT_RDWR)))
    with pytest.raises(Error) as lost, Systemd(user=False) as manager:
        manager.version(5)
    why = f"the connection was lost: no answer to Hello from {made.path}"
    assert str(lost.value) == f"unable to tell its version: {why}"
    assert made.count == 2


def test_refused_authentication_is_named(server):
    """The bus knows by the socket who we are, and may not like us."""
    made = server(lambda connection: connection.sendall(b"REJECTED EXTERNAL\r\n"))
    with pytest.raises(Error) as wrong, Systemd(user=False) as manager:
        manager.version(5)
    why = f"{made.path} does not let us in (AUTH EXTERNAL as uid 0)"
    assert str(wrong.value) == f"unable to tell its version: {why}"


PROGRAM = f"""
import sys; sys.path.insert(0, {str(TOP)!r})
from minirunc.cgroup.systemd import Systemd
from minirunc.base.errors import Error
try:
    Systemd(user=sys.argv[1] == "user").version(5)
except Error as wrong:
    print(wrong)
"""


NOT_BOOTED = (
    "systemd cgroup flag passed, but systemd support for managing cgroups is not available: there is no"
    " /run/systemd/system; boot with systemd, or use --cgroup-manager cgroupfs"
)
NO_FILE = "no such file or directory"
NO_BUS = f"/run/dbus/system_bus_socket: {NO_FILE}; /run/systemd/private: {NO_FILE}; start dbus"
NO_USER_BUS = f"/run/user/7/bus: {NO_FILE}; /run/user/7/systemd/private: {NO_FILE}"
LOG_IN = "log in by a session of this user (machinectl shell USER@)"
REACHED = "systemd cannot be reached"
OR = "or use --cgroup-manager cgroupfs"
NO_VARIABLE = "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR names a socket"


@pytest.mark.parametrize(
    ("made", "who", "environment", "why"),
    [
        ("true", "system", {}, NOT_BOOTED),
        ("true", "user", {}, NOT_BOOTED),
        ("mkdir -p systemd/system", "system", {}, f"{REACHED}: {NO_BUS}, {OR}"),
        ("mkdir -p systemd/system", "user", {}, f"{REACHED}: {NO_VARIABLE}; {LOG_IN}, {OR}"),
        (
            "mkdir -p systemd/system",
            "user",
            {"XDG_RUNTIME_DIR": "/run/user/7"},
            f"{REACHED}: {NO_USER_BUS}; {LOG_IN}, {OR}",
        ),
    ],
)
def test_absent_systemd_is_told_at_once(made, who, environment, why):
    """What is missing, and what to do."""
    script = f'set -e; mount -t tmpfs none /run; cd /run; {made}; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", PROGRAM, who]
    kept = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=kept)
    assert done.stdout == f"{why}\n"
