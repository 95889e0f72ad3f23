"""A filter that tells of what it refuses: each call that it would answer with EPERM goes to a listener, which answers so (seccomp(2)).

The listener's answer is always EPERM and never "go on", so nothing is let through that the filter itself refuses, and calls that are
allowed cost what they cost before. Two things keep that true when the listener is gone. The kernel answers ENOSYS then. And no process
under such a filter may have a listener of its own, for that one could say "go on": the kernel refuses it (EBUSY) while this listener
lives, the filter itself refuses it in the same way for ever.

Standard library only: it is loaded by the container's first process and by its monitor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct

from notebook_containers.linux import seccomp_bpf, syscalls

_INSTRUCTION = struct.Struct("=HBBI")
_ERRNO, _ALLOW, _NOTIFY = 0x00050000, 0x7FFF0000, 0x7FC00000
_REFUSES = _INSTRUCTION.pack(*seccomp_bpf.give(_ERRNO | errno.EPERM)[0])
_TELLS = _INSTRUCTION.pack(*seccomp_bpf.give(_NOTIFY)[0])

_X86 = os.uname().machine == "x86_64"
_SECCOMP = 317 if _X86 else 277
_AUDIT = 0xC000003E if _X86 else 0xC00000B7
# What this process itself may call from when the filter holds until the listener is handed over, when nobody would answer:
# close, mmap, munmap, brk, mremap, madvise, sendmsg, futex.
_HANDING_OVER = (3, 9, 11, 12, 25, 28, 46, 202) if _X86 else (57, 222, 215, 214, 216, 233, 211, 98)

_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_NOTIFICATION_BYTES = 80
_HEAD = struct.Struct("=QIIi")  # id, pid, flags, number of the call
_RESPONSE = struct.Struct("=QqiI")  # id, value, error, flags


def telling(program: bytes) -> bytes:
    """Return the form of a compiled filter that tells, for :func:`.syscalls.seccomp_listen`; empty when there is none.

    There is none of a filter that never answers EPERM, and of one that does not let a process hand its listener over.
    """
    told, found = bytearray(program), False
    for offset in range(0, len(program), _INSTRUCTION.size):
        if program[offset : offset + _INSTRUCTION.size] == _REFUSES:
            told[offset : offset + _INSTRUCTION.size] = _TELLS
            found = True
    if not found or not all(_always_allowed(program, number) for number in _HANDING_OVER):
        return b""
    return seccomp_bpf.assemble(_no_listener()) + bytes(told)


def _no_listener() -> seccomp_bpf.Code:
    """Return the code that refuses seccomp(2) with SECCOMP_FILTER_FLAG_NEW_LISTENER, and goes on behind itself otherwise."""
    flags = seccomp_bpf.ARGUMENTS + 8  # the kernel takes 32 bits of them
    return [
        (seccomp_bpf.LOAD, 0, 0, seccomp_bpf.NUMBER),
        (seccomp_bpf.EQUAL, 0, 4, _SECCOMP),
        (seccomp_bpf.LOAD, 0, 0, flags),
        (seccomp_bpf.AND, 0, 0, syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER),
        (seccomp_bpf.EQUAL, 0, 1, syscalls.SECCOMP_FILTER_FLAG_NEW_LISTENER),
        *seccomp_bpf.give(_ERRNO | errno.EBUSY),
    ]


def _always_allowed(program: bytes, number: int) -> bool:
    """Tell whether this call of this machine's own ABI is allowed whatever its arguments are."""
    at = value = 0
    while True:
        code, yes, no, operand = _INSTRUCTION.unpack_from(program, at * _INSTRUCTION.size)
        at += 1
        if code == seccomp_bpf.RETURN:
            return bool(operand == _ALLOW)
        if code == seccomp_bpf.LOAD and operand in (seccomp_bpf.NUMBER, seccomp_bpf.ARCHITECTURE):
            value = number if operand == seccomp_bpf.NUMBER else _AUDIT
        elif code == seccomp_bpf.JUMP:
            at += operand
        elif code == seccomp_bpf.EQUAL:
            at += yes if value == operand else no
        elif code == seccomp_bpf.GREATER:
            at += yes if value > operand else no
        elif code == seccomp_bpf.AT_LEAST:
            at += yes if value >= operand else no
        else:  # it looks at an argument
            return False


def gone(listener: int) -> bool:
    """Tell whether no process has the filter any more."""
    event = _events(listener)
    return bool(event & select.POLLHUP and not event & select.POLLIN)


def _events(listener: int) -> int:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return next((event for _, event in poll.poll(0)), 0)


def refuse_next(listener: int) -> int:
    """Answer the call that waits with EPERM; returns its number, or -1 when none waits any more."""
    if not _events(listener) & select.POLLIN:  # the kernel would wait for one
        return -1
    notification = bytearray(_NOTIFICATION_BYTES)
    try:
        fcntl.ioctl(listener, _RECEIVE, notification)
    except OSError:  # ENOENT: a signal interrupted it, or killed it
        return -1
    identity, _pid, _flags, number = _HEAD.unpack_from(notification)
    while True:  # a call that was received is told once only: it must be answered, also when a signal comes to us meanwhile
        try:
            fcntl.ioctl(listener, _ANSWER, bytearray(_RESPONSE.pack(identity, 0, -errno.EPERM, 0)))
        except InterruptedError:
            continue
        except OSError:
            return -1
        return int(number)
