"""Podman's user sees the same with minirunc as with runc."""

from collections.abc import Sequence

import pytest

from tests.ground.compare import Scene, compare
from tests.uml.podman import crowd, scenes, scenes_crun
from tests.uml.podman.engine import Podman

EACH = [
    scenes.run,
    scenes.run_with_options,
    scenes.privileged,
    scenes.in_background,
    scenes.created,
    scenes.execs,
    scenes.terminals,
    scenes.signals,
    scenes.paused,
    scenes.limits,
    scenes.out_of_memory,
    scenes.files,
    scenes.user_namespace,
    scenes.seccomp,
    scenes.errors,
    scenes.health,
    scenes.hooks,
    scenes.restarted,
    scenes.as_systemd,
    scenes.passed_on,
    scenes.notified,
    scenes.service_restarted,
    crowd.fifty_at_once,
]
WHERE_THE_DRIVER_MATTERS = [
    scenes.pod,  # with cgroupfs Podman 4.3 forbids a pod all devices, and runc cannot open /dev/null
    scenes.run_with_options,
    scenes.limits,
    scenes.out_of_memory,
]
OF_A_USER = [scenes.run_with_options, scenes.limits]
IN_CRUNS_WAY = [scenes_crun.no_cgroup, scenes_crun.groups_kept]

BLOTS = (
    # Mounts, where runc 1.1 differs from runc 1.5 and minirunc: masked files are the host's null device, masked
    # directories one small tmpfs, a tmpfs takes the mode of what it covers, a root that is to be shared is. And the
    # superblock of a read-only sysfs, which is read-only with runc; the mount is with both.
    (r"(?m)^/null (/proc/\S+) .*", r"/null \1"),
    (r"(?m)^(/ /sys/\S+ ro,relatime - tmpfs tmpfs) .*", r"\1"),
    (r"(?m)^(\S+/vfs/dir/ID / \S+) shared:\d+ -", r"\1 -"),
    (r"(?m)^(/ /(?:run|tmp|var/tmp) \S+ - tmpfs tmpfs rw),mode=\d+", r"\1"),
    (r"- sysfs sysfs r[ow]", "- sysfs sysfs"),
    # With a user namespace runc leaves /dev/mqueue to a group that is not mapped.
    (r"(?m)^(drwxrwxrwt +2 root) .*", r"\1"),
    # When the program is begun, as the specification says, and not with `create` as in runc.
    (r"poststart (?:created|running)", "poststart"),
    # minirunc's own words: it names the field, the call that failed, the limit. "is a directory" is runc 1.5's, too.
    (r'(?m)^time="TIME" level=warning msg="Setting back cgroup configs failed.*\n', ""),
    (r'"\S+: memory.swap: (memory\+swap limit should be >= memory limit): [^"]*"', r'"\1"'),
    (r"(?:unable to start container process: )?container init was (?:possibly )?OOM-killed.*", "OOM-killed"),
    (r'Error: (?:OCI runtime error: )?(runc: .*exec: "/etc"): .*', r"Error: \1: is a directory"),
    (r"(?:error during container init: )?(error mounting \S+ to rootfs at ./etc.).*(: not a directory).*", r"\1\2"),
    (r"(?:error during container init: )?error running (?:prestart )?hook #0: (?:error running hook|\S+): ", "hook: "),
    (r"(error during container init: ).*sys/net/nosuch.*(: no such file or directory)", r"\1\2"),
    (r'(runc create failed: ).*(unified resource "nosuch.max")', r"\1\2"),
    (r"(error during container init: ).*(?:rlimit type 7|RLIMIT_NOFILE).*(: operation not permitted)", r"\1\2"),
    # Podman kills, too, what has ended with its pod's pid namespace; runc 1.5 complains of that as minirunc does.
    (r'(?m)^time="TIME" level=\w+ msg="(?:freezer not supported|lstat|container not running).*\n', ""),
    # runc warns an ordinary user each time, also where his cgroup is delegated to him.
    (r'(?m)^time="TIME" level=warning msg="runc (?:pause|resume) may fail.*\n', ""),
    # Names of this run's own.
    (r"/podman\d+\b", "/podman"),
    (r"/usr(?:/local)?/bin/runc", "runc"),
    (r"container_uuid=[0-9a-f]{32}", ""),
    (r"shared:\d+", "shared"),
)


@pytest.mark.parametrize("scene", EACH)
def test_cgroupfs(request: pytest.FixtureRequest, cgroupfs: Sequence[Podman], scene: Scene) -> None:
    compare(request, scene, cgroupfs, "Podman, cgroupfs", BLOTS)


@pytest.mark.parametrize("scene", WHERE_THE_DRIVER_MATTERS)
def test_systemd(request: pytest.FixtureRequest, systemd: Sequence[Podman], scene: Scene) -> None:
    compare(request, scene, systemd, "Podman, systemd", BLOTS)


@pytest.mark.parametrize("scene", OF_A_USER)
def test_rootless(request: pytest.FixtureRequest, rootless: Sequence[Podman], scene: Scene) -> None:
    """An ordinary user's Podman, whose cgroups are made by his own systemd."""
    compare(request, scene, rootless, "Podman of an ordinary user, systemd", BLOTS)


@pytest.mark.parametrize("scene", IN_CRUNS_WAY)
def test_crun(request: pytest.FixtureRequest, crun: Sequence[Podman], scene: Scene) -> None:
    """What crun does and runc does not."""
    compare(request, scene, crun, "Podman, cgroupfs, crun's dialect", [*BLOTS, (r"\bcrun\b", "runc")])
