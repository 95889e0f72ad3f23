"""The system call table: libc through ctypes, five lines a wrapper at most; every failure is an OSError that names the call.

Standard library only, and cheap to import: each container's monitor and init load it. Calls that libc does not wrap go through
``syscall(2)`` by number. x86-64 and arm64 share every number above 424; the few older ones are in ``_NUMBERS``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = _libc.ptrace.restype = ctypes.c_long

_X86 = os.uname().machine == "x86_64"  # "import platform" would cost 3 ms, mostly for regular expressions
_NUMBERS = {
    "capset": 126 if _X86 else 91,
    "pivot_root": 155 if _X86 else 41,
    "keyctl": 250 if _X86 else 219,
    "ioprio_set": 251 if _X86 else 30,
    "sched_setattr": 314 if _X86 else 274,
    "renameat2": 316 if _X86 else 276,
    "seccomp": 317 if _X86 else 277,
    "bpf": 321 if _X86 else 280,
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
}

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_NOATIME, MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 0x400, 0x1000, 0x2000, 0x4000, 0x8000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x20000, 0x40000, 0x80000, 0x100000
MS_RELATIME, MS_STRICTATIME = 0x200000, 0x1000000
MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW = 0x1, 0x2, 0x8

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x1, 0x2, 0x4, 0x8, 0x10
PROC_SUPER_MAGIC = 0x9FA0
RENAME_NOREPLACE, RENAME_EXCHANGE = 0x1, 0x2

FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE = 0, 1, 5, 6
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, 1, 1, os.O_CLOEXEC, 0x4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MOUNT_ATTR_IDMAP = 0x100000

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 15, 24, 28
SECBIT_NO_SETUID_FIXUP = 0x4
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4

CLOSE_RANGE_CLOEXEC = 0x4
SECCOMP_FILTER_FLAG_NEW_LISTENER = 0x8
_WAIT_KILLABLE_RECV = 0x20

PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE = 7, 17, 0x4206
PTRACE_O_TRACEEXEC, PTRACE_O_EXITKILL, PTRACE_EVENT_EXEC = 0x10, 0x100000, 4


def check(name: str, result: int, path: str = "") -> int:
    """Return ``result``; raise OSError with the call's name (and path) when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", path or None)
    return result


def sched_getcpu() -> int:
    """Return the number of the processor that the calling thread runs on (sched_getcpu(3))."""
    return int(_libc.sched_getcpu())


def syscall(name: str, *args: object, path: str = "") -> int:
    """Make the raw call ``name`` with integer, bytes, ctypes or None arguments."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return check(name, int(_libc.syscall(ctypes.c_long(_NUMBERS[name]), *converted)), path)


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """mount(2); ``target`` must not be a path that a container can change (use fds through /proc/self/fd or the new mount calls)."""
    args = (os.fsencode(source), os.fsencode(target), fstype.encode(), ctypes.c_ulong(flags), os.fsencode(data) or None)
    check("mount", _libc.mount(*args), target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    check("umount2", _libc.umount2(os.fsencode(target), ctypes.c_int(flags)), target)


def unshare(flags: int) -> None:
    """unshare(2)."""
    check("unshare", _libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, flags: int) -> None:
    """setns(2)."""
    check("setns", _libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)."""
    return check("prctl", _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(a) for a in (arg2, arg3, arg4, arg5))))


def sethostname(name: str) -> None:
    """sethostname(2)."""
    data = name.encode()
    check("sethostname", _libc.sethostname(data, ctypes.c_size_t(len(data))), name)


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    data = name.encode()
    check("setdomainname", _libc.setdomainname(data, ctypes.c_size_t(len(data))), name)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2), Linux 5.9."""
    syscall("close_range", first, last, flags)


def openat2(directory: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), Linux 5.6; the descriptor is close-on-exec."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    return syscall("openat2", directory, os.fsencode(path), how, ctypes.sizeof(how), path=os.fsdecode(path))


def renameat2(old_dir: int, old: str, new_dir: int, new: str, flags: int = 0) -> None:
    """renameat2(2): rename that can refuse to replace, or exchange."""
    syscall("renameat2", old_dir, os.fsencode(old), new_dir, os.fsencode(new), flags, path=new)


def fsopen(fstype: str) -> int:
    """fsopen(2), Linux 5.2: a configuration context for a new filesystem instance."""
    return syscall("fsopen", fstype.encode(), FSOPEN_CLOEXEC, path=fstype)


def fsconfig(context: int, command: int, key: str = "", value: str = "", aux: int = 0) -> None:
    """fsconfig(2)."""
    syscall("fsconfig", context, command, key.encode() or None, os.fsencode(value) or None, aux, path=key)


def fsmount(context: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of the configured instance, as a descriptor."""
    return syscall("fsmount", context, FSMOUNT_CLOEXEC, attributes)


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2): a mount as a descriptor, cloned with OPEN_TREE_CLONE."""
    return syscall("open_tree", directory, os.fsencode(path), flags, path=path)


def move_mount(from_fd: int, to_dir: int, to_path: str, flags: int = MOVE_MOUNT_F_EMPTY_PATH) -> None:
    """move_mount(2): attach a mount descriptor."""
    syscall("move_mount", from_fd, b"", to_dir, os.fsencode(to_path), flags, path=to_path)


def mount_setattr(directory: int, path: str, flags: int, *, set_: int = 0, clear: int = 0, propagation: int = 0, user: int = 0) -> None:
    """mount_setattr(2), Linux 5.12; ``user`` is the namespace's descriptor for MOUNT_ATTR_IDMAP."""
    attr = (ctypes.c_uint64 * 4)(set_, clear, propagation, user)
    syscall("mount_setattr", directory, os.fsencode(path), flags, attr, ctypes.sizeof(attr), path=path)


def ptrace(request: int, pid: int, data: int = 0) -> None:
    """ptrace(2) for requests without an address."""
    arguments = (ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(0), ctypes.c_void_p(data))
    check("ptrace", int(_libc.ptrace(*arguments)))


def filesystem_type(fd: int) -> int:
    """fstatfs(2): the magic number of the filesystem that ``fd`` lies on."""
    buffer = (ctypes.c_long * 64)()
    check("fstatfs", _libc.fstatfs(ctypes.c_int(fd), buffer))
    return int(buffer[0])


def syncfs(fd: int) -> None:
    """syncfs(2): write everything of the file system that ``fd`` lies on to the disk."""
    check("syncfs", _libc.syncfs(ctypes.c_int(fd)))


def seccomp_set_filter(program: bytes) -> None:
    """Install a classic BPF program (struct sock_filter array) as this thread's seccomp filter."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = (ctypes.c_uint64 * 2)(len(program) // 8, ctypes.addressof(buffer))
    syscall("seccomp", 1, 0, header)


def seccomp_listen(program: bytes) -> int:
    """Install such a filter; returns the descriptor (close-on-exec) to which it tells the calls that it does not decide itself."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = (ctypes.c_uint64 * 2)(len(program) // 8, ctypes.addressof(buffer))
    try:  # a call that was received is answered, whatever signals come to its process but SIGKILL (Linux 5.19)
        return syscall("seccomp", 1, SECCOMP_FILTER_FLAG_NEW_LISTENER | _WAIT_KILLABLE_RECV, header)
    except OSError as err:
        if err.errno != errno.EINVAL:
            raise
        return syscall("seccomp", 1, SECCOMP_FILTER_FLAG_NEW_LISTENER, header)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling thread; sets are 64-bit masks."""
    low = [m & 0xFFFFFFFF for m in (effective, permitted, inheritable)]
    high = [m >> 32 for m in (effective, permitted, inheritable)]
    syscall("capset", (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*low, *high))


def sched_setattr(policy: int, flags: int, nice: int, priority: int, times: tuple[int, int, int]) -> None:
    """sched_setattr(2) for this thread; ``times`` are runtime, deadline and period in nanoseconds."""
    attributes = struct.pack("=IIQiIQQQII", 56, policy, flags, nice, priority, *times, 0, 0)
    syscall("sched_setattr", 0, attributes, 0)


def ioprio_set(class_: int, priority: int) -> None:
    """ioprio_set(2) for this thread."""
    syscall("ioprio_set", 1, 0, class_ << 13 | priority)


def personality(value: int) -> None:
    """personality(2)."""
    check("personality", _libc.personality(ctypes.c_ulong(value)))


def getsockopt(fd: int, level: int, option: int, data: bytes) -> bytes:
    """getsockopt(2) for options that read the buffer before they fill it, which :meth:`socket.socket.getsockopt` cannot do."""
    buffer = ctypes.create_string_buffer(data, len(data))
    size = ctypes.c_uint32(len(data))
    check("getsockopt", _libc.getsockopt(ctypes.c_int(fd), ctypes.c_int(level), ctypes.c_int(option), buffer, ctypes.byref(size)))
    return buffer.raw[: size.value]


def pidfd_open(pid: int) -> int:
    """pidfd_open(2): a descriptor of the process that has this pid now; ProcessLookupError when there is none. The caller closes it.

    A pid whose process is being reaped at this moment, or that is a thread's, is for the kernel no wrong pid but a wrong argument
    (EINVAL until Linux 6.14, ENOENT since): it is nobody's all the same.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"pid {pid}") from err
