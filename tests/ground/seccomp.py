"""System call filters for tests, Docker's default profile among them, and a program inside that makes any call."""

import copy
import os
from typing import Any

from tests.attacks.attackers import give_python
from tests.ground.bundle import Bundle

# x86_64, and the table that aarch64 and riscv64 share
NUMBERS = {
    name: numbers[os.uname().machine != "x86_64"]
    for name, numbers in {
        "fadvise64": (221, 223),
        "getpid": (39, 172),
        "mkdirat": (258, 34),
        "personality": (135, 92),
        "process_vm_readv": (310, 270),
        "setns": (308, 268),
    }.items()
}
NEW = 1000  # the number of no system call yet

ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
}[os.uname().machine]

# Docker's default profile as it is published: who has no capability may make these calls, and no others.
_DOCKER = """
    accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32
    chroot clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock
    fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex
    futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu
    getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
    getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64
    io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listxattr llistxattr _llseek lremovexattr
    lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir
    mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv
    msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2
    pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
    pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64
    ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64
    recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
    send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid
    setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
    socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs
    sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill
    truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork
    vmsplice wait4 waitid waitpid write writev
"""
_PERSONAS = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
_AF_VSOCK = 40
_NEW_NAMESPACES = 2114060288  # CLONE_NEW* but time's


def rule(names: str, action: str, *args: tuple[int, str, int, int], errno: int | None = None) -> dict[str, Any]:
    """A member of linux.seccomp.syscalls; an argument as (index, SCMP_CMP_, value, valueTwo)."""
    made: dict[str, Any] = {"names": names.split(), "action": f"SCMP_ACT_{action}"}
    if args:
        made["args"] = [
            {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": two} for index, op, value, two in args
        ]
    return made if errno is None else made | {"errnoRet": errno}


def profile(default: str, *rules: dict[str, Any], **members: Any) -> dict[str, Any]:
    """linux.seccomp with this default action."""
    return {"defaultAction": f"SCMP_ACT_{default}", "architectures": ARCHITECTURES, "syscalls": [*rules], **members}


def docker() -> dict[str, Any]:
    """Docker's default profile, for a container without further capabilities."""
    return profile(
        "ERRNO",
        rule(_DOCKER, "ALLOW"),
        rule("socket", "ALLOW", (0, "NE", _AF_VSOCK, 0)),
        *(rule("personality", "ALLOW", (0, "EQ", persona, 0)) for persona in _PERSONAS),
        rule("clone", "ALLOW", (0, "MASKED_EQ", _NEW_NAMESPACES, 0)),
        rule("clone3", "ERRNO", errno=38),
        defaultErrnoRet=1,
    )


CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for call in %r:
    result = libc.syscall(*(ctypes.c_ulong(word) for word in call))
    print(-ctypes.get_errno() if result < 0 else result, flush=True)
"""


def calls(bundle: Bundle, *wanted: tuple[int, ...]) -> None:
    """Have the container's process make the system calls (number, arguments), and print a result or -errno each."""
    give_python(bundle, CALLS % (wanted,))


def filtered(bundle: Bundle, seccomp: dict[str, Any]) -> Bundle:
    """The bundle with this filter."""
    bundle.linux["seccomp"] = copy.deepcopy(seccomp)
    return bundle
