"""cgroup v2: from cgroupsPath to a cgroup, and what is done with it."""

DRIVERS = ("fs",)  # who makes cgroups: `systemd` would be --systemd-cgroup
