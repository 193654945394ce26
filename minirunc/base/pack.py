"""The pack: byte code of all modules in one file, so that a start need not search for each.

Made by `make`, used by the launcher: it executes the pack's first item, which is this module. A module that changed
since, or that the pack does not hold, is imported as ever. A search costs 0.07 ms a module, 60 times a start.

    index: marshalled (length of the index, this module's code, directory, {name: (file, mtime in ns, offset, length)})
    then the marshalled code of each module, without docstrings and annotations; length 0: a package that has no code
"""

import sys
from marshal import loads
from posix import pread, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ast import Module
    from types import ModuleType

_Spec = type(sys.__spec__)  # importlib's ModuleSpec, without importing importlib
_Index = dict[str, tuple[str, int, int, int]]


class Pack:
    """A finder and loader (importlib.abc) of what `build` put together."""

    __slots__ = ("directory", "fd", "index", "start")

    def __init__(self, fd: int, start: int, directory: str, index: _Index) -> None:
        self.fd = fd  # of the pack; stays open: a module may be wanted at any time
        self.start = start  # where the index ends
        self.directory = directory  # where the package stands
        self.index = index

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """The spec of a packed module, or None."""
        found = self.index.get(name)
        if found is None:
            return None
        file = f"{self.directory}/{found[0]}"
        try:
            if stat(file).st_mtime_ns != found[1]:
                return None
        except OSError:
            return None
        is_package = file.endswith("/__init__.py")
        spec = _Spec(name, self, origin=file, is_package=is_package)  # type: ignore[arg-type] # a loader by its methods
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [file.removesuffix("/__init__.py")]
        return spec

    def add_packages(self) -> None:
        """Put the packages in place that hold nothing but a docstring: each would cost as much as a module."""
        make = type(sys)
        for name, (file, _, _, length) in self.index.items():
            if length == 0:
                package = sys.modules[name] = make(name)
                package.__path__ = [f"{self.directory}/{file}".removesuffix("/__init__.py")]
                package.__package__ = name

    def create_module(self, spec: object) -> "ModuleType | None":
        """The default kind."""
        return None

    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module's code."""
        _, _, offset, length = self.index[module.__name__]
        exec(loads(pread(self.fd, length, self.start + offset)), module.__dict__)


def _bare(source: str) -> "Module":
    """The module without the annotations of its functions, which nothing asks for when it runs."""
    import ast

    module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return module


def build(directory: str, pack: str, used_from: str = "") -> None:
    """Write the pack of directory/minirunc, to be used from there or, with DESTDIR, from where it will stand."""
    from marshal import dumps
    from os import replace, walk

    index: _Index = {}
    codes = b""
    this = b""
    for above, below, files in walk(f"{directory}/minirunc"):
        below.sort()
        for file in sorted(files):
            if not file.endswith(".py"):
                continue
            path = f"{above}/{file}"
            name = path[len(directory) + 1 : -3].replace("/", ".").removesuffix(".__init__")
            with open(path, encoding="utf-8") as source:
                shown = path.replace(directory, used_from or directory, 1)
                compiled = compile(_bare(source.read()), shown, "exec", dont_inherit=True, optimize=2)
            code = dumps(compiled) if compiled.co_names else b""
            index[name] = (path[len(directory) + 1 :], stat(path).st_mtime_ns, len(codes), len(code))
            codes += code
            if name == "minirunc.base.pack":
                this = code
    head = b""
    while not head or len(head) != loads(head)[0]:  # the length is part of what is measured
        head = dumps((len(head), this, used_from or directory, index))
    with open(pack + ".new", "wb") as out:
        out.write(head + codes)
    replace(pack + ".new", pack)


if __name__ == "__main__":
    build(*sys.argv[1:])
