"""What the kernel offers: system calls, the hand, paths below a root, /proc, cgroup files."""
