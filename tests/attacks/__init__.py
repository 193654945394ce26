"""Attacks on minirunc, rebuilt as they were made: on this kernel and in User-Mode Linux (tests/uml/test_attacks.py).

A test here takes the part of the attacker (an image, a process inside, a neighbour that shares a volume, a caller's
input) and asserts that the host is untouched. `@attack(...)` gives it its line in the table that the run prints.

Its modules are collected twice, so they use the fixtures of tests/conftest.py alone, share code by plain functions
and context managers (tests/attacks/attackers.py), and ask `IN_UML` for how often, not for whether.
"""
