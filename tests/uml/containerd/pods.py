"""What a kubelet does of its node's containerd, as scenes for compare.py: the calls of CRI."""

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.ground.compare import Stage
from tests.uml.containerd.cri import Error
from tests.uml.containerd.engine import IMAGE, Node
from tests.uml.containerd.scenes import LOOK, SLEEP

MANY, AT_A_TIME = 25, 10
POD, CONTAINER, NODE = 0, 1, 2  # of which the namespaces are (NamespaceMode)
STATES = ("created", "running", "exited", "unknown")
GRACE_S = 30
NUMBERS = "cd /sys/fs/cgroup; grep . memory.max memory.swap.max cpu.max cpu.weight pids.max; cat /proc/self/cgroup"
BLOTS = [
    (r"[0-9a-f-]+cri-containerd|cri-containerd[-:][0-9a-f]+", "cri-containerd"),
    (r"kubepods-(\w+?)(mini)?runc\.slice", r"kubepods-\1.slice"),
    # It is a bind mount with "rw": runc 1.5 sets what is asked for, Debian's 1.1 keeps what the source has.
    (r"/dev/shm rw,(nosuid,nodev,noexec,)?relatime - tmpfs shm", "/dev/shm rw - tmpfs shm"),
]


class Pod:
    """A pod as the kubelet makes it, in the network of the node; each call is kept."""

    def __init__(self, do: Stage, name: str = "pod", *, privileged: bool = False, **namespaces: int) -> None:
        assert isinstance(do.engine, Node)
        self.do = do
        self.node = do.engine
        self.logs = Path(self.node.logs, name)
        self.namespaces = {"network": NODE, **namespaces}
        systemd = self.node.driver == "systemd"
        self.config = {
            "metadata": {"name": name, "uid": f"uid-{self.node.driver}", "namespace": "default"},
            "log_directory": str(self.logs),
            "linux": {
                "cgroup_parent": f"kubepods-{name}{self.node.runtime}.slice"
                if systemd
                else f"/kubepods/{self.node.runtime}",
                "security_context": {"namespace_options": self.namespaces, "privileged": privileged},
            },
        }
        answer = self.call("RunPodSandbox", config=self.config, runtime_handler=self.node.handler)
        self.id = answer["pod_sandbox_id"]

    def call(self, method: str, /, **request: Any) -> dict[str, Any]:
        """Kept are the error, or else what the answer has to say."""
        words = [
            method,
            *request.get("cmd", ()),
            *(f"{name}={value}" for name, value in request.get("linux", {}).items()),
        ]
        try:
            answer = self.node.client.call(method, **request)
        except Error as error:
            self.do.keep(words, error.code, str(error))
            return {}
        said = f"{answer.get('stdout', '')}{answer.get('stderr', '')}"
        self.do.keep(words, answer.get("exit_code", 0), said)
        return answer

    def create(self, name: str, command: Sequence[str], resources: Any = None, **more: Any) -> str:
        """Make a container; `more` is ContainerConfig, its `security` apart. The id, or "" if that failed."""
        security = {"namespace_options": self.namespaces, **more.pop("security", {})}
        linux = {"resources": resources or {}, "security_context": security}
        config = {"metadata": {"name": name}, "image": {"image": IMAGE}, "command": list(command), "linux": linux}
        config |= {"log_path": f"{name}.log", **more}
        request = {"pod_sandbox_id": self.id, "config": config, "sandbox_config": self.config}
        return str(self.call("CreateContainer", **request).get("container_id", ""))

    def start(self, *args: Any, **more: Any) -> str:
        """Make a container and start it."""
        if id := self.create(*args, **more):
            self.call("StartContainer", container_id=id)
        return id

    def run(self, name: str, *args: Any, **more: Any) -> None:
        """Make a container, start it, wait for its end; its log and status are kept."""
        id = self.start(name, *args, **more)
        self.ends(id)
        self.status(id)
        self.log(name)

    def ends(self, id: str) -> None:
        """Wait until a container has ended."""
        while self.now(id).get("state") == 1:
            time.sleep(0.2)

    def now(self, id: str) -> dict[str, Any]:
        """A ContainerStatus."""
        return dict(self.node.client.call("ContainerStatus", container_id=id)["status"])

    def status(self, id: str) -> None:
        """Keep what `kubectl describe` shows of it."""
        now = self.now(id)
        told = f"{STATES[now.get('state', 0)]}, {now.get('reason')}: {now.get('message')}"
        self.do.keep(["ContainerStatus"], now.get("exit_code", 0), told)

    def log(self, name: str) -> None:
        """Keep what `kubectl logs` shows."""
        self.do.keep(
            ["logs", name], 0, re.sub(r"^\S+ ", "", (self.logs / f"{name}.log").read_text(), flags=re.MULTILINE)
        )

    def exec(self, id: str, script: str, timeout_s: int = 0) -> None:
        """`kubectl exec`, and what the probes of the health of a container do."""
        self.call("ExecSync", container_id=id, cmd=["sh", "-c", script], timeout=timeout_s)

    def remove(self) -> None:
        """As the kubelet does when a pod is deleted."""
        self.call("StopPodSandbox", pod_sandbox_id=self.id)
        self.call("RemovePodSandbox", pod_sandbox_id=self.id)


def life(do: Stage) -> None:
    """A pod of two containers, from its start to its end: limits, probes, an update, what is measured."""
    pod = Pod(do)
    limits = {"cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 2, "memory_limit_in_bytes": 64 << 20}
    one = pod.start("one", ["sh", "-c", "trap 'echo ended; exit 3' TERM; echo begun; while :; do sleep 0.1; done"])
    other = pod.start("other", SLEEP, limits | {"oom_score_adj": 500})
    pod.status(other)
    pod.exec(other, f"{NUMBERS}; cat /proc/self/oom_score_adj")
    pod.exec(other, "echo out; echo err >&2; exit 4")
    pod.exec(other, "sleep 100", timeout_s=1)
    pod.call("ExecSync", container_id=other, cmd=["no-such-program"])
    pod.call("ExecSync", container_id=other, cmd=["/etc/passwd"])
    smaller = {"cpu_quota": 25000, "cpu_shares": 262144, "memory_limit_in_bytes": 32 << 20}
    pod.call("UpdateContainerResources", container_id=other, linux=smaller)
    pod.exec(other, NUMBERS)
    stats = pod.node.client.call("ContainerStats", container_id=other)["stats"]
    do.keep(["ContainerStats"], 0, str({name: sorted(stats[name]) for name in ("cpu", "memory")}))
    pod.call("StopContainer", container_id=one, timeout=GRACE_S)
    pod.status(one)
    pod.log("one")
    pod.call("StopContainer", container_id=other, timeout=1)
    pod.status(other)
    pod.call("RemoveContainer", container_id=other)
    pod.run("greedy", ["sh", "-c", "tail /dev/zero; sleep 1; exit 6"], limits)
    pod.run("again", ["sh", "-c", "echo a second time; exit 9"])
    pod.remove()


def sharing(do: Stage) -> None:
    """What a container shares with the others of its pod: their processes, or none, or the node's."""
    look = """cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '10000[0]'
        for name in net ipc uts pid mnt cgroup; do
            test "$(readlink /proc/1/ns/$name)" = "$(readlink /proc/self/ns/$name)"; echo $name $?
        done; ls /dev/shm"""
    pod = Pod(do, pid=POD)
    one = pod.start("one", ["sh", "-c", "echo >/dev/shm/shared; exec sleep 100000"])
    pod.exec(one, "until test -e /dev/shm/shared; do sleep 0.1; done")
    pod.run("others", ["sh", "-c", look])
    for whose, script in ((CONTAINER, look), (NODE, "test $$ -gt 100; echo $?")):
        own = {"namespace_options": pod.namespaces | {"pid": whose}}
        pod.run(f"pid{whose}", ["sh", "-c", script], security=own)
    pod.remove()


def contexts(do: Stage) -> None:
    """What a pod's securityContext may ask for."""
    pod = Pod(do)
    scratch = Path(f"/run/tmp/{pod.node.runtime}-volume")
    scratch.mkdir(exist_ok=True)
    (scratch / "file").write_text("from the host\n")
    script = ["sh", "-c", f"{LOOK} cat /volume/file; touch /volume/other; unshare -U true"]
    pod.run("plain", script)
    tight = {
        "capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": ["NET_BIND_SERVICE"]},
        "run_as_user": {"value": 1000},
        "run_as_group": {"value": 5},
        "supplemental_groups": [7, 8],
        "readonly_rootfs": True,
        "no_new_privs": True,
        "seccomp": {"profile_type": 0},
        "masked_paths": ["/proc/kcore", "/etc", "/no/such"],
        "readonly_paths": ["/proc/sys", "/home"],
    }
    mounts = [{"container_path": "/volume", "host_path": str(scratch), "readonly": True}]
    more = {"working_dir": "/made/for/it", "envs": [{"key": "A", "value": "b c"}]}
    pod.run("tight", script, security=tight, mounts=mounts, **more)
    devices = [{"container_path": "/dev/its", "host_path": "/dev/loop0", "permissions": "rw"}]
    pod.run("by-name", script, security={"run_as_username": "user"}, devices=devices, tty=True)
    pod.remove()
    pod = Pod(do, "privileged", privileged=True)
    pod.run("privileged", script, security={"privileged": True})
    pod.remove()


def errors(do: Stage) -> None:
    """What cannot be: what `kubectl describe` says then."""
    pod = Pod(do)
    for number, command in enumerate(["no-such-program", "/no/such/program", "/etc/passwd", "/etc"]):
        pod.start(f"command{number}", [command])
    for number, (source, target) in enumerate([("/no/such/below/file", "/mnt"), ("/run/tmp/box", "/etc/passwd")]):
        mounts = [{"host_path": source, "container_path": target}]
        pod.start(f"mount{number}", ["true"], mounts=mounts)
    pod.start("cwd", ["true"], working_dir="/etc/passwd")
    pod.start("user", ["true"], security={"run_as_username": "nobody-here"})
    pod.start("caps", ["true"], security={"capabilities": {"add_capabilities": ["NO_SUCH"]}})
    pod.start("file", ["true"], {"unified": [{"key": "no.such", "value": "1"}]})
    id = pod.create("twice", ["sh", "-c", "kill -9 $$; exit 7"])
    for _ in range(2):
        pod.call("StartContainer", container_id=id)
        pod.ends(id)
    pod.status(id)
    pod.call("StartContainer", container_id="f" * 64)
    pod.call("RunPodSandbox", config=pod.config | {"metadata": {"name": "none"}}, runtime_handler="none")
    pod.remove()


def crowd(do: Stage) -> None:
    """Fifty containers live at once: as many in a pod of each runtime's."""
    pod = Pod(do)

    def one(number: int) -> str:
        request = {"metadata": {"name": f"c{number}"}, "image": {"image": IMAGE}, "command": list(SLEEP)}
        request |= {"linux": {"security_context": {"namespace_options": pod.namespaces}}}
        call = pod.node.client.call
        made = call("CreateContainer", pod_sandbox_id=pod.id, config=request, sandbox_config=pod.config)
        call("StartContainer", container_id=made["container_id"])
        return str(made["container_id"])

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        ids = list(threads.map(one, range(MANY)))
    do.keep(["running"], 0, str([pod.now(id).get("state") for id in ids]))
    pod.exec(ids[-1], "hostname")
    pod.remove()


def upgrade(do: Stage) -> None:
    """containerd is stopped and started while a pod lives."""
    pod = Pod(do)
    one = pod.start("one", SLEEP, {"memory_limit_in_bytes": 64 << 20})
    ends = pod.start("ends", ["sh", "-c", "sleep 2; exit 5"])
    pod.node.daemon.stop()
    pod.node.daemon.start()
    pod.ends(ends)
    pod.status(ends)
    pod.status(one)
    pod.exec(one, "echo still here")
    pod.call("UpdateContainerResources", container_id=one, linux={"memory_limit_in_bytes": 32 << 20})
    pod.exec(one, NUMBERS)
    pod.start("new", SLEEP)
    pod.call("StopContainer", container_id=one, timeout=0)
    pod.status(one)
    pod.remove()


EVERYWHERE = [upgrade]
SCENES = [life, sharing, contexts, errors, crowd]
