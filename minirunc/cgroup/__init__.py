"""cgroup v2: from cgroupsPath to a cgroup, and what is done with it."""
