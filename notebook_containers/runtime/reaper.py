"""``--init``: the container's first process when the command is not to be it; reaps what is orphaned and passes signals on.

Python must not stay inside the container: its memory holds the host's libraries, and a late import would read the container's files
(CVE-2019-5736, CVE-2019-14271). So the process that would have become the command forks, and becomes this program instead: 143 bytes of
x86-64 code (172 of arm64) in an ELF file made in memory, sealed, and executed from there. It has no library, no open file, no heap, one
page of code and one of stack, and the container's own user, capabilities and seccomp filter: who traces it or reads its memory gains
nothing over the command itself. What /proc/1/exe leads to can be written by nobody, and exists only in memory.

The code in C, with the pid of the command in argv[1] and every signal blocked by who executes it::

    for (;;) {
        int sig = sigtimedwait(all, NULL, NULL);
        if (sig <= 0) continue;
        if (sig != SIGCHLD) { kill(child, sig); continue; }
        while ((pid = wait4(-1, &status, WNOHANG, NULL)) > 0)
            if (pid == child) exit_group(status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
    }

The tests run it on this machine's processor and, instruction by instruction, on an emulated one of either kind.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct

from notebook_containers.errors import Unsupported
from notebook_containers.linux import syscalls

_X86_64 = bytes.fromhex(
    "488b742410"  #       mov   rsi, [rsp+16]        argv[1]
    "4531e4"  #           xor   r12d, r12d           child = 0
    "0fb606"  #    digit: movzx eax, byte [rsi]
    "84c0"  #             test  al, al
    "740e"  #             jz    start
    "456be40a"  #         imul  r12d, r12d, 10
    "458d6404d0"  #       lea   r12d, [r12+rax-48]
    "48ffc6"  #           inc   rsi
    "ebeb"  #             jmp   digit
    "6a00"  #      start: push  0                    [rsp+8]: status
    "6aff"  #             push  -1                   [rsp]: the set of all signals
    "4889e7"  #    wait:  mov   rdi, rsp
    "31f6"  #             xor   esi, esi
    "31d2"  #             xor   edx, edx
    "41ba08000000"  #     mov   r10d, 8
    "b880000000"  #       mov   eax, 128             rt_sigtimedwait(set, NULL, NULL, 8)
    "0f05"  #             syscall
    "83f800"  #           cmp   eax, 0
    "7ee7"  #             jle   wait
    "83f811"  #           cmp   eax, 17              SIGCHLD
    "740e"  #             je    reap
    "89c6"  #             mov   esi, eax
    "4489e7"  #           mov   edi, r12d
    "b83e000000"  #       mov   eax, 62              kill(child, sig)
    "0f05"  #             syscall
    "ebd4"  #             jmp   wait
    "bfffffffff"  # reap: mov   edi, -1
    "488d742408"  #       lea   rsi, [rsp+8]
    "ba01000000"  #       mov   edx, 1               WNOHANG
    "4531d2"  #           xor   r10d, r10d
    "b83d000000"  #       mov   eax, 61              wait4(-1, &status, WNOHANG, NULL)
    "0f05"  #             syscall
    "83f800"  #           cmp   eax, 0
    "7eb6"  #             jle   wait
    "4439e0"  #           cmp   eax, r12d
    "75dd"  #             jne   reap
    "8b7c2408"  #         mov   edi, [rsp+8]
    "89f8"  #             mov   eax, edi
    "83e07f"  #           and   eax, 0x7f
    "7408"  #             jz    exited
    "8db880000000"  #     lea   edi, [rax+128]
    "eb05"  #             jmp   exit
    "0fb67c2409"  # exited: movzx edi, byte [rsp+9]
    "b8e7000000"  # exit: mov   eax, 231             exit_group(edi)
    "0f05"  #             syscall
)
_ARM64 = bytes.fromhex(
    "e10b40f9"  #        ldr  x1, [sp, #16]         argv[1]
    "13008052"  #        mov  w19, #0               child = 0
    "43018052"  #        mov  w3, #10
    "20144038"  # digit: ldrb w0, [x1], #1
    "80000034"  #        cbz  w0, start
    "00c00051"  #        sub  w0, w0, #48
    "7302031b"  #        madd w19, w19, w3, w0
    "fcffff17"  #        b    digit
    "00008092"  # start: mov  x0, #-1
    "e07fbfa9"  #        stp  x0, xzr, [sp, #-16]!  [sp]: the set of all signals, [sp+8]: status
    "e0030091"  # wait:  mov  x0, sp
    "010080d2"  #        mov  x1, #0
    "020080d2"  #        mov  x2, #0
    "030180d2"  #        mov  x3, #8
    "281180d2"  #        mov  x8, #137              rt_sigtimedwait(set, NULL, NULL, 8)
    "010000d4"  #        svc  #0
    "1f000071"  #        cmp  w0, #0
    "2dffff54"  #        b.le wait
    "1f440071"  #        cmp  w0, #17               SIGCHLD
    "c0000054"  #        b.eq reap
    "e103002a"  #        mov  w1, w0
    "e003132a"  #        mov  w0, w19
    "281080d2"  #        mov  x8, #129              kill(child, sig)
    "010000d4"  #        svc  #0
    "f2ffff17"  #        b    wait
    "00008012"  # reap:  mov  w0, #-1
    "e1230091"  #        add  x1, sp, #8
    "220080d2"  #        mov  x2, #1                WNOHANG
    "030080d2"  #        mov  x3, #0
    "882080d2"  #        mov  x8, #260              wait4(-1, &status, WNOHANG, NULL)
    "010000d4"  #        svc  #0
    "1f000071"  #        cmp  w0, #0
    "4dfdff54"  #        b.le wait
    "1f00136b"  #        cmp  w0, w19
    "e1feff54"  #        b.ne reap
    "e00b40b9"  #        ldr  w0, [sp, #8]
    "01180072"  #        ands w1, w0, #0x7f
    "60000054"  #        b.eq exited
    "20000211"  #        add  w0, w1, #128
    "02000014"  #        b    exit
    "003c0853"  # exited: ubfx w0, w0, #8, #8
    "c80b80d2"  # exit:  mov  x8, #94               exit_group(w0)
    "010000d4"  #        svc  #0
)
_MACHINES = {"x86_64": (62, _X86_64), "aarch64": (183, _ARM64)}  # ELF's number of the machine, its code
_BASE, _HEADERS = 0x400000, 64 + 2 * 56
_MFD_EXEC = 0x10


def code(machine: str) -> bytes:
    """Return the instructions for a machine as os.uname() names it; Unsupported for one that has none."""
    if machine not in _MACHINES:
        raise Unsupported(f"--init is not available on {machine}", hint="leave it out, or put an init such as tini into the image")
    return _MACHINES[machine][1]


def program(machine: str) -> bytes:
    """Return the ELF file: one segment that is readable and executable, and a stack that is not executable (elf(5))."""
    text = code(machine)
    size = _HEADERS + len(text)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, _MACHINES[machine][0], 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return header + load + stack + text


def open_program() -> int:
    """Return a sealed file in memory with the program, closed on execve; Unsupported when the kernel executes no such files."""
    data = program(os.uname().machine)
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        try:
            fd = os.memfd_create("nbc-init", flags | _MFD_EXEC)
        except OSError:
            fd = os.memfd_create("nbc-init", flags)  # before Linux 6.3, where all of them can be executed
    except OSError as err:
        raise Unsupported(
            f"--init is not available: {err.strerror}", hint="an administrator can allow it: sysctl vm.memfd_noexec=1"
        ) from err
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def become(fd: int, child: int) -> None:
    """Replace this process by the program in ``fd``, which watches over its child ``child``; never returns, OSError when it cannot be."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # in a pid namespace that is not its own, orphans come to it all the same
    os.close(0)
    os.close(1)
    os.close(2)
    os.execve(fd, ["init", str(child)], {})  # noqa: S606 this is the point of it all


def block_signals() -> None:
    """Block every signal with its default action, so that none is lost before the program asks for them."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
