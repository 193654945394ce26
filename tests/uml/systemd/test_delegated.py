"""One delegated scope for many containers: cgroups below it by files, no D-Bus at all (README, "cgroups")."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime, wait_until

CGROUP2 = Path("/sys/fs/cgroup")
# A bus that nobody listens at: who spoke D-Bus would fail.
NO_BUS = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}


def test_containers_live_in_a_delegated_scope(minirunc: Runtime, limited: Callable[..., Bundle]) -> None:
    """Made as the README says: the caller in a leaf of the scope; limits hold, and `delete` leaves the scope alone."""
    unit = f"boxes-{minirunc.id()}"
    scope = CGROUP2 / f"system.slice/{unit}.scope"
    made = limited("exec sleep 1000", memory={"limit": 64 << 20}, pids={"limit": 9})
    made.linux["cgroupsPath"] = f"/system.slice/{scope.name}/x"
    made.write()
    id = minirunc.id()
    script = f"mkdir {scope}/caller; echo $$ >{scope}/caller/cgroup.procs; exec sleep 1000"
    caller = subprocess.Popen(["systemd-run", "--scope", "-p", "Delegate=yes", f"--unit={unit}", "sh", "-c", script])
    try:
        procs = scope / "caller/cgroup.procs"
        wait_until(lambda: procs.exists() and procs.read_text(), "the caller is in its leaf")
        minirunc.prefix = ["sh", "-c", f'echo $$ >{procs}; exec "$@"', "sh"]
        minirunc.ok("run", "--detach", "--bundle", made.path, id, env=NO_BUS)
        assert minirunc.cgroup(id) == scope / "x"
        assert (scope / "x/memory.max").read_text() == f"{64 << 20}\n"
        assert minirunc.ok("exec", id, "cat", "/sys/fs/cgroup/pids.max", env=NO_BUS) == "9\n"
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        assert (scope / "x/memory.max").read_text() == f"{64 << 20}\n"
        minirunc.ok("delete", "--force", id, env=NO_BUS)
        assert sorted(path.name for path in scope.iterdir() if path.is_dir()) == ["caller"]
    finally:
        minirunc.prefix = []
        caller.kill()
        caller.wait()
    wait_until(lambda: not scope.exists(), "the scope goes with the last process")
