"""What is done once for a system call filter: compile its rules, keep the program for the next time."""

import posix

from minirunc.base import log
from minirunc.base.errors import ConfigError
from minirunc.config.linux import seccomp as field
from minirunc.config.linux.seccomp import Seccomp, Syscall
from minirunc.container.filters import DIRECTORY, described, digest, open_directory
from minirunc.container.store import make_root
from minirunc.kernel import seccomp as libseccomp

MOST = 64  # filters that are kept; each has at most 32 KiB
# A tracer answers new system calls itself; who is allowed everything else is not told ENOSYS either.
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
EPERM, ENOSPC, EDOM, ENOSYS = 1, 28, 33, 38
_LONGEST = 4096  # instructions: BPF_MAXINSNS


def compiled(seccomp: Seccomp, root: str, name: str, key: bytes, *, strict: bool) -> bytes:
    """The program of a checked section, kept below the state root from now on. Raises ConfigError, Error.

    With `strict` a system call that libseccomp does not know is an error.
    """
    library = libseccomp.Library()
    program = _compile(seccomp, library, strict=strict)
    path = library.path()
    if path:  # else nothing would tell that the library was replaced
        text = described(path) + program
        _keep(root, name, digest(key, text) + text)
    return program


def decoded(text: str) -> bytes:
    """The program of the annotation run.oci.seccomp_bpf_data, which was checked: its instructions in base64."""
    from binascii import a2b_base64

    return a2b_base64(text)


def asks(program: bytes) -> bool:
    """Whether an agent is to be asked: whether an instruction returns SCMP_ACT_NOTIFY."""
    return libseccomp.returns(program, field.ACTIONS["SCMP_ACT_NOTIFY"])


def _compile(seccomp: Seccomp, library: libseccomp.Library, *, strict: bool) -> bytes:
    """The BPF program of a checked filter. Raises ConfigError for what this libseccomp cannot do."""
    default = _action(seccomp.default_action, seccomp.default_errno_ret)
    with library.filter(default) as made:
        for index, name in enumerate(seccomp.architectures):
            where = f"linux.seccomp.architectures[{index}]"
            token = library.architecture(name)
            if not token:
                raise ConfigError(where, f"libseccomp {library.version()} does not know {name}")
            try:
                made.add_architecture(token)
            except OSError as error:
                other = "its byte order is not this machine's"
                raise ConfigError(where, other if error.errno == EDOM else str(error.strerror).lower()) from None
        for index, rule in enumerate(seccomp.syscalls):
            action = _action(rule.action, rule.errno_ret)
            if action != default:  # libseccomp refuses what would change nothing
                where = f"linux.seccomp.syscalls[{index}]"
                if strict:
                    _check_names(made, rule, where)
                _add(made, rule, action, where)
        program = _patch(seccomp, made) + made.export()
    if len(program) > 8 * _LONGEST:
        why = f"compiles to {len(program) // 8} instructions, the kernel takes {_LONGEST}"
        raise ConfigError("linux.seccomp", why)
    return program


def _action(name: str, errno_ret: int | None) -> int:
    word = field.ACTIONS[name]
    if name in field.WITH_DATA:
        word |= EPERM if errno_ret is None else errno_ret
    return word


def _check_names(made: libseccomp.Filter, rule: Syscall, where: str) -> None:
    for index, name in enumerate(rule.names):
        if made.number(name) is None:
            why = f'invalid seccomp syscall "{name}", and the annotation {field.FAIL_UNKNOWN} is set'
            raise ConfigError(f"{where}.names[{index}]", why)


def _add(made: libseccomp.Filter, rule: Syscall, action: int, where: str) -> None:
    """One rule a name; all comparisons must hold, but where two are of the same argument, one of them."""
    comparisons = [(arg.index, field.OPERATORS[arg.op], arg.value, arg.value_two) for arg in rule.args]
    alternatives = [comparisons]
    if len({arg.index for arg in rule.args}) < len(rule.args):
        alternatives = [[comparison] for comparison in comparisons]
    for index, name in enumerate(rule.names):
        number = made.number(name)
        if number is None:
            log.debug(f'unknown seccomp syscall "{name}" ignored')
            continue
        for wanted in alternatives:
            try:
                made.add(action, number, wanted)
            except OSError as error:
                raise ConfigError(f"{where}.names[{index}]", f"libseccomp: {str(error.strerror).lower()}") from None


def _patch(seccomp: Seccomp, made: libseccomp.Filter) -> bytes:
    """ENOSYS for what is newer than the profile, where its default action would mislead."""
    if seccomp.default_action in _PERMISSIVE or seccomp.default_errno_ret == ENOSYS:
        return b""
    names = {name for rule in seccomp.syscalls for name in rule.names}
    newest = {}
    for architecture in made.architectures:
        numbers = [made.library.number(architecture, name) or 0 for name in names]
        highest = max(numbers, default=0)
        if highest > 0:
            newest[architecture] = highest
    return libseccomp.enosys(newest)


def _keep(root: str, name: str, text: bytes) -> None:
    """Put a program there for the next time; where that cannot be, it is compiled again then."""
    try:
        directory = _made_directory(root)
        try:
            _make_room(directory)
            _write(directory, name, text)
        finally:
            posix.close(directory)
    except OSError as error:
        log.debug(f"no seccomp filter is kept in {root}/{DIRECTORY}: {str(error.strerror).lower()}")


def _made_directory(root: str) -> int:
    """The directory, open; raises OSError if it is not ours alone."""
    for _ in range(2):
        try:
            posix.mkdir(f"{root}/{DIRECTORY}", 0o700)
        except FileNotFoundError:
            make_root(root)
            continue
        except FileExistsError:
            pass
        break
    return open_directory(root)


def _write(directory: int, name: str, text: bytes) -> None:
    """Whole or not at all: aside, then renamed."""
    aside = f".{name}.{posix.getpid()}"
    fd = posix.open(aside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        if posix.write(fd, text) != len(text):
            raise OSError(ENOSPC, posix.strerror(ENOSPC))
        posix.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        posix.unlink(aside, dir_fd=directory)
        raise
    finally:
        posix.close(fd)


def _make_room(directory: int) -> None:
    """Remove the oldest, and what a killed process left aside, so that there are never more than MOST."""
    names = posix.listdir(directory)
    if len(names) < MOST:
        return
    ages = []
    for name in names:
        try:
            ages.append((posix.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns, name))
        except FileNotFoundError:
            continue  # another process makes room, too
    for _, name in sorted(ages)[: len(names) - MOST + 1]:
        try:
            posix.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            continue
