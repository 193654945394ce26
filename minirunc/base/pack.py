"""The pack: byte code of all modules in one file, so that a start need not search for each.

Made by `make` (base/packing.py), used by the launcher: it executes the pack's first item, which is this module. A
module that changed since, or that the pack does not hold, is imported as ever. A search costs 0.07 ms a module, 60
times a start.

    index: marshalled (length of the index, this module's code, directory,
                       {name: (file, mtime in ns, offset, length, modules it imports at its top)})
    then the marshalled code of each module, without docstrings and annotations; length 0: a package that has no code
"""

import sys
from marshal import loads
from posix import pread, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_Spec = type(sys.__spec__)  # importlib's ModuleSpec, without importing importlib
_Index = dict[str, tuple[str, int, int, int, tuple[str, ...]]]


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
        for name, (file, _, _, length, _) in self.index.items():
            if length == 0:
                package = sys.modules[name] = make(name)
                package.__path__ = [f"{self.directory}/{file}".removesuffix("/__init__.py")]
                package.__package__ = name

    def create_module(self, spec: object) -> "ModuleType | None":
        """The default kind."""
        return None

    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module's code, after those it imports first thing: importlib's own way to them takes longer."""
        _, _, offset, length, needs = self.index[module.__name__]
        for name in needs:
            if name not in sys.modules:
                self._load(name)
        exec(loads(pread(self.fd, length, self.start + offset)), module.__dict__)

    def _load(self, name: str) -> None:
        """What importlib does; the module's package is there."""
        spec = self.find_spec(name)
        if not isinstance(spec, _Spec):
            __import__(name)
            return
        module = sys.modules[name] = type(sys)(name)
        module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
        above, _, last = name.rpartition(".")
        module.__package__ = above
        if spec.submodule_search_locations is not None:
            module.__path__, module.__package__ = spec.submodule_search_locations, name
        try:
            self.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        if above:
            setattr(sys.modules[above], last, module)
