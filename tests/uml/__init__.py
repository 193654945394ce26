"""What only a kernel with all cgroup v2 controllers can show; run inside User-Mode Linux."""
