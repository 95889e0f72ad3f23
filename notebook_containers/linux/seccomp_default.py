"""The default system call filter: what a container may ask of the kernel.

Everything that ordinary programs, compilers, debuggers, package managers and servers call is allowed; whatever changes the machine rather
than the container, whatever a capability guards that the container lacks, and what has a history of being a way out, is not. Against
Docker's list it leaves out the i386 and x32 ABIs (by not being in ``architectures``), socket families other than the internet's, unix,
netlink and packet, and the two terminal ioctls that type into the terminal of whoever shares it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ALLOWED = """
    accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown
    clock_adjtime clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
    execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchownat fcntl fdatasync fgetxattr file_getattr file_setattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area
    getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid
    getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
    io_pgetevents io_setup io_submit ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lgetxattr link linkat listen listxattr listxattrat llistxattr lremovexattr lseek lsetxattr
    lstat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2
    pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2
    prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2
    restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid
    setresuid setreuid setrlimit setsid setsockopt setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack
    signalfd signalfd4 splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
    times tkill truncate umask uname unlink unlinkat uretprobe utime utimensat utimes vfork vmsplice wait4 waitid write
    writev
"""

# What a capability opens: the kernel checks it again, but code that nobody may use should not be reachable either.
_BY_CAPABILITY = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount listns lookup_dcookie mount mount_setattr move_mount
        open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns statmount syslog
        umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime settimeofday",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

# Refused as calls that do not exist, because programs then take the older one: clone3 hides its flags from filters in memory.
_ABSENT = "clone3 listmount listns lsm_get_self_attr lsm_list_modules lsm_set_self_attr open_tree_attr statmount"

_ENOSYS, _EPERM = 38, 1
_ALL_LOW_BITS = 0xFFFFFFFF
_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET
_FAMILIES = (1, 2, 10, 16, 17)  # AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)  # PER_LINUX, PER_LINUX32, each with UNAME26, and the question
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


def profile(capabilities: frozenset[str], *, architecture: str) -> dict[str, object]:
    """Return the profile for a container that holds ``capabilities``; ``architecture`` is libseccomp's word for this machine."""
    held = {name if name.startswith("CAP_") else f"CAP_{name}" for name in capabilities}
    opened = {call for name, calls in _BY_CAPABILITY.items() if name in held for call in calls.split()}
    allowed = sorted({*_ALLOWED.split(), *opened})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": [architecture] if architecture else [],
        "syscalls": [
            {"names": allowed, "action": "SCMP_ACT_ALLOW"},
            {"names": sorted({*_ABSENT.split()} - opened), "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            *_by_argument("clone" in opened),
        ],
    }


def _by_argument(all_flags: bool) -> Iterator[dict[str, object]]:
    """Yield the rules that look at an argument."""
    if not all_flags:
        yield _allow("clone", 0, "MASKED_EQ", _NAMESPACE_FLAGS, 0)
    yield from (_allow("socket", 0, "EQ", family) for family in _FAMILIES)
    yield _allow("socketpair", 0, "EQ", 1)
    yield from (_allow("personality", 0, "EQ", value) for value in _PERSONALITIES)
    yield from _terminal()


def _terminal() -> Iterator[dict[str, object]]:
    """Yield the rules that allow every ioctl but TIOCSTI and TIOCLINUX.

    Only with comparisons that every runtime understands: one rule cannot look at the same argument twice. Between the two numbers
    lie one single number and two blocks of four.
    """
    yield _allow("ioctl", 1, "GT", _TIOCLINUX)
    yield _allow("ioctl", 1, "LT", _TIOCSTI)
    yield _allow("ioctl", 1, "EQ", _TIOCSTI + 1)
    yield _allow("ioctl", 1, "MASKED_EQ", _ALL_LOW_BITS & ~3, 0x5414)
    yield _allow("ioctl", 1, "MASKED_EQ", _ALL_LOW_BITS & ~3, 0x5418)


def _allow(name: str, index: int, operation: str, value: int, second: int = 0) -> dict[str, object]:
    """Return the rule that allows a call when one argument compares."""
    argument = {"index": index, "value": value, "valueTwo": second, "op": f"SCMP_CMP_{operation}"}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}
