"""Makes the pack (base/pack.py): `python -IS packing.py DIRECTORY PACK [DIRECTORY WHERE IT WILL STAND]`."""

import ast
import os
import sys
from marshal import dumps, loads


def _bare(path: str) -> ast.Module:
    """The module without the annotations of its functions, which nothing asks for when it runs."""
    with open(path, encoding="utf-8") as source:
        module = ast.parse(source.read())
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return module


def _needs(module: ast.Module, names: list[str]) -> tuple[str, ...]:
    """Which of the modules `names` it imports at its top, each after the packages it is in."""
    wanted: list[str] = []
    for node in module.body:
        if isinstance(node, ast.Import):
            wanted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            wanted += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    found: dict[str, None] = {}
    for name in wanted:
        parts = name.split(".")
        found.update((".".join(parts[: end + 1]), None) for end in range(len(parts)))
    return tuple(names[names.index(name)] for name in found if name in names)  # one object, marshalled once


def _modules(directory: str) -> dict[str, str]:
    """The file of each module, by name."""
    found = {}
    for above, below, files in os.walk(f"{directory}/minirunc"):
        below.sort()
        for file in sorted(files):
            if file.endswith(".py"):
                path = f"{above}/{file}"
                found[path[len(directory) + 1 : -3].replace("/", ".").removesuffix(".__init__")] = path
    return found


def build(directory: str, pack: str, used_from: str = "") -> None:
    """Write the pack of directory/minirunc, to be used from there or, with DESTDIR, from where it will stand."""
    files = _modules(directory)
    modules = {name: _bare(path) for name, path in files.items()}
    codes = {}
    for name, module in modules.items():
        shown = files[name].replace(directory, used_from or directory, 1)
        code = compile(module, shown, "exec", dont_inherit=True, optimize=2)
        codes[name] = dumps(code) if code.co_names else b""
    index = {}
    offset = 0
    with_code = [name for name, code in codes.items() if code]
    for name, path in files.items():
        needs = _needs(modules[name], with_code)
        index[name] = (path[len(directory) + 1 :], os.stat(path).st_mtime_ns, offset, len(codes[name]), needs)
        offset += len(codes[name])
    head = b""
    while not head or len(head) != loads(head)[0]:  # the length is part of what is measured
        head = dumps((len(head), codes["minirunc.base.pack"], used_from or directory, index))
    with open(pack + ".new", "wb") as out:
        out.write(head + b"".join(codes.values()))
    os.replace(pack + ".new", pack)


if __name__ == "__main__":
    build(*sys.argv[1:])
