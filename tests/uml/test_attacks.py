"""The attacks of tests/attacks again, in this kernel."""

import importlib
from pathlib import Path

_ATTACKS = Path(__file__).parents[1] / "attacks"

for _path in sorted(_ATTACKS.glob("test_*.py")):
    for _name, _value in vars(importlib.import_module(f"tests.attacks.{_path.stem}")).items():
        if _name.startswith(("test_", "Test")) and _value.__module__ == f"tests.attacks.{_path.stem}":
            _new = _name if _name.startswith("test_") else _name.removeprefix("Test")
            globals()[f"{'test' if _name == _new else 'Test'}_{_path.stem.removeprefix('test_')}_{_new}"] = _value
