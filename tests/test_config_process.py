"""config/process: checks of process.*, with runc's words where it has some."""

import json

import pytest

from minirunc.base.errors import Error
from minirunc.config import load_process
from minirunc.config.process import capabilities, env
from tests.config_json import ABSENT, loaded, refusal

RLIMITS = "process.rlimits"
REFUSED = [
    ("cwd", "", "process.cwd: Cwd property must not be empty"),
    ("cwd", ABSENT, "process.cwd: Cwd property must not be empty"),
    ("cwd", "tmp", "process.cwd: Cwd must be an absolute path"),
    ("args", [], "process.args: args must not be empty"),
    ("args", ABSENT, "process.args: args must not be empty"),
    ("args", ["a", 1], "process.args[1]: expected a string, got an integer (1)"),
    ("args", "true", 'process.args: expected a list, got a string ("true")'),
    ("env", ["A=1", "B"], "process.env[1]: invalid environment variable: missing '='"),
    ("env", ["=1"], "process.env[0]: invalid environment variable: name cannot be empty"),
    ("env", [""], "process.env[0]: invalid environment variable: missing '='"),
    ("env", {"A": "1"}, "process.env: expected a list, got an object"),
    ("terminal", 1, "process.terminal: expected true or false, got an integer (1)"),
    ("user", {"uid": -1}, "process.user.uid: expected an integer from 0 to 4294967295, got -1"),
    ("user", {"uid": 2**32 - 1}, "process.user.uid: 4294967295 is not an id"),
    ("user", {"gid": 2**32 - 1}, "process.user.gid: 4294967295 is not an id"),
    ("user", {"gid": "5"}, 'process.user.gid: expected an integer, got a string ("5")'),
    ("user", {"additionalGids": [5, True]}, "process.user.additionalGids[1]: expected an integer, got true"),
    ("user", {"additionalGids": [5, 2**32 - 1]}, "process.user.additionalGids[1]: 4294967295 is not an id"),
    ("user", {"umask": 512}, "process.user.umask: must be at most 511 (octal 777), got 512"),
    (
        "rlimits",
        [{"type": "RLIMIT_X", "soft": 1, "hard": 1}],
        (
            "process.rlimits[0].type: wrong rlimit value: RLIMIT_X: expected one of RLIMIT_CPU, "
            "RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, "
            "RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, "
            "RLIMIT_RTPRIO, RLIMIT_RTTIME"
        ),
    ),
    (
        "rlimits",
        [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 5}],
        "process.rlimits[1].soft: 10 is above the hard limit 5",
    ),
    (
        "rlimits",
        [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}],
        "process.rlimits[1].type: RLIMIT_CPU is given twice",
    ),
    (
        "rlimits",
        [{"type": "RLIMIT_CPU", "soft": "1", "hard": 1}],
        'process.rlimits[0].soft: expected an integer, got a string ("1")',
    ),
    ("oomScoreAdj", 1001, "process.oomScoreAdj: expected an integer from -1000 to 1000, got 1001"),
    ("oomScoreAdj", -1001, "process.oomScoreAdj: expected an integer from -1000 to 1000, got -1001"),
    ("capabilities", ["CAP_KILL"], "process.capabilities: expected an object, got a list"),
    (
        "scheduler",
        {},
        (
            "process.scheduler.policy: scheduler policy is required: expected one of SCHED_OTHER, "
            "SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE, SCHED_DEADLINE"
        ),
    ),
    (
        "scheduler",
        {"policy": "RR"},
        (
            "process.scheduler.policy: invalid scheduler policy: RR: expected one of SCHED_OTHER, "
            "SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE, SCHED_DEADLINE"
        ),
    ),
    (
        "scheduler",
        {"policy": "SCHED_RR", "flags": ["SCHED_FLAG_RECLAIM", "X"]},
        (
            "process.scheduler.flags[1]: invalid scheduler flag: X: expected one of "
            "SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_RECLAIM, SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_POLICY, "
            "SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_UTIL_CLAMP_MIN, SCHED_FLAG_UTIL_CLAMP_MAX"
        ),
    ),
    (
        "scheduler",
        {"policy": "SCHED_BATCH", "nice": 20},
        (
            "process.scheduler.nice: invalid scheduler.nice: 20 when scheduler.policy is SCHED_BATCH: "
            "expected an integer from -20 to 19"
        ),
    ),
    (
        "scheduler",
        {"policy": "SCHED_OTHER", "priority": 1},
        (
            "process.scheduler.priority: scheduler.priority can only be specified for SchedFIFO or SchedRR "
            "policy: process.scheduler.policy is SCHED_OTHER"
        ),
    ),
    (
        "scheduler",
        {"policy": "SCHED_FIFO", "priority": 1, "deadline": 5},
        (
            "process.scheduler: scheduler runtime/deadline/period can only be specified for SchedDeadline "
            "policy: process.scheduler.policy is SCHED_FIFO"
        ),
    ),
    (
        "ioPriority",
        {},
        (
            'process.ioPriority.class: invalid ioPriority.Class: "": expected one of IOPRIO_CLASS_RT,'
            " IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE"
        ),
    ),
    (
        "ioPriority",
        {"class": "BE", "priority": 0},
        (
            'process.ioPriority.class: invalid ioPriority.Class: "BE": expected one of IOPRIO_CLASS_RT,'
            " IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE"
        ),
    ),
    (
        "ioPriority",
        {"class": "IOPRIO_CLASS_BE", "priority": 8},
        "process.ioPriority.priority: invalid ioPriority.Priority: 8: expected an integer from 0 to 7",
    ),
    (
        "execCPUAffinity",
        {"initial": "a"},
        'process.execCPUAffinity.initial: bad CPUAffinity.Initial: "a" is not a number',
    ),
    (
        "execCPUAffinity",
        {"initial": "0", "final": "3-1"},
        "process.execCPUAffinity.final: bad CPUAffinity.Final: invalid range: 3-1",
    ),
    (
        "execCPUAffinity",
        {"final": "70000"},
        "process.execCPUAffinity.final: bad CPUAffinity.Final: values larger than 65536 are not supported",
    ),
    (
        "execCPUAffinity",
        {"final": " ,"},
        'process.execCPUAffinity.final: bad CPUAffinity.Final: no members found in set " ,"',
    ),
]


@pytest.mark.parametrize(("field", "value", "message"), REFUSED)
def test_what_is_wrong_is_named(field: str, value: object, message: str) -> None:
    assert refusal({f"process.{field}": value}) == f"config.json: {message}"


ACCEPTED = [
    ("rlimits", [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}]),
    ("oomScoreAdj", -1000),
    ("scheduler", {"policy": "SCHED_OTHER", "nice": -20}),
    ("scheduler", {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
    ("scheduler", {"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
    ("ioPriority", {"class": "IOPRIO_CLASS_IDLE"}),
    ("execCPUAffinity", {"initial": "0-3, 7"}),
    ("capabilities", {}),
    ("user", {"uid": 2**32 - 2, "umask": 0o777, "additionalGids": []}),
]


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ({"height": 5}, "width: missing"),
        ({"height": 70000, "width": 5}, "height: expected an integer from 0 to 65535, got 70000"),
    ],
)
def test_a_console_size_is_looked_at_only_for_a_terminal(size: dict[str, int], why: str) -> None:
    """Spec: runtimes MUST ignore it if terminal is false or unset."""
    wrong = {"process.consoleSize": size, "process.terminal": True}
    assert refusal(wrong) == f"config.json: process.consoleSize.{why}"
    loaded(wrong | {"process.terminal": False})
    text = json.dumps({"args": ["a"], "cwd": "/", "consoleSize": size})
    load_process(text)
    with pytest.raises(Error, match=why):
        load_process(text, terminal=True)


@pytest.mark.parametrize(("field", "value"), ACCEPTED)
def test_what_is_right_is_accepted(field: str, value: object) -> None:
    loaded({f"process.{field}": value})


def test_oom_score_adj_tells_zero_from_absent() -> None:
    assert loaded({"process.oomScoreAdj": 0}).process.oom_score_adj == 0
    assert loaded({}).process.oom_score_adj is None


def test_home_is_of_a_whole_line_of_passwd() -> None:
    """A line ends with a newline alone: a name may hold what Python takes for another end."""
    assert env.home(b"a:x:5:5:\x0bb:x:0:0::/evil:/:\nroot:x:0:0::/root:\n", 0) == "/root"


def test_capability_names_stand_at_their_numbers() -> None:
    """linux/capability.h."""
    assert len(capabilities.NAMES) == 41
    for name, number in (("CAP_KILL", 5), ("CAP_SYS_ADMIN", 21), ("CAP_SETFCAP", 31), ("CAP_BPF", 39)):
        assert capabilities.NAMES[number] == name
    assert capabilities.mask(["CAP_CHOWN", "CAP_KILL", "CAP_X"]) == 0b100001
