"""minirunc: an OCI container runtime in Python, whose hand does the system calls inside the container.

As a library: `minirunc.Container.load("/run/minirunc", "id").exec(["/bin/true"]).wait()`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.library import Container as Container
    from minirunc.library import Process as Process


def __getattr__(name: str) -> object:
    """The library's names, imported when asked for: the command line needs none of them."""
    if name in ("Container", "Process"):
        from minirunc import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
