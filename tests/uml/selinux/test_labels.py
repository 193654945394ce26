"""config.json process.selinuxLabel and linux.mountLabel: contexts of the process, its keyring, and what is mounted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import inside
from tests.attacks.attackers import give_python
from tests.attacks.table import attack
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until
from tests.test_namespaces import mapped

CURRENT = "cat /proc/self/attr/current"
RUNTIME, BOX, OTHER = (f"system_u:system_r:{kind}_t" for kind in ("runtime", "box", "other"))
FILES = "system_u:object_r:box_file_t"
UNKNOWN = 'can\'t set process label: "a:b:c" is not a context of the loaded policy'
# keyctl(KEYCTL_GET_SECURITY, KEY_SPEC_SESSION_KEYRING) of x86_64
KEYRING = """
import ctypes
room = ctypes.create_string_buffer(256)
assert ctypes.CDLL(None).syscall(250, 17, -3, room, 256) > 0
print(room.value.decode())
"""


@pytest.fixture
def boxed(bundle: Callable[..., Bundle]) -> Callable[..., Bundle]:
    """A bundle with a context of type box_t, which may not read the type secret_t."""

    def make(args: Any = "exec sleep 1000") -> Bundle:
        made = bundle(args)
        made.process["selinuxLabel"] = BOX
        return made

    return make


def current(text: str) -> str:
    """An attr file without the NUL at its end."""
    return text.rstrip("\0\n")


@pytest.mark.observes("process.selinuxLabel")
def test_process_has_the_context(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """And what the policy denies it is denied, which it is not to the same container without."""
    made = boxed(f"{CURRENT}; echo; cat /secret/file")
    made.mount("/secret", "tmpfs", "tmpfs", "context=system_u:object_r:secret_t", "tmpcopyup")
    (made.rootfs / "secret").mkdir()
    (made.rootfs / "secret/file").write_text("read\n")
    status, out, err = minirunc.run(made)
    assert (status, current(out)) == (1, BOX)
    assert err == "cat: can't open '/secret/file': Permission denied\n"
    del made.process["selinuxLabel"]
    status, out, err = minirunc.run(made)
    assert (status, out.replace("\0", ""), err) == (0, f"{RUNTIME}\nread\n", "")


def test_exec_has_the_containers_or_its_own(minirunc: Runtime, boxed: Callable[..., Bundle], tmp_path: Path) -> None:
    """The container's if nothing is said, --process-label, or the process file's."""
    id = minirunc.start(boxed())
    assert current(minirunc.ok("exec", id, *CURRENT.split())) == BOX
    assert current(minirunc.ok("exec", "--process-label", OTHER, id, *CURRENT.split())) == OTHER
    file = tmp_path / "process.json"
    file.write_text(json.dumps({"args": CURRENT.split(), "cwd": "/", "selinuxLabel": OTHER, "env": ["PATH=/bin"]}))
    assert current(minirunc.ok("exec", "--process", file, id)) == OTHER


def test_session_keyring_has_the_processs_context(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """A process of another context need not be able to use it."""
    made = boxed()
    give_python(made, KEYRING)
    assert minirunc.run(made) == (0, f"{BOX}\n", "")


def test_start_container_hook_has_the_processs_context(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """It is a program of the container's."""
    made = boxed("cat /log")
    made.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"{CURRENT} > /log"]}],
    }
    status, out, err = minirunc.run(made)
    assert (status, current(out), err) == (0, BOX, "")


def test_in_a_user_namespace(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """Process and exec."""
    id = minirunc.start(mapped(boxed()))
    assert current(minirunc.ok("exec", id, "cat", "/proc/1/attr/current")) == BOX
    assert current(minirunc.ok("exec", id, *CURRENT.split())) == BOX


def test_context_that_the_policy_does_not_know(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """It is named, and nothing runs without."""
    id = minirunc.start(boxed())
    made = boxed("echo ran")
    made.process["selinuxLabel"] = "a:b:c"
    for status, out, err in (minirunc.run(made), minirunc("exec", "--process-label", "a:b:c", id, "echo", "ran")):
        assert (status in (1, 255), out) == (True, "")
        assert UNKNOWN in err.replace('\\"', '"')


@pytest.mark.observes("linux.mountLabel")
def test_mounts_have_the_mount_label(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """What is mounted new, and what covers masked directories; not the kernel's own, nor what is bound."""
    made = boxed("cat /proc/self/mountinfo")
    made.linux["mountLabel"] = FILES
    made.linux["maskedPaths"] = ["/etc"]
    status, out, err = minirunc.run(made)
    assert (status, err) == (0, "")
    found = inside.mounts(out)
    labelled = {point for point, mount in found.items() if f"context={FILES}" in mount.superblock}
    assert labelled == {"/dev", "/dev/pts", "/dev/shm", "/etc"}


@pytest.mark.parametrize("kind", ["context", "fscontext", "rootcontext"])
def test_annotation_says_how_the_mount_label_is_given(
    minirunc: Runtime, boxed: Callable[..., Bundle], kind: str
) -> None:
    """run.oci.mount_context_type: the option it is, of what is mounted by either way, and what covers directories."""
    made = boxed("cat /proc/self/mountinfo")
    made.linux["mountLabel"] = FILES
    made.linux["maskedPaths"] = ["/etc"]
    (made.rootfs / "long").mkdir()
    made.mount("/long", "tmpfs", "tmpfs", f"size={'0' * 300}100000")
    made.config["annotations"] = {"run.oci.mount_context_type": kind}
    status, out, err = minirunc.run(made)
    assert (status, err) == (0, "")
    found = inside.mounts(out)
    labelled = {point for point, mount in found.items() if f"{kind}={FILES}" in mount.superblock}
    assert labelled == {"/dev", "/dev/pts", "/dev/shm", "/etc", "/long"}


def test_annotation_asks_for_a_context_that_the_file_system_does_not_take(
    minirunc: Runtime, boxed: Callable[..., Bundle]
) -> None:
    """defcontext is for file systems that keep labels, which this policy has none of: the kernel's refusal."""
    made = boxed()
    made.linux["mountLabel"] = FILES
    made.config["annotations"] = {"run.oci.mount_context_type": "defcontext"}
    assert "invalid argument" in minirunc.run(made).err


def test_mount_with_a_long_option_has_the_mount_label(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """It is mounted by mount(2), in whose words the context is quoted."""
    made = boxed("cat /proc/self/mountinfo")
    made.linux["mountLabel"] = FILES
    (made.rootfs / "long").mkdir()
    made.mount("/long", "tmpfs", "tmpfs", f"size={'0' * 300}100000")
    status, out, err = minirunc.run(made)
    assert (status, err) == (0, "")
    assert {"size=32k", f"context={FILES}"} <= inside.mounts(out)["/long"].superblock


def test_queues_have_the_mount_label(minirunc: Runtime, boxed: Callable[..., Bundle]) -> None:
    """mqueue takes no context when it is mounted."""
    made = boxed()
    made.linux["mountLabel"] = FILES
    give_python(made, "import os; print(os.getxattr('/dev/mqueue', 'security.selinux').decode())")
    status, out, err = minirunc.run(made)
    assert (status, current(out), err) == (0, FILES, "")


@attack("CVE-2019-16884 by exec, SELinux", "forged /proc", "a procfs of the runtime's own")
def test_exec_into_a_container_with_a_forged_proc_has_the_context(
    minirunc: Runtime, boxed: Callable[..., Bundle]
) -> None:
    """The forged files take nothing; the process that exec starts has the context."""
    made = boxed("mount -o bind /forged /proc && echo covered >/log; exec sleep 1000")
    for name in ("bounding", "effective", "permitted"):
        made.process["capabilities"][name].append("CAP_SYS_ADMIN")
    forged = made.rootfs / "forged/thread-self/attr"
    forged.mkdir(parents=True)
    for name in ("exec", "keycreate"):
        (forged / name).touch(0o666)
    made.mount("/real", "proc", "proc")
    id = minirunc.start(made)
    log = made.rootfs / "log"
    wait_until(lambda: log.exists() and log.read_text() == "covered\n", "/proc is covered")
    out = minirunc.ok("exec", id, "sh", "-c", "ls /proc; cat /real/self/attr/current")
    assert current(out) == f"thread-self\n{BOX}"
    assert [path.stat().st_size for path in forged.iterdir()] == [0, 0]
