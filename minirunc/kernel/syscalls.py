"""System calls under their own names (syscalls(2)): one `def` each, executed here (`local`) or inside by the hand.

`Calls` holds the definitions; who executes them says so by `call`. Arguments and order are the manual's, except that a
structure is given as bytes or Words and its size is filled in.
"""

from posix import uname

from minirunc.base.errors import SyscallError
from minirunc.kernel import trace

# name: (x86_64, the generic table of aarch64 and riscv64); from 424 on all machines share the numbers.
_NUMBERS = {
    "bpf": (321, 280), "capget": (125, 90), "capset": (126, 91), "chdir": (80, 49), "chroot": (161, 51),
    "clone3": (435, 435),
    "close": (3, 57), "close_range": (436, 436), "connect": (42, 203), "dup3": (292, 24), "execve": (59, 221),
    "exit_group": (231, 94), "faccessat2": (439, 439), "fchdir": (81, 50), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchown": (93, 55), "fchownat": (260, 54), "fcntl": (72, 25), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fstatfs": (138, 44), "getcwd": (79, 17), "getpid": (39, 172),
    "ioctl": (16, 29), "ioprio_set": (251, 30), "keyctl": (250, 219), "lseek": (8, 62),
    "madvise": (28, 233), "memfd_create": (319, 279), "mkdirat": (258, 34), "mknodat": (259, 33),
    "mmap": (9, 222), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428), "openat": (257, 56),
    "openat2": (437, 437), "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pivot_root": (155, 41),
    "prctl": (157, 167), "prlimit64": (302, 261), "read": (0, 63), "readlinkat": (267, 78), "recvmsg": (47, 212),
    "rt_sigaction": (13, 134),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274), "seccomp": (317, 277), "sendmsg": (46, 211),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162), "setfsgid": (123, 152), "setfsuid": (122, 151), "setgroups": (116, 159),
    "sethostname": (170, 161), "setns": (308, 268),
    "setresgid": (119, 149), "setresuid": (117, 147), "setsid": (112, 157), "signalfd4": (289, 74),
    "socket": (41, 198), "statx": (332, 291), "symlinkat": (266, 36), "umask": (95, 166),
    "umount2": (166, 39), "unlinkat": (263, 35), "unshare": (272, 97), "write": (1, 64),
}  # fmt: skip

# The Linux that has it first, for all that came after 3.14.
SINCE = {
    "bpf": "3.18", "clone3": "5.3", "close_range": "5.9", "faccessat2": "5.8", "fsconfig": "5.2", "fsmount": "5.2",
    "fsopen": "5.2", "memfd_create": "3.17", "mount_setattr": "5.12", "move_mount": "5.2", "open_tree": "5.2",
    "openat2": "5.6", "pidfd_getfd": "5.6", "pidfd_open": "5.3", "pidfd_send_signal": "5.1", "seccomp": "3.17",
    "statx": "4.11",
}  # fmt: skip

_GENERIC = uname().machine != "x86_64"


def number(name: str) -> int:
    """The call's number on this machine."""
    return _NUMBERS[name][_GENERIC]


class Out:
    """Room for `size` bytes that the kernel fills in; `data` holds them after the call."""

    __slots__ = ("data", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = b""

    def text(self) -> bytes:
        """The bytes up to the first NUL, as readlink(2) and getcwd(2) give them."""
        return self.data.partition(b"\0")[0]


class Words:
    """An array of 64-bit words, each a number or a pointer to what stands in its place: argv, msghdr, clone_args."""

    __slots__ = ("items",)

    def __init__(self, *items: "Arg") -> None:
        self.items = items


class Result:
    """What an earlier entry of the same batch will return; `value` holds it after the batch."""

    __slots__ = ("index", "value")

    def __init__(self, index: int) -> None:
        self.index = index
        self.value = 0

    def __index__(self) -> int:
        return self.value


Fd = int | Result
Arg = int | str | bytes | Out | Words | Result | None


class Calls:
    """The definitions; each returns what the executor's `call` returns: an int here, a Result in a batch."""

    __slots__ = ()

    def call(self, name: str, *args: Arg) -> Fd:
        """Execute the system call `name`."""
        raise NotImplementedError

    def bpf(self, cmd: int, attr: bytes | Words, size: int) -> Fd:
        """bpf(2)."""
        return self.call("bpf", cmd, attr, size)

    def capget(self, header: bytes, out: Out) -> Fd:
        """capget(2); version 3 of the structure has 24 bytes."""
        return self.call("capget", header, out)

    def capset(self, header: bytes, data: bytes) -> Fd:
        """capset(2)."""
        return self.call("capset", header, data)

    def chdir(self, path: str) -> Fd:
        """chdir(2)."""
        return self.call("chdir", path)

    def chroot(self, path: str) -> Fd:
        """chroot(2)."""
        return self.call("chroot", path)

    def clone3(self, flags: int, exit_signal: int = 0, cgroup: int = 0) -> Fd:
        """clone3(2): struct clone_args is eleven words; `cgroup` is an fd, used with CLONE_INTO_CGROUP."""
        return self.call("clone3", Words(flags, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, cgroup), 88)

    def close(self, fd: Fd) -> Fd:
        """close(2)."""
        return self.call("close", fd)

    def close_range(self, first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> Fd:
        """close_range(2)."""
        return self.call("close_range", first, last, flags)

    def connect(self, fd: Fd, address: bytes) -> Fd:
        """connect(2); `address` is the sockaddr."""
        return self.call("connect", fd, address, len(address))

    def dup3(self, old: Fd, new: int, flags: int = 0) -> Fd:
        """dup3(2)."""
        return self.call("dup3", old, new, flags)

    def execve(self, path: str | bytes, argv: Words | int, envp: Words | int) -> Fd:
        """execve(2)."""
        return self.call("execve", path, argv, envp)

    def exit_group(self, status: int) -> Fd:
        """exit_group(2)."""
        return self.call("exit_group", status)

    def faccessat2(self, dirfd: Fd, path: str, mode: int, flags: int) -> Fd:
        """faccessat2(2)."""
        return self.call("faccessat2", dirfd, path, mode, flags)

    def fchdir(self, fd: Fd) -> Fd:
        """fchdir(2)."""
        return self.call("fchdir", fd)

    def fchmod(self, fd: Fd, mode: int) -> Fd:
        """fchmod(2)."""
        return self.call("fchmod", fd, mode)

    def fchmodat(self, dirfd: Fd, path: str, mode: int) -> Fd:
        """fchmodat(2), the system call: no flags."""
        return self.call("fchmodat", dirfd, path, mode)

    def fchown(self, fd: Fd, uid: int, gid: int) -> Fd:
        """fchown(2)."""
        return self.call("fchown", fd, uid, gid)

    def fchownat(self, dirfd: Fd, path: str, uid: int, gid: int, flags: int) -> Fd:
        """fchownat(2)."""
        return self.call("fchownat", dirfd, path, uid, gid, flags)

    def fcntl(self, fd: Fd, cmd: int, arg: int = 0) -> Fd:
        """fcntl(2)."""
        return self.call("fcntl", fd, cmd, arg)

    def fsconfig(self, fd: Fd, cmd: int, key: str | None, value: str | None, aux: int = 0) -> Fd:
        """fsconfig(2)."""
        return self.call("fsconfig", fd, cmd, key, value, aux)

    def fsmount(self, fd: Fd, flags: int, attr_flags: int) -> Fd:
        """fsmount(2)."""
        return self.call("fsmount", fd, flags, attr_flags)

    def fsopen(self, fsname: str, flags: int) -> Fd:
        """fsopen(2)."""
        return self.call("fsopen", fsname, flags)

    def fstatfs(self, fd: Fd, out: Out) -> Fd:
        """fstatfs(2); the first word of `out` is the file system's magic number."""
        return self.call("fstatfs", fd, out)

    def getcwd(self, out: Out) -> Fd:
        """getcwd(2), the system call: an unreachable directory is reported by a text that is not absolute."""
        return self.call("getcwd", out, out.size)

    def getpid(self) -> Fd:
        """getpid(2)."""
        return self.call("getpid")

    def ioctl(self, fd: Fd, request: int, arg: Arg) -> Fd:
        """ioctl(2)."""
        return self.call("ioctl", fd, request, arg)

    def ioprio_set(self, which: int, who: int, ioprio: int) -> Fd:
        """ioprio_set(2)."""
        return self.call("ioprio_set", which, who, ioprio)

    def keyctl(self, operation: int, *args: Arg) -> Fd:
        """keyctl(2)."""
        return self.call("keyctl", operation, *args)

    def lseek(self, fd: Fd, offset: int, whence: int) -> Fd:
        """lseek(2)."""
        return self.call("lseek", fd, offset, whence)

    def memfd_create(self, name: str, flags: int) -> Fd:
        """memfd_create(2)."""
        return self.call("memfd_create", name, flags)

    def mkdirat(self, dirfd: Fd, path: str, mode: int) -> Fd:
        """mkdirat(2)."""
        return self.call("mkdirat", dirfd, path, mode)

    def mknodat(self, dirfd: Fd, path: str, mode: int, dev: int) -> Fd:
        """mknodat(2)."""
        return self.call("mknodat", dirfd, path, mode, dev)

    def madvise(self, address: int, length: int, advice: int) -> Fd:
        """madvise(2)."""
        return self.call("madvise", address, length, advice)

    def mmap(self, length: int, prot: int, flags: int) -> Fd:
        """mmap(2) of anonymous memory, where the kernel likes."""
        return self.call("mmap", 0, length, prot, flags, -1, 0)

    def mount(self, source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> Fd:
        """mount(2)."""
        return self.call("mount", source, target, fstype, flags, data)

    def mount_setattr(self, dirfd: Fd, path: str, flags: int, attr: Words) -> Fd:
        """mount_setattr(2); struct mount_attr is four words: set, clear, propagation, userns_fd."""
        return self.call("mount_setattr", dirfd, path, flags, attr, 32)

    def move_mount(self, from_fd: Fd, from_path: str, to_fd: Fd, to_path: str, flags: int) -> Fd:
        """move_mount(2)."""
        return self.call("move_mount", from_fd, from_path, to_fd, to_path, flags)

    def open_tree(self, dirfd: Fd, path: str, flags: int) -> Fd:
        """open_tree(2)."""
        return self.call("open_tree", dirfd, path, flags)

    def openat(self, dirfd: Fd, path: str, flags: int, mode: int = 0) -> Fd:
        """openat(2)."""
        return self.call("openat", dirfd, path, flags, mode)

    def openat2(self, dirfd: Fd, path: str, flags: int, resolve: int, mode: int = 0) -> Fd:
        """openat2(2); struct open_how is three words."""
        return self.call("openat2", dirfd, path, Words(flags, mode, resolve), 24)

    def personality(self, persona: int) -> Fd:
        """personality(2)."""
        return self.call("personality", persona)

    def pidfd_getfd(self, pidfd: int, fd: int) -> Fd:
        """pidfd_getfd(2); what it gives is close-on-exec."""
        return self.call("pidfd_getfd", pidfd, fd, 0)

    def pidfd_open(self, pid: int, flags: int = 0) -> Fd:
        """pidfd_open(2)."""
        return self.call("pidfd_open", pid, flags)

    def pivot_root(self, new_root: str, put_old: str) -> Fd:
        """pivot_root(2)."""
        return self.call("pivot_root", new_root, put_old)

    def prctl(self, operation: int, *args: Arg) -> Fd:
        """prctl(2)."""
        return self.call("prctl", operation, *args)

    def prlimit64(self, pid: int, resource: int, new: bytes) -> Fd:
        """prlimit(2); `new` is struct rlimit64, two words: soft, hard."""
        return self.call("prlimit64", pid, resource, new, None)

    def read(self, fd: Fd, out: Arg, count: int) -> Fd:
        """read(2)."""
        return self.call("read", fd, out, count)

    def readlinkat(self, dirfd: Fd, path: str, out: Out) -> Fd:
        """readlinkat(2)."""
        return self.call("readlinkat", dirfd, path, out, out.size)

    def recvmsg(self, fd: Fd, message: Words, flags: int) -> Fd:
        """recvmsg(2)."""
        return self.call("recvmsg", fd, message, flags)

    def rt_sigaction(self, signum: int, act: bytes) -> Fd:
        """rt_sigaction(2); a mask has 8 bytes."""
        return self.call("rt_sigaction", signum, act, None, 8)

    def sched_setaffinity(self, pid: int, mask: bytes) -> Fd:
        """sched_setaffinity(2)."""
        return self.call("sched_setaffinity", pid, len(mask), mask)

    def sched_setattr(self, pid: int, attr: bytes) -> Fd:
        """sched_setattr(2)."""
        return self.call("sched_setattr", pid, attr, 0)

    def seccomp(self, operation: int, flags: int, args: Words | None) -> Fd:
        """seccomp(2); struct sock_fprog is two words: instructions, where they are."""
        return self.call("seccomp", operation, flags, args)

    def sendmsg(self, fd: Fd, message: Words, flags: int) -> Fd:
        """sendmsg(2)."""
        return self.call("sendmsg", fd, message, flags)

    def set_mempolicy(self, mode: int, nodes: bytes) -> Fd:
        """set_mempolicy(2); `nodes` is a mask, whose last bit the kernel does not look at."""
        return self.call("set_mempolicy", mode, nodes, len(nodes) * 8)

    def setdomainname(self, name: bytes) -> Fd:
        """setdomainname(2)."""
        return self.call("setdomainname", name, len(name))

    def setfsgid(self, gid: int) -> Fd:
        """setfsgid(2)."""
        return self.call("setfsgid", gid)

    def setfsuid(self, uid: int) -> Fd:
        """setfsuid(2); of this thread alone."""
        return self.call("setfsuid", uid)

    def setgroups(self, gids: bytes, count: int) -> Fd:
        """setgroups(2); `gids` is an array of 32-bit numbers."""
        return self.call("setgroups", count, gids)

    def sethostname(self, name: bytes) -> Fd:
        """sethostname(2)."""
        return self.call("sethostname", name, len(name))

    def setns(self, fd: Fd, nstype: int) -> Fd:
        """setns(2)."""
        return self.call("setns", fd, nstype)

    def setresgid(self, rgid: int, egid: int, sgid: int) -> Fd:
        """setresgid(2)."""
        return self.call("setresgid", rgid, egid, sgid)

    def setresuid(self, ruid: int, euid: int, suid: int) -> Fd:
        """setresuid(2)."""
        return self.call("setresuid", ruid, euid, suid)

    def setsid(self) -> Fd:
        """setsid(2)."""
        return self.call("setsid")

    def signalfd4(self, fd: int, mask: bytes, flags: int) -> Fd:
        """signalfd(2)."""
        return self.call("signalfd4", fd, mask, len(mask), flags)

    def socket(self, domain: int, kind: int, protocol: int) -> Fd:
        """socket(2)."""
        return self.call("socket", domain, kind, protocol)

    def statx(self, dirfd: Fd, path: str, flags: int, mask: int, out: Out) -> Fd:
        """statx(2); `out` has room for 256 bytes."""
        return self.call("statx", dirfd, path, flags, mask, out)

    def symlinkat(self, target: str, dirfd: Fd, path: str) -> Fd:
        """symlinkat(2)."""
        return self.call("symlinkat", target, dirfd, path)

    def umask(self, mask: int) -> Fd:
        """umask(2)."""
        return self.call("umask", mask)

    def umount2(self, target: str, flags: int) -> Fd:
        """umount2(2)."""
        return self.call("umount2", target, flags)

    def unlinkat(self, dirfd: Fd, path: str, flags: int = 0) -> Fd:
        """unlinkat(2)."""
        return self.call("unlinkat", dirfd, path, flags)

    def unshare(self, flags: int) -> Fd:
        """unshare(2)."""
        return self.call("unshare", flags)

    def write(self, fd: Fd, data: bytes) -> Fd:
        """write(2)."""
        return self.call("write", fd, data, len(data))


def failure(name: str, args: "tuple[Arg, ...]", errno: int) -> SyscallError:
    """The error for a call that failed, its arguments spelled out."""
    from minirunc.kernel.render import arguments  # cold: only an error or a trace spells calls out

    return SyscallError(name, arguments(name, args), errno)


def refusal(name: str, text: str, error: OSError) -> SyscallError:
    """The error for a call that Python made itself, `text` its arguments."""
    return SyscallError(name, text, error.errno or 0)


def _hint(name: str, errno: int) -> str:
    from minirunc.kernel.render import hint  # cold, too

    return hint(name, errno)


SyscallError.hint = staticmethod(_hint)


class Local(Calls):
    """Executes in this process, through the C core of ctypes (the package around it costs 2.6 ms to import)."""

    __slots__ = ("_errno", "_pointer", "_syscall")

    def __init__(self) -> None:
        import _ctypes

        class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
            _type_ = "l"

        class Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
            _type_ = "P"

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = Long
            _argtypes_ = (Long,) + (Pointer,) * 6

        class Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]
            _type_ = "c"

        self._errno = _ctypes.get_errno
        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None is the C library we run with
        self._syscall = Function(_ctypes.dlsym(library, "syscall"))

        def pointer(room: bytearray) -> int:
            return _ctypes.addressof((Byte * len(room)).from_buffer(room))

        self._pointer = pointer

    def call(self, name: str, *args: Arg) -> int:
        """Execute here; raises SyscallError."""
        keep: list[tuple[Arg, bytearray]] = []
        values = [self._value(arg, keep) for arg in args]
        result: int = self._syscall(number(name), *values, *(0,) * (6 - len(values)))
        errno = self._errno() if result < 0 else 0
        for arg, room in keep:
            if isinstance(arg, Out):
                arg.data = bytes(room)
        if trace.sink:
            trace.report("outside", name, args, -errno if errno else result)
        if errno:
            raise failure(name, args, errno)
        return result

    def _value(self, arg: Arg, keep: "list[tuple[Arg, bytearray]]") -> int:
        if arg is None:
            return 0
        if isinstance(arg, int):
            return arg
        if isinstance(arg, Result):
            return arg.value
        if isinstance(arg, str):
            arg = arg.encode("utf-8", "surrogateescape") + b"\0"
        if isinstance(arg, Words):
            arg = b"".join((self._value(item, keep) & (1 << 64) - 1).to_bytes(8, "little") for item in arg.items)
        room = bytearray(arg.size) if isinstance(arg, Out) else bytearray(arg + b"\0")
        keep.append((arg, room))
        return self._pointer(room)


_local: list[Local] = []


def local() -> Local:
    """The executor of this process, made when first needed."""
    if not _local:
        _local.append(Local())
    return _local[0]
