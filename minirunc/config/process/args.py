"""process.args: the program and its arguments; the program is looked up in the container before start."""

import posix

from minirunc.base.errors import ConfigError, Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirunc.config.process import Process


def check(process: "Process") -> None:
    if not process.args:
        raise ConfigError("process.args", "args must not be empty")


_LEAST, _MOST = 128 << 10, 6 << 20  # bytes: the kernel's ARG_MAX, and three quarters of its _STK_LIM


def check_size(argv: list[bytes], envp: list[bytes], stack: int) -> None:
    """What execve(2) would answer by a bare E2BIG when nobody listens any more; `stack` is RLIMIT_STACK, -1 is none."""
    longest = 32 * posix.sysconf("SC_PAGE_SIZE") - 1  # MAX_ARG_STRLEN has the NUL, too
    for name, strings in (("args", argv), ("env", envp)):
        for index, text in enumerate(strings):
            if len(text) > longest:
                which = f"process.{name}[{index}]"
                if name == "env":
                    which += f" ({text[:40].partition(b'=')[0].decode('utf-8', 'replace')})"
                raise Error(f"exec: argument list too long: {which} has {len(text)} bytes, the kernel takes {longest}")
    room = _MOST if stack < 0 else max(_LEAST, min(_MOST, stack // 4))
    size = sum(len(text) + 9 for text in argv) + sum(len(text) + 9 for text in envp)  # a NUL and a pointer each
    if size > room:
        why = f"process.args and process.env take {size} bytes, the kernel takes {room}"
        raise Error(f"exec: argument list too long: {why}: a quarter of RLIMIT_STACK, at most 6 MiB")
