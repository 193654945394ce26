"""`.venv/bin/minirunc` and `make install`: how the command starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minirunc.base import packing
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


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A launcher whose package is a copy, packed."""
    shutil.copytree(CHECKOUT / "minirunc", tmp_path / "minirunc", ignore=shutil.ignore_patterns("__pycache__"))
    packing.build(str(tmp_path), str(tmp_path / "minirunc.pack"))
    text = (CHECKOUT / ".ci/launcher.in").read_text()
    launcher = tmp_path / "launcher"
    launcher.write_text(text.replace("@PYTHON@", sys.executable).replace("@DIRECTORY@", str(tmp_path)))
    launcher.chmod(0o755)
    return launcher


@pytest.mark.parametrize("name", ["base/log", "base/settings", "commands/state", "container/store", "kernel/procfs"])
def test_module_that_changed_is_not_taken_from_the_pack(packed: Path, name: str) -> None:
    """Wherever it is imported: by the launcher, by a command, by a packed module."""
    words = [packed, "--root", packed.parent / "root", "state", "nobody"]
    before = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "container does not exist" in before.stderr
    with (packed.parent / f"minirunc/{name}.py").open("a") as module:
        module.write("\n__import__('posix')._exit(77)\n")
    assert subprocess.run(words, capture_output=True, check=False).returncode == 77


def test_packed_modules_are_as_imported_ones(packed: Path) -> None:
    """Each has its spec, file and package, and is an attribute of its package."""
    lines = packed.read_text().splitlines()[1:-2]
    check = """
import minirunc.commands.run
for name, module in list(sys.modules.items()):
    if name.startswith("minirunc."):
        above, _, last = name.rpartition(".")
        if hasattr(module, "__file__"):  # others are packages that hold nothing
            assert getattr(sys.modules[above], last) is module, name
            assert module.__file__ == module.__spec__.origin, name
            assert module.__package__ == module.__spec__.parent, name
            assert hasattr(module, "__path__") == module.__file__.endswith("__init__.py"), name
print(len([name for name in sys.modules if name.startswith("minirunc.")]))
"""
    script = "\n".join([*lines, check])
    out = subprocess.run([sys.executable, "-IS", "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(out) > 30
