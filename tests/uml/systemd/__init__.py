"""Tests where systemd is the first process."""
