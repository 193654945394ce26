"""The tests: real namespaces, real cgroups, two kernels."""
