"""Tests in a kernel with AppArmor on."""
