"""minirunc: an OCI container runtime in Python, whose hand does the system calls inside the container."""
