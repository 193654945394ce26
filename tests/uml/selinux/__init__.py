"""Tests in a kernel with SELinux on."""
