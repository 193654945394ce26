"""`.venv/bin/minirunc` and `make install`: how the command starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ground.bundle import CHECKOUT

LAUNCHER = CHECKOUT / ".venv/bin/minirunc"


def test_interpreter_is_the_real_one_isolated_and_without_site() -> None:
    """`python -I -S`, and no link or shim on the way to it."""
    interpreter, options = LAUNCHER.read_text().splitlines()[0].removeprefix("#!").split()
    assert options == "-IS"
    assert os.path.realpath(interpreter) == interpreter
    assert subprocess.check_output([interpreter, "-c", "import sys; print(sys.prefix)"], text=True).strip() == (
        sys.base_prefix
    )


def test_environment_and_directory_of_the_caller_have_no_say(tmp_path: Path) -> None:
    """A root program loads no module from where it was called or where PYTHONPATH points."""
    for name in ("minirunc", "errno", "struct", "ctypes"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger was loaded')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "minirunc.py")}
    result = subprocess.run(
        [LAUNCHER, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("minirunc version ")


def test_byte_code_is_compiled_for_every_module() -> None:
    """No start compiles: make did, whatever PYTHONDONTWRITEBYTECODE says."""
    tag = sys.implementation.cache_tag
    missing = [
        source
        for source in (CHECKOUT / "minirunc").rglob("*.py")
        if not (source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc").exists()
    ]
    assert missing == []


@pytest.mark.parametrize("staged", [True, False], ids=["DESTDIR", "PREFIX"])
def test_make_install_and_uninstall(tmp_path: Path, staged: bool) -> None:
    """The installed command stands by itself: package, dependencies, byte code; uninstall leaves nothing."""
    variables = [f"PREFIX={'/usr/local' if staged else tmp_path}", f"DESTDIR={tmp_path if staged else ''}"]
    _make("install", *variables)
    prefix = tmp_path / "usr/local" if staged else tmp_path
    launcher = prefix / "bin/minirunc"
    used = "/usr/local/lib/minirunc" if staged else f"{prefix}/lib/minirunc"
    assert f'sys.path.append("{used}")' in launcher.read_text()
    assert list((prefix / "lib/minirunc/minirunc/__pycache__").glob("__main__.*.pyc"))
    if not staged:
        for argument in ("--version", "--help"):
            subprocess.run([launcher, argument], cwd="/", check=True, stdout=subprocess.DEVNULL)
    _make("uninstall", *variables)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def _make(*words: str) -> None:
    subprocess.run(["make", "-s", "-C", CHECKOUT, *words], check=True, stdin=subprocess.DEVNULL)
