"""Podman, with runc and with minirunc: in User-Mode Linux, where systemd is the first process."""
