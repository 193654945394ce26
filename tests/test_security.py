"""README.md "Security": its table names each class of attacks, what shows it, and every CVE there is an attack for."""

import ast
import re
from typing import NamedTuple

import pytest

from tests.attacks.table import CLASSES
from tests.ground.bundle import CHECKOUT

# What runc, crun and youki published up to 2026, and what was done to them before.
CVES = re.findall(
    r"CVE-\S+",
    """
    CVE-2016-9962 CVE-2019-5736 CVE-2019-16884 CVE-2019-18837 CVE-2019-19921 CVE-2021-30465 CVE-2021-43784
    CVE-2022-27650 CVE-2022-29162 CVE-2023-25809 CVE-2023-27561 CVE-2023-28642 CVE-2024-3154 CVE-2024-21626
    CVE-2024-45310 CVE-2025-24965 CVE-2025-31133 CVE-2025-52565 CVE-2025-52881 CVE-2026-30892 CVE-2026-41579
    CVE-2026-47766
    """,
)
SECTION = (CHECKOUT / "README.md").read_text().partition("## Security")[2].partition("\n## ")[0]
ROWS = {cells[1].strip(): cells for line in SECTION.splitlines() if len(cells := line.split("|")) == 6}


class Attack(NamedTuple):
    """A test with its mark."""

    name: str
    kind: str
    file: str
    test: str


def attacks() -> list[Attack]:
    """All that are marked."""
    found = []
    for path in sorted((CHECKOUT / "tests").glob("**/test_*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            for mark in function.decorator_list if isinstance(function, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "attack":
                    name, kind = (ast.literal_eval(argument) for argument in mark.args[:2])
                    found.append(Attack(name, kind, str(path.relative_to(CHECKOUT)), function.name))
    return found


ATTACKS = attacks()


@pytest.mark.parametrize("cve", CVES)
def test_each_published_attack_is_rebuilt(cve: str) -> None:
    """There is a test, and a row that names it."""
    kinds = {attack.kind for attack in ATTACKS if cve in attack.name.replace(",", " ").split()}
    assert kinds
    assert all(cve in ROWS[kind][2] for kind in kinds)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_has_a_row_that_is_true(kind: str) -> None:
    """Its row links every file with such attacks, and names tests that are there."""
    shown = ROWS[kind][4]
    linked = set(re.findall(r"\((tests/[a-z_/]+\.py)\)", shown))
    assert all((CHECKOUT / path).exists() for path in linked)
    assert {attack.file for attack in ATTACKS if attack.kind == kind} <= linked
    named = set(re.findall(r"`(test_\w+)`", shown))
    assert named <= {attack.test for attack in ATTACKS if attack.kind == kind}
    assert named


def test_classes_are_the_rows() -> None:
    """No row is left of a class that is gone."""
    assert set(ROWS) - {"class", "---"} == set(CLASSES)
