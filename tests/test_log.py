"""base/log.py and what __main__ reports with it: the line, its place and form, and that there is just one."""

import json
import os
import re
import socket
import subprocess
import sys
from functools import partial

import pytest

from minirunc.base import log, log_service
from minirunc.base.errors import Error
from tests.command_line import TOP, run

NOW = 1763803433  # 2025-11-22T09:23:53Z


@pytest.fixture
def minirunc(tmp_path):
    """Run the command line in an empty directory."""
    return partial(run, tmp_path)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("boom", "boom"),
        ("/run/x-1.y_z@^+", "/run/x-1.y_z@^+"),
        ("", ""),
        ("container does not exist", '"container does not exist"'),
        ('"state" requires', '"\\"state\\" requires"'),
        ("a\\b\n\t\x01\x7f", '"a\\\\b\\n\\t\\x01\\x7f"'),
        ("grüße", '"grüße"'),
        ("\u2028\U000e0001", '"\\u2028\\U000e0001"'),
        ("byte \udcff", '"byte \\xff"'),
    ],
)
def test_text_lines_are_quoted_as_logrus_does(message, shown):
    """Callers and upstream tests read logrus' text form."""
    assert log.text_line("error", message, NOW) == f'time="2025-11-22T09:23:53Z" level=error msg={shown}\n'


def test_json_lines_have_sorted_keys():
    """Podman and containerd read `level`, `msg` and `time`; upstream tests know their order."""
    line = log.json_line("error", 'no "x"\n', NOW)
    assert line == '{"level":"error","msg":"no \\"x\\"\\n","time":"2025-11-22T09:23:53Z"}\n'
    assert json.loads(log.json_line("error", "\udcff", NOW))["msg"] == "\udcff"


def test_the_core_is_silent_until_a_face_listens():
    """The runtime core works in any process and prints nothing by itself."""
    heard = []
    log.debug("nobody")
    assert not log.debugging()
    log.listen(heard.append, None)
    try:
        assert log.debugging()
        log.debug("somebody")
        log.warning("not this")
    finally:
        log.listen(None, None)
    log.debug("nobody again")
    assert heard == ["somebody"]


def test_lines_are_appended_by_one_write_each(tmp_path):
    """Several runtimes append to one log at a time."""
    path = tmp_path / "log"
    path.write_text("before\n")
    lines = log.open_file(str(path), "text")
    assert not os.get_inheritable(lines.fd)
    lines.warning("one")
    lines.debug("two")
    os.close(lines.fd)
    assert [line.split("level=")[-1] for line in path.read_text().splitlines()] == [
        "before",
        "warning msg=one",
        "debug msg=two",
    ]


def test_a_log_that_is_full_does_not_stop_the_work():
    """Only the report of a failure minds; a warning is not worth one."""
    full = log.open_file("/dev/full", "text")
    full.warning("lost")
    full.debug("lost")
    with pytest.raises(OSError, match="No space left"):
        full.line("error", "said on stderr instead")
    os.close(full.fd)


def test_a_log_without_its_directory_is_refused(tmp_path):
    """--log FILE: the directory must exist."""
    with pytest.raises(Error) as refused:
        log.open_file(str(tmp_path / "no" / "log"), "text")
    assert str(refused.value) == f"open {tmp_path}/no/log: no such file or directory"


TEXT = r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=error msg="No help topic for \'foo\'"\n'


def test_an_error_without_log_is_one_line_on_stderr(minirunc):
    """If the log is stderr, only the log line is printed."""
    done = minirunc("foo")
    assert re.fullmatch(TEXT, done.stderr)
    assert (done.returncode, done.stdout) == (3, "")


def test_an_error_with_log_is_one_line_there_and_bare_on_stderr(minirunc, tmp_path):
    """If the log is not stderr, the bare error text is printed on stderr too."""
    done = minirunc("--log", "log", "foo")
    assert re.fullmatch(TEXT, (tmp_path / "log").read_text())
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o644
    assert done.stderr == "No help topic for 'foo'\n"


def test_an_error_with_json_log_is_one_document(minirunc, tmp_path):
    """Podman parses the whole file as one JSON document."""
    done = minirunc("--log", "log.json", "--log-format", "json", "state", "--bad", "x")
    entry = json.loads((tmp_path / "log.json").read_text())
    assert list(entry) == ["level", "msg", "time"]
    assert (entry["level"], entry["msg"]) == ("error", "flag provided but not defined: -bad")
    assert (done.returncode, done.stderr) == (1, "flag provided but not defined: -bad\n")


def test_json_without_a_file_goes_to_stderr(minirunc):
    """--log-format json says how, --log where."""
    assert json.loads(minirunc("--log-format", "json", "foo").stderr)["msg"] == "No help topic for 'foo'"


def test_a_log_that_cannot_be_opened_fails_the_command(minirunc, tmp_path):
    """Nothing is done when its report could not be written."""
    done = minirunc("--log", "no/log", "spec")
    assert done.stderr.endswith('level=error msg="open no/log: no such file or directory"\n')
    assert (done.returncode, done.stdout, (tmp_path / "config.json").exists()) == (1, "", False)


def test_engines_are_told_that_there_is_no_checkpoint(minirunc, tmp_path):
    """Podman and CRI-O take a `checkpoint --help` that succeeds for a yes; one error record says why not."""
    for words in (["checkpoint", "--help"], ["checkpoint", "x"], ["restore", "--help"], ["help", "checkpoint"]):
        done = minirunc("--log", "log", "--log-format", "json", *words)
        entry = json.loads((tmp_path / "log").read_text())
        (tmp_path / "log").unlink()
        named = next(word for word in words if word in ("checkpoint", "restore"))
        assert entry["msg"] == f"{named} is not supported: minirunc does not use CRIU"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", entry["msg"] + "\n")


def test_a_log_file_in_words_of_cruns(minirunc, tmp_path):
    """--log file:PATH."""
    assert minirunc("--log", "file:log", "foo").returncode == 3
    assert re.fullmatch(TEXT, (tmp_path / "log").read_text())


@pytest.fixture
def service(tmp_path, monkeypatch):
    """What listens in the place of journald and of syslog."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "service"))
        listening.settimeout(20)
        for name in log_service.SOCKETS:
            monkeypatch.setitem(log_service.SOCKETS, name, str(tmp_path / "service"))
        yield listening


def test_a_log_at_journald(service):
    """--log journald:NAME: an entry a line, with its priority; what a message holds is no field."""
    box = log.open_file("journald:box", "text")
    box.line("error", "a\nPRIORITY=0")
    assert service.recv(4096) == b"PRIORITY=3\nSYSLOG_IDENTIFIER=box\nMESSAGE=a\\x0aPRIORITY=0\n"
    box.warning("careful")
    assert service.recv(4096).startswith(b"PRIORITY=4\n")
    os.close(box.fd)
    unnamed = log.open_file("journald:", "json")
    unnamed.debug("x\ny")
    priority, name, message = service.recv(4096).decode().splitlines()
    assert (priority, name) == ("PRIORITY=7", "SYSLOG_IDENTIFIER=minirunc")
    assert json.loads(message.removeprefix("MESSAGE="))["msg"] == "x\ny"
    os.close(unnamed.fd)


def test_a_log_at_syslog(service):
    """--log syslog:NAME: priority, date, name and pid as syslog(3) has them."""
    box = log.open_file("syslog:box", "text")
    box.line("error", "not found")
    record = service.recv(4096).decode()
    assert re.fullmatch(r"<11>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d box\[\d+\]: not found", record)
    os.close(box.fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")
def test_a_service_that_does_not_listen(minirunc):
    """Nothing is done when its report could not be sent."""
    prefix = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run; exec "$@"', "sh")
    done = minirunc("--log", "journald:x", "spec", prefix=prefix)
    why = "open journald:x: /run/systemd/journal/socket: no such file or directory"
    assert done.stderr.endswith(f'level=error msg="{why}"\n')
    assert done.returncode == 1


def test_success_leaves_the_log_empty(minirunc, tmp_path):
    """containerd appends to one file over a container's whole life: no line in normal operation."""
    assert minirunc("--log", "log", "spec").returncode == 0
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is missing")
def test_a_full_log_still_tells_stderr(minirunc):
    """The reason is not lost with the log's disk."""
    done = minirunc("--log", "/dev/full", "foo")
    assert (done.returncode, done.stderr) == (3, "No help topic for 'foo'\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is missing")
def test_a_full_disk_below_stdout_is_an_error(minirunc):
    """Output that was lost is not success."""
    with open("/dev/full", "w") as full:
        done = minirunc("features", stdout=full)
    assert done.returncode == 1
    assert done.stderr.endswith('level=error msg="no space left on device"\n')


def test_closed_standard_fds_are_filled(tmp_path):
    """A file we open must not become fd 2, and get our error lines."""
    run(tmp_path, "-v")
    launched = f'exec "{sys.executable}" -I -S .bin/minirunc'
    command = f"exec 0<&- 1>&- 2>&-; {launched} --log log foo"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, check=False).returncode == 3
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    command = f"exec 1>&- 2>&-; {launched} spec"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, check=False).returncode == 0
    json.loads((tmp_path / "config.json").read_text())


def test_debug_shows_where_an_error_comes_from(minirunc, tmp_path):
    """--debug: every step; the error itself is still the last and only error line."""
    (tmp_path / "config.json").write_text("{}")
    lines = minirunc("--debug", "spec").stderr.splitlines()
    assert any("level=debug" in line and "spec.py" in line for line in lines)
    assert [line for line in lines if "level=error" in line] == lines[-1:]


PROBLEMS = {
    "KeyboardInterrupt()": ("interrupted", 130),
    "MemoryError()": ("out of memory", 1),
    "RecursionError()": ("something is nested too deeply to be read", 1),
    "OSError(13, 'x', '/etc/shadow')": ("/etc/shadow: permission denied", 1),
    "OSError(28, 'x')": ("no space left on device", 1),
    "Error('plain')": ("plain", 1),
    "ValueError('oops')": ("internal error: ValueError: oops (--debug shows where)", 1),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(("words", "prefix", "status"), [
    (["state", "x"], "", 1),
    (["create", "x"], "minirunc create failed: ", 1),
    (["run", "x"], "minirunc run failed: ", 1),
    (["exec", "x", "true"], "exec failed: ", 255),
])  # fmt: skip
def test_whatever_a_command_raises_is_one_clear_line(problem, words, prefix, status):
    """runc's prefixes and exit codes; no traceback."""
    program = f"""
import sys
sys.path.insert(0, {str(TOP)!r})
from minirunc.base.errors import Error
from minirunc.cli.table import COMMANDS
def target(settings, *operands, **options):
    raise {problem}
class Module: fail = target
sys.modules["failing"] = Module
sys.argv = ["/usr/bin/minirunc"] + {words!r}
COMMANDS[sys.argv[1]].target = "failing:fail"
from minirunc.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    message, own_status = PROBLEMS[problem]
    assert done.stderr.split(" level=error ")[1] == f"msg={log.quoted(prefix + message)}\n"
    assert done.returncode == (own_status if own_status == 130 else status)
