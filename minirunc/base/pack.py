"""The pack: byte code of all modules in one file, so that a start reads it once instead of searching for each.

Built by `make`; the launcher executes its first item, which is this module, and imports from it go on as ever: a
module that the pack does not hold is found where it always was. A search costs some 0.07 ms a module, 60 times a start.
"""

import sys
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_Spec = type(sys.__spec__)  # importlib's ModuleSpec, without importing importlib


class Pack:
    """A finder and loader (importlib.abc) of what `build` put together."""

    __slots__ = ("modules", "path")

    def __init__(self, path: str, modules: dict[str, tuple[str, bool, bytes]]) -> None:
        self.path = path  # the directory the package stands in
        self.modules = modules  # by name: file below `path`, whether it is a package, marshalled code

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """The spec of a packed module, or None."""
        found = self.modules.get(name)
        if found is None:
            return None
        file, is_package, _ = found
        spec = _Spec(name, self, origin=f"{self.path}/{file}", is_package=is_package)  # type: ignore[arg-type] # loaders are told by their methods
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [f"{self.path}/{file}".rpartition("/")[0]]
        return spec

    def create_module(self, spec: object) -> "ModuleType | None":
        """The default kind."""
        return None

    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module's code."""
        exec(loads(self.modules[module.__name__][2]), module.__dict__)


def build(directory: str, pack: str) -> None:
    """Write the pack of directory/minirunc, for the same directory; by `make`."""
    from marshal import dumps
    from os import replace, walk

    modules: dict[str, tuple[str, bool, bytes]] = {}
    for above, below, files in walk(f"{directory}/minirunc"):
        below.sort()
        for file in sorted(files):
            if not file.endswith(".py"):
                continue
            path = f"{above}/{file}"
            name = path[len(directory) + 1 : -3].replace("/", ".").removesuffix(".__init__")
            with open(path, encoding="utf-8") as source:
                code = compile(source.read(), path, "exec", dont_inherit=True, optimize=0)
            modules[name] = (path[len(directory) + 1 :], file == "__init__.py", dumps(code))
    with open(pack + ".new", "wb") as out:
        out.write(dumps((modules["minirunc.base.pack"][2], directory, modules)))
    replace(pack + ".new", pack)


if __name__ == "__main__":
    build(sys.argv[1], sys.argv[2])
