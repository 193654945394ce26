"""container/console.py, relay.py: a terminal for a container, in the foreground and by --console-socket."""

import array
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ground import leftovers
from tests.ground.bundle import Bundle
from tests.ground.runtime import TIMEOUT_S, Result, Runtime, wait_until
from tests.ground.terminal import Terminal

PROMPT = "/ # "
MEBIBYTE = "dd if=/dev/zero bs=1024 count=1024 2>/dev/null | tr '\\0' x"


@pytest.fixture
def made(bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle with a terminal."""
    made = bundle("exec sleep 1000")
    made.process["terminal"] = True
    return made


def raw(mode: list[int]) -> bool:
    """Whether keys come through one by one, untouched."""
    return not mode[3] & (termios.ICANON | termios.ECHO | termios.ISIG) and not mode[0] & termios.ICRNL


def size(terminal: int) -> tuple[int, int]:
    """Rows and columns."""
    rows, columns, _, _ = struct.unpack("<4H", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


class TestForeground:
    """`run` and `exec --tty` on a terminal."""

    def test_spec_gives_an_interactive_shell(self, minirunc: Runtime, busybox: Path, tmp_path: Path) -> None:
        """`spec`, a busybox rootfs and `run` are all that a shell with job control takes; `exec -t` beside it."""
        top = tmp_path / "bundle"
        shutil.copytree(busybox, top / "rootfs", symlinks=True)
        minirunc.ok("spec", "--bundle", top)
        id = minirunc.id()
        with Terminal(minirunc, "run", "--bundle", top, id) as shell:
            shell.expect(PROMPT)
            assert "can't access tty" not in shell.out
            shell.type("tty; echo $$\n")
            shell.expect(r"\r\n/dev/pts/0\r\n1\r\n" + PROMPT)
            shell.type("""sh -c 'trap "echo goes on" CONT; echo begins; while :; do sleep 0.02; done'\n""")
            shell.expect("\r\nbegins\r\n")
            shell.type("\x1a")  # Ctrl-Z
            shell.expect(r"\[1\]\+  Stopped .*\r\n" + PROMPT)
            shell.type("bg\n")
            shell.expect("goes on\r\n")
            shell.type("jobs\n")
            shell.expect(r"\[1\]\+  Running .*\r\n" + PROMPT)
            with Terminal(minirunc, "exec", "--tty", id, "sh") as beside:
                beside.expect(PROMPT)
                assert "can't access tty" not in beside.out
                beside.type("tty; ps; exit 6\n")
                beside.expect(r"/dev/pts/1\r\n(?s:.*)echo goes on.*\r\n")
                assert beside.wait() == 6
                assert beside.mode_now() == beside.mode
            shell.type("fg\n")
            shell.expect("goes on\r\n")
            shell.type("\x03")  # Ctrl-C
            shell.expect(PROMPT)
            shell.type("echo $?; exit 3\n")
            shell.expect(r"\r\n130\r\n")
            assert shell.wait() == 3
            assert shell.mode_now() == shell.mode

    def test_mode_is_raw_and_restored(self, minirunc: Runtime, made: Bundle) -> None:
        """While the process runs the container's terminal edits lines and makes signals, not ours."""
        made.args("echo ready; read x; echo got $x")
        made.write()
        with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
            terminal.expect("ready\r\n")
            assert raw(terminal.mode_now())
            terminal.type("ab\x7fc\r")  # erase and carriage return are the inner terminal's work
            terminal.expect(r"ab\x08 \x08c\r\ngot ac\r\n")
            assert terminal.wait() == 0
            assert terminal.mode_now() == terminal.mode

    @pytest.mark.parametrize("how", ["kill", "delete", "SIGTERM", "SIGHUP", "SIGINT"])
    def test_mode_is_restored_whatever_ends_it(self, minirunc: Runtime, made: Bundle, how: str) -> None:
        """The container killed from beside, or a signal to minirunc, which forwards it."""
        made.args("trap 'exit 9' TERM HUP INT; echo ready; while :; do sleep 0.02; done")
        made.write()
        id = minirunc.id()
        with Terminal(minirunc, "run", "--bundle", made.path, id) as terminal:
            terminal.expect("ready\r\n")
            assert terminal.mode_now() != terminal.mode
            if how == "kill":
                minirunc.ok("kill", id, "KILL")
            elif how == "delete":
                minirunc.ok("delete", "--force", id)
            else:
                terminal.process.send_signal(getattr(signal, how))
            assert terminal.wait() == (9 if how.startswith("SIG") else 137)
            assert terminal.mode_now() == terminal.mode
        assert leftovers.state_directories(minirunc.root) == set()

    def test_mode_is_untouched_by_a_failure(self, minirunc: Runtime, made: Bundle) -> None:
        """A program that is not there."""
        made.args(["nosuch"])
        made.write()
        with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
            assert terminal.wait() == 1
            assert terminal.mode_now() == terminal.mode
            assert "executable file not found in $PATH" in terminal.out

    def test_size_is_ours_from_the_start(self, minirunc: Runtime, made: Bundle) -> None:
        """Before the process can ask; consoleSize is for who has no terminal."""
        made.args(["stty", "size"])
        made.process["consoleSize"] = {"height": 5, "width": 6}
        made.write()
        with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id(), size=(33, 77)) as terminal:
            assert terminal.wait() == 0
            assert terminal.out == "33 77\r\n"

    def test_size_follows_ours(self, minirunc: Runtime, made: Bundle) -> None:
        """SIGWINCH is passed on with the size."""
        made.args("trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done")
        made.write()
        id = minirunc.id()
        with Terminal(minirunc, "run", "--bundle", made.path, id) as terminal:
            terminal.expect("ready\r\n")
            terminal.resize(55, 44)
            terminal.expect("55 44\r\n")
            terminal.resize(66, 77)
            terminal.expect("66 77\r\n")
            minirunc.ok("kill", id, "KILL")
            assert terminal.wait() == 137

    def test_hung_up(self, minirunc: Runtime, made: Bundle) -> None:
        """Closing the window is SIGHUP for the container; nothing is left when it ends."""
        made.args("trap 'echo hup > /got; exit 4' HUP; echo ready; while :; do sleep 0.02; done")
        made.write()
        with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
            terminal.expect("ready\r\n")
            terminal.hang_up()
            assert terminal.process.wait(TIMEOUT_S) == 4
        assert (made.rootfs / "got").exists()
        assert leftovers.state_directories(minirunc.root) == set()

    def test_in_the_background_ours_is_left_alone(self, minirunc: Runtime, made: Bundle) -> None:
        """A job of a shell's: the mode is the shell's, and so is what is typed."""
        made.args("echo ready; read x")
        made.write()
        id = minirunc.id()
        minirunc.prefix = ["sh", "-mc", '"$@" & echo started; read y; echo shell has $y; kill -TERM $!; wait', "sh"]
        with Terminal(minirunc, "run", "--bundle", made.path, id) as terminal:
            minirunc.prefix = []
            terminal.expect("ready\r\n")
            assert terminal.mode_now() == terminal.mode
            terminal.type("line\n")
            terminal.expect("shell has line\r\n")
            minirunc.ok("delete", "--force", id)
            terminal.wait()


class TestPipes:
    """A terminal inside, none outside."""

    @pytest.mark.observes("process.terminal")
    def test_output_has_no_carriage_return(self, minirunc: Runtime, made: Bundle) -> None:
        """It would be in the way of every reader."""
        made.args(r"printf 'a\nb\n'; tty >/dev/null && echo terminal >&2")
        assert minirunc.run(made) == Result(0, "a\nb\nterminal\n", "")

    @pytest.mark.observes("process.consoleSize.height", "process.consoleSize.width")
    def test_console_size(self, minirunc: Runtime, made: Bundle) -> None:
        """process.consoleSize: the size where nobody else has one; exec's process has its own."""
        made.args(["stty", "size"])
        made.process["consoleSize"] = {"height": 12, "width": 34}
        assert minirunc.run(made).out == "12 34\n"
        file = made.path / "process.json"
        file.write_text(json.dumps(made.process | {"consoleSize": {"height": 5, "width": 6}}))
        made.args(["sleep", "1000"])
        made.process["terminal"] = False
        assert minirunc.ok("exec", "--process", file, minirunc.start(made)) == "5 6\n"

    @pytest.mark.parametrize("text", ["one\ntwo\n", "one\ntwo", ""])
    def test_end_of_input_is_passed_on(self, minirunc: Runtime, made: Bundle, text: str) -> None:
        """As end of file on the terminal, also in the middle of a line."""
        made.args("cat > /got; echo end")
        result = minirunc.run(made, input=text)
        assert (result.status, result.err) == (0, "")
        assert result.out.endswith("end\n")
        assert (made.rootfs / "got").read_text() == text

    def test_input_that_nobody_reads(self, minirunc: Runtime, made: Bundle) -> None:
        """It is dropped with the container."""
        made.args("exit 5")
        assert minirunc.run(made, input="x\n" * 100000).status == 5

    def test_a_mebibyte_comes_through(self, minirunc: Runtime, made: Bundle) -> None:
        """To the last byte, though the process has ended long before it is read."""
        made.args(MEBIBYTE)
        assert minirunc.run(made).out == "x" * 1024 * 1024
        running = minirunc.popen("run", "--bundle", made.path, minirunc.id())
        out, err = running.communicate(timeout=TIMEOUT_S)
        assert (running.returncode, len(out), err) == (0, 1024 * 1024, "")

    def test_a_mebibyte_of_exec_comes_through(self, minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
        """The same for exec, of a container without a terminal."""
        id = minirunc.start(bundle("sleep 1000"))
        assert minirunc.ok("exec", "-t", id, "sh", "-c", MEBIBYTE) == "x" * 1024 * 1024

    def test_reader_that_leaves(self, minirunc: Runtime, made: Bundle) -> None:
        """The container goes on to its end."""
        made.args(f"echo first; {MEBIBYTE}; echo > /done; exit 7")
        made.write()
        running = minirunc.popen("run", "--bundle", made.path, minirunc.id(), stdin=subprocess.DEVNULL)
        assert running.stdout is not None
        assert running.stdout.readline() == "first\n"
        running.stdout.close()
        assert running.wait(TIMEOUT_S) == 7
        assert (made.rootfs / "done").exists()

    def test_reader_that_sleeps_holds_up_no_signal(self, minirunc: Runtime, made: Bundle) -> None:
        """Nor the end of the container; a further signal says that the rest is not wanted."""
        made.args("yes & trap 'echo > /got; exit 9' TERM; echo > /ready; while :; do sleep 0.02; done")
        made.write()
        running = minirunc.popen("run", "--bundle", made.path, minirunc.id(), stdin=subprocess.DEVNULL)
        wait_until((made.rootfs / "ready").exists, "it runs")
        assert running.stdout is not None
        wait_until(lambda: 0 < _unread(running.stdout) == _unread(running.stdout, after_s=0.1), "the pipe is full")
        running.terminate()
        wait_until((made.rootfs / "got").exists, "the container got the signal")
        while running.poll() is None:
            running.terminate()
            time.sleep(0.02)
        assert running.returncode == 9
        assert leftovers.state_directories(minirunc.root) == set()


class Receiver:
    """Listens at a --console-socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        where = os.open(path.parent, os.O_PATH)
        self.socket.bind(f"/proc/self/fd/{where}/{path.name}")
        os.close(where)
        self.socket.listen()
        self.socket.settimeout(TIMEOUT_S)

    def receive(self) -> tuple[bytes, list[int]]:
        """All that comes by the one connection."""
        connection, _ = self.socket.accept()
        connection.settimeout(TIMEOUT_S)
        payload, fds = b"", array.array("i")
        with connection:
            while True:
                data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16 * fds.itemsize))
                for _, _, rights in ancillary:
                    fds.frombytes(rights)
                if not data and not ancillary:
                    return payload, list(fds)
                payload += data


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A socket for consoles."""
    made = Receiver(tmp_path / "console.sock")
    yield made
    made.socket.close()


def talk(master: int, text: str, until: str) -> str:
    """Type, and read until this is shown."""
    os.write(master, text.encode())
    out = ""
    while until not in out:
        assert select.select([master], [], [], TIMEOUT_S)[0], f"not shown: {until!r}; but:\n{out}"
        out += os.read(master, 4096).decode()
    return out


class TestConsoleSocket:
    """--console-socket: the pty's master for a manager."""

    def test_receives_exactly_one_fd(self, minirunc: Runtime, made: Bundle, receiver: Receiver) -> None:
        """In one message, before create returns; it is the terminal of the process that start lets go."""
        made.args(["sh"])
        made.process["consoleSize"] = {"height": 12, "width": 34}
        id = minirunc.create(made, "--console-socket", receiver.path)
        payload, (master,) = receiver.receive()
        assert payload == b"/dev/ptmx"
        assert size(master) == (12, 34)
        minirunc.ok("start", id)
        talk(master, "", PROMPT)
        out = talk(master, "tty; echo $((6*7)); [ /dev/console -ef $(tty) ] && echo same\n", "same\r\n" + PROMPT)
        assert "\r\n/dev/pts/0\r\n42\r\n" in out
        os.close(master)
        minirunc.ok("delete", "--force", id)

    def test_of_run_and_exec_detached(self, minirunc: Runtime, made: Bundle, receiver: Receiver) -> None:
        """Each has its own; a process's user owns its terminal."""
        made.process["user"] = {"uid": 1000, "gid": 1000}
        made.args("stat -c %u $(tty) /dev/console; read x")
        id = minirunc.start(made, "--console-socket", receiver.path)
        _, (first,) = receiver.receive()
        talk(first, "", "1000\r\n1000\r\n")
        script = "stat -c %u $(tty); test -w $(tty) && echo writable; exec sleep 1000"
        exec_ = ("exec", "-t", "-d", "--user", "2000", "--console-socket", receiver.path)
        minirunc.ok(*exec_, id, "sh", "-c", script)
        _, (second,) = receiver.receive()
        talk(second, "", "2000\r\nwritable\r\n")
        os.close(first)
        os.close(second)

    def test_console_size_of_a_process_file(
        self, minirunc: Runtime, made: Bundle, receiver: Receiver, tmp_path: Path
    ) -> None:
        """terminal and consoleSize are the file's."""
        made.process["terminal"] = False
        id = minirunc.start(made)
        file = tmp_path / "process.json"
        file.write_text('{"terminal":true,"consoleSize":{"height":7,"width":9},"args":["/bin/cat"],"cwd":"/"}')
        minirunc.ok("exec", "--detach", "--process", file, "--console-socket", receiver.path, id)
        _, (master,) = receiver.receive()
        assert size(master) == (7, 9)
        os.close(master)

    def test_long_path(self, minirunc: Runtime, made: Bundle, tmp_path: Path) -> None:
        """Longer than the 107 bytes of a socket's address."""
        listening = Receiver(tmp_path / ("d" * 100) / "console.sock")
        assert len(str(listening.path)) > 107
        minirunc.create(made, "--console-socket", listening.path)
        _, fds = listening.receive()
        assert len(fds) == 1
        os.close(fds[0])
        listening.socket.close()

    def test_relative_path(self, minirunc: Runtime, made: Bundle, receiver: Receiver) -> None:
        """From the caller's directory, not the bundle's."""
        minirunc.create(made, "--console-socket", receiver.path.name, cwd=receiver.path.parent)
        _, fds = receiver.receive()
        assert len(fds) == 1
        os.close(fds[0])

    def test_nobody_listens(self, minirunc: Runtime, made: Bundle, receiver: Receiver, tmp_path: Path) -> None:
        """A missing or dead socket fails create, and nothing is left."""
        made.write()
        receiver.socket.close()
        for path, why in ((tmp_path / "nosuch", "no such file or directory"), (receiver.path, "connection refused")):
            result = minirunc("create", "--bundle", made.path, "--console-socket", path, minirunc.id())
            assert (result.status, result.out) == (1, "")
            assert f"socket {path}: {why}" in result.err
            assert leftovers.state_directories(minirunc.root) == set()


class TestRefused:
    """What cannot be meant."""

    WITHOUT = "cannot allocate tty if minirunc will detach without setting console socket"
    NEEDLESS = "cannot use console socket if minirunc will not detach or allocate tty"

    @pytest.mark.parametrize("command", [["create"], ["run", "--detach"]])
    def test_terminal_for_nobody(self, minirunc: Runtime, made: Bundle, command: list[str]) -> None:
        """Detached without a socket."""
        made.write()
        result = minirunc(*command, "--bundle", made.path, minirunc.id())
        assert (result.status, result.out) == (1, "")
        assert self.WITHOUT in result.err
        assert leftovers.state_directories(minirunc.root) == set()

    @pytest.mark.parametrize(
        ("command", "terminal"),
        [(["create"], False), (["run", "--detach"], False), (["run"], True), (["run"], False)],
    )
    def test_needless_socket(
        self, minirunc: Runtime, made: Bundle, receiver: Receiver, command: list[str], terminal: bool
    ) -> None:
        """No terminal to send, or somebody here has it."""
        made.process["terminal"] = terminal
        made.write()
        result = minirunc(*command, "--console-socket", receiver.path, "--bundle", made.path, minirunc.id())
        assert (result.status, result.out) == (1, "")
        assert self.NEEDLESS in result.err
        assert leftovers.state_directories(minirunc.root) == set()

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (["--tty", "--detach"], WITHOUT),
            (["--console-socket", "x"], NEEDLESS),
            (["--console-socket", "x", "--tty"], NEEDLESS),
            (["--console-socket", "x", "--detach"], NEEDLESS),
        ],
    )
    def test_exec(self, minirunc: Runtime, bundle: Callable[..., Bundle], options: list[str], why: str) -> None:
        """The same of exec, with its exit status."""
        id = minirunc.start(bundle("sleep 1000"))
        result = minirunc("exec", *options, id, "true")
        assert result.status == 255
        assert f'msg="exec failed: {why}"' in result.err


def _unread(stream: object, after_s: float = 0) -> int:
    """Bytes that wait in a pipe."""
    time.sleep(after_s)
    return int(struct.unpack("<i", fcntl.ioctl(stream, termios.FIONREAD, bytes(4)))[0])  # type: ignore[call-overload]


# --- an image that brings its own ---


def image_with_dev(made: Bundle, *kept: str) -> Path:
    """Have /dev be the image's, but for these mounts: its directory."""
    made.config["mounts"] = [
        mount
        for mount in made.config["mounts"]
        if not mount["destination"].startswith("/dev") or mount["destination"] in kept
    ]
    (made.rootfs / "dev/pts").mkdir(exist_ok=True)
    return made.rootfs / "dev"


@pytest.mark.parametrize("name", ["pts/ptmx", "ptmx"])
def test_what_an_image_has_as_ptmx_is_not_opened(minirunc: Runtime, made: Bundle, name: str) -> None:
    """To open a device (a watchdog, a tape) may be all it takes: a reader of the fifo sees nobody come."""
    dev = image_with_dev(made)
    os.mkfifo(dev / name)
    reader = os.open(dev / name, os.O_RDONLY | os.O_NONBLOCK)
    watch = select.poll()
    watch.register(reader, select.POLLIN)
    made.write()
    with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
        assert terminal.wait() == 1
        came = watch.poll(0)
        os.close(reader)
    assert came == []


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/self/fd/0", "/new"])
def test_console_is_not_mounted_through_a_link(minirunc: Runtime, made: Bundle, target: str) -> None:
    """CVE-2025-52565: /dev/console of an image that is a link is refused, and nothing is made where it leads."""
    dev = image_with_dev(made, "/dev/pts")
    (dev / "console").symlink_to(target)
    made.write()
    with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
        terminal.expect("/dev/console in the container is a symbolic link")
        assert terminal.wait() == 1
    assert not (made.rootfs / "new").exists()


def test_ptmx_of_a_dev_that_is_bound_may_lead_to_any_devpts(minirunc: Runtime, made: Bundle, tmp_path: Path) -> None:
    """Without a devpts on /dev/pts: what /dev/ptmx leads to is opened, if it is that device."""
    image_with_dev(made)
    dev = tmp_path / "dev"
    dev.mkdir()
    (dev / "ptmx").symlink_to("/pts/ptmx")
    made.mount("/dev", "bind", str(dev), "bind")
    made.mount("/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666")
    made.args("stat -c '%t:%T' /dev/console")
    made.write()
    with Terminal(minirunc, "run", "--bundle", made.path, minirunc.id()) as terminal:
        terminal.expect("88:0")
        assert terminal.wait() == 0
