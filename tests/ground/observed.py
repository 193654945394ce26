"""Which test shows which field: the marks `observes` of all tests, read from their source, none of them imported."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
MARK = "pytest.mark.observes"


def tests() -> dict[str, list[str]]:
    """JSON path: the tests that are marked with it, as "tests/test_x.py::test_name"."""
    found: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        text = file.read_text()
        if MARK in text:
            for path, name in _marks(ast.parse(text)):
                found.setdefault(path, []).append(f"tests/{file.relative_to(TESTS)}::{name}")
    return found


def _marks(module: ast.Module) -> Iterator[tuple[str, str]]:
    """(JSON path, test) of a module; the arguments are made of literals and of the module's constants."""
    constants: dict[str, Any] = {"__builtins__": {}}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                constants[node.targets[0].id] = _value(node.value, constants)
            except Exception:  # what is not made of constants
                continue
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                yield from ((path, node.name) for path in _paths(decorator, constants))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            yield from ((path, "*") for path in _paths(node.value, constants))


def _paths(expression: ast.expr, constants: dict[str, Any]) -> Iterator[str]:
    """What the marks in it name; they may stand deep in it, as in pytest.param(..., marks=...)."""
    for call in ast.walk(expression):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == MARK:
            yield from _value(ast.List(call.args, ast.Load()), constants)


def _value(expression: ast.expr, constants: dict[str, Any]) -> Any:
    code = ast.fix_missing_locations(ast.Expression(expression))
    return eval(compile(code, "<constant>", "eval"), constants)
