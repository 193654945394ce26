"""Which test shows which field: the marks `observes` of all tests, read from their source, none of them imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

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
    """(JSON path, test) of a module; its arguments are literals, or constants of the module."""
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                for call in ast.walk(decorator):  # also in pytest.param(..., marks=...)
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == MARK:
                        yield from ((path, node.name) for argument in call.args for path in _paths(argument, constants))


def _paths(argument: ast.expr, constants: dict[str, ast.expr]) -> list[str]:
    if isinstance(argument, ast.Starred):
        argument = argument.value
    if isinstance(argument, ast.Name):
        argument = constants[argument.id]
    value = ast.literal_eval(argument)
    return [value] if isinstance(value, str) else list(value)
