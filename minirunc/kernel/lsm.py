"""Linux security modules: which one is on, and what a process asks of it for its next execve (proc_pid_attr(5))."""

import posix

from minirunc.base import files
from minirunc.base.errors import SyscallError
from minirunc.kernel import procfs
from minirunc.kernel.hand import Hand


def apparmor() -> bool:
    """Whether AppArmor is on."""
    try:
        return files.read("/sys/module/apparmor/parameters/enabled").startswith(b"Y")
    except OSError:
        return False


def selinux() -> bool:
    """Whether SELinux is on and ours to use: selinuxfs is there, not read-only, and a policy is loaded."""
    try:
        if posix.statvfs("/sys/fs/selinux/load").f_flag & posix.ST_RDONLY:
            return False
        return procfs.read("self/attr/current").rstrip("\0\n") != "kernel"
    except OSError:
        return False


def ask(hand: Hand, proc: int, attribute: str, value: str) -> int:
    """Have the hand write to its own attr/`attribute`; 0 or an errno.

    `proc` is what procfs.private gave, so it is that file and no other (CVE-2019-16884, CVE-2025-52881). The kernel
    takes it from the task itself only, and only by an fd that the same program opened.
    """
    text = value.encode("utf-8", "surrogateescape")
    with hand.batch() as do:
        file = do.tolerate(procfs.below(do, proc, f"thread-self/attr/{attribute}", posix.O_WRONLY))
        written = do.tolerate(do.write(file, text))
        do.tolerate(do.close(file))
    return max(0, -int(file), -int(written) if int(file) >= 0 else 0)


def label(hand: Hand, fd: int, context: str) -> None:
    """Set the SELinux context of a file that the hand has open; raises SyscallError."""
    ours = hand.receive_fd(fd)
    try:
        posix.setxattr(f"/proc/self/fd/{ours}", "security.selinux", context.encode())
    except OSError as error:
        raise SyscallError("setxattr", f'"security.selinux", "{context}"', error.errno or 0) from None
    finally:
        posix.close(ours)
