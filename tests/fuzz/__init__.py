"""Fuzzing: targets are plain functions `bytes -> None` (targets.py, TARGETS); `python -m tests.fuzz` drives them.

Clean is to return or to raise minirunc.base.errors.Error. All else is a finding: another exception (an oracle's
AssertionError among them), more than a second of CPU time, more than 512 MiB. The inputs of findings stay in
corpus/<target>/, and tests/test_fuzz.py replays all that is there.
"""
