"""The benchmark: minirunc beside Debian's runc and crun, interleaved in one run, on pure cgroup v2."""
