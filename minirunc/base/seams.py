"""The only door to slow and third-party modules: one function each, which imports when it is called."""

import sys

from minirunc.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def click() -> "ModuleType":
    """click: words usage errors, help and completions."""
    return _third_party("click")


def jeepney() -> "ModuleType":
    """jeepney's D-Bus messages, without its connections, which know no deadline for the way in; 0.02 s."""
    _third_party("jeepney")
    from jeepney import low_level

    return low_level  # type: ignore[no-any-return]


def json() -> "ModuleType":
    """The whole json package: words a syntax error, writes indented text."""
    import json

    return json


def matcher(pattern: str) -> "Callable[[str], bool]":
    """Whether a regular expression is found in a text; raises Error if it is none."""
    import re

    try:
        found = re.compile(pattern).search
    except re.error as wrong:
        raise Error(f"invalid regular expression {pattern}: {wrong}") from None
    return lambda text: found(text) is not None


def rmtree(path: str) -> None:
    """Remove a directory with all that is in it, never following a symlink out of it."""
    import shutil

    shutil.rmtree(path)


def rtnetlink_messages() -> "tuple[Any, Any]":
    """pyroute2's ifinfmsg and ifaddrmsg; with them comes all of pyroute2, 0.1 s."""
    _third_party("pyroute2")
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    return ifinfmsg, ifaddrmsg


def subprocess() -> "ModuleType":
    """subprocess: runs ps(1), newuidmap(1) and the like."""
    import subprocess

    return subprocess


def user_name(uid: int) -> str:
    """The name of a user as the host's NSS knows it, or #uid."""
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def traceback_lines(problem: BaseException) -> list[str]:
    """Where an exception comes from, for --debug."""
    import traceback

    return "".join(traceback.format_exception(problem)).splitlines()


def _third_party(name: str) -> "ModuleType":
    """A module that is not Python's own; `python -I -S` knows no site directory until one is needed here."""
    try:
        return __import__(name)
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
    # appended, not prepended: nothing there may stand in for a module of Python's own
    sys.path.extend(path for path in _site_directories() if path not in sys.path)
    try:
        return __import__(name)
    except ModuleNotFoundError as missing:
        if missing.name != name:
            raise
        raise Error(f"this needs the Python package {name}, which is not installed") from None


def _site_directories() -> list[str]:
    """Where packages are installed: the checkout's .venv, the interpreter's own venv, the system."""
    import site

    top = __file__.rsplit("/", 3)[0]
    packages = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    venvs = (f"{top}/.venv", sys.executable.rsplit("/", 2)[0])
    return [*(f"{venv}/{packages}" for venv in venvs), *site.getsitepackages()]
