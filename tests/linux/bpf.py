"""A second opinion: run a seccomp program as the kernel would, one instruction at a time, written without looking at the compiler."""

from __future__ import annotations

import struct
from dataclasses import dataclass

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, TRACE, LOG, ALLOW = 0x80000000, 0, 0x30000, 0x50000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the program returned, and after how many instructions."""

    action: int
    steps: int


def call(number: int, *args: int, arch: int = X86_64) -> bytes:
    """Return struct seccomp_data of a call; arguments may be negative."""
    padded = [value & 0xFFFFFFFFFFFFFFFF for value in (*args, 0, 0, 0, 0, 0, 0)][:6]
    return struct.pack("<IIQ6Q", number & _MASK, arch, 0x7F0000001234, *padded)


def run(program: bytes, data: bytes) -> Verdict:
    """Run ``program`` over one call; any instruction that seccomp's checker refuses is an AssertionError."""
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator, position, steps = 0, 0, 0
    while True:
        operation, jump_true, jump_false, k = code[position]
        position, steps = position + 1, steps + 1
        if operation == 0x20:  # ld [k]: aligned words inside seccomp_data only
            assert k % 4 == 0, f"unaligned load {k}"
            assert k + 4 <= len(data), f"load beyond the end {k}"
            accumulator = struct.unpack_from("<I", data, k)[0]
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x05:
            position += k
        elif operation in (0x15, 0x25, 0x35, 0x45):
            holds = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: accumulator & k != 0}[operation]
            position += jump_true if holds else jump_false
        elif operation == 0x06:
            return Verdict(action=k, steps=steps)
        else:
            raise AssertionError(f"instruction {operation:#x} at {position - 1}")
        assert position < len(code), f"jump beyond the end from {position - 1}"


def decide(program: bytes, number: int, *args: int, arch: int = X86_64) -> int:
    """Return the action of a call."""
    return run(program, call(number, *args, arch=arch)).action
