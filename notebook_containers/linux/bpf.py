"""Extended BPF: a small assembler, and bpf(2) to load a program and to attach it to a cgroup (kernel: include/uapi/linux/bpf.h).

Registers are their numbers; every jump is forward, counted in instructions from the next one, as the kernel counts.
"""

from __future__ import annotations

import ctypes
import os

from notebook_containers.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INSTRUCTION_BYTES = 8
CGROUP_DEVICE_PROGRAM = 15  # enum bpf_prog_type
CGROUP_DEVICE_HOOK = 6  # enum bpf_attach_type

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_ALLOW_MULTI = 2  # groups below may add programs of their own; all must say yes
_MOST_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS

_LOAD_WORD, _MOVE, _COPY, _AND, _SHIFT_RIGHT = 0x61, 0xB7, 0xBF, 0x57, 0x77
_JUMP, _JUMP_EQUAL, _JUMP_UNEQUAL, _JUMP_BITS, _EXIT = 0x05, 0x15, 0x55, 0x45, 0x95


def _encode(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """Return one ``struct bpf_insn`` in this machine's byte order (every supported one is little-endian)."""
    head = bytes((code, source << 4 | target))
    return head + offset.to_bytes(2, "little", signed=True) + value.to_bytes(4, "little", signed=True)


def load_word(target: int, base: int, offset: int) -> bytes:
    """``target`` = the 32-bit word at ``base`` + ``offset``."""
    return _encode(_LOAD_WORD, target, base, offset)


def move(target: int, value: int) -> bytes:
    """``target`` = ``value``."""
    return _encode(_MOVE, target, value=value)


def copy(target: int, source: int) -> bytes:
    """``target`` = the register ``source``."""
    return _encode(_COPY, target, source)


def mask(target: int, value: int) -> bytes:
    """``target`` &= ``value``."""
    return _encode(_AND, target, value=value)


def shift_right(target: int, bits: int) -> bytes:
    """``target`` >>= ``bits``."""
    return _encode(_SHIFT_RIGHT, target, value=bits)


def jump(offset: int) -> bytes:
    """Skip ``offset`` instructions."""
    return _encode(_JUMP, offset=offset)


def jump_equal(register: int, value: int, offset: int) -> bytes:
    """Skip ``offset`` instructions when ``register`` == ``value``."""
    return _encode(_JUMP_EQUAL, register, offset=offset, value=value)


def jump_unequal(register: int, value: int, offset: int) -> bytes:
    """Skip ``offset`` instructions when ``register`` != ``value``."""
    return _encode(_JUMP_UNEQUAL, register, offset=offset, value=value)


def jump_bits(register: int, bits: int, offset: int) -> bytes:
    """Skip ``offset`` instructions when ``register`` has any of ``bits``."""
    return _encode(_JUMP_BITS, register, offset=offset, value=bits)


def leave(value: int) -> bytes:
    """Two instructions: end the program with ``value`` as its answer."""
    return move(0, value) + _encode(_EXIT)


def load(program: bytes, kind: int) -> int:
    """Return a descriptor of the program, which the kernel has checked; OSError for one that it refuses, or without the right to load."""
    code, license_ = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"BSD")
    attributes = (ctypes.c_uint64 * 6)(
        _pair(kind, len(program) // INSTRUCTION_BYTES), ctypes.addressof(code), ctypes.addressof(license_), 0, 0, 0
    )
    descriptor = _call(_PROG_LOAD, attributes)
    os.set_inheritable(descriptor, False)
    return descriptor


def attach(group: int, program: int, hook: int) -> None:
    """Attach a loaded program to the cgroup behind the descriptor ``group``, beside those that are there; it lives as long as the group."""
    _call(_PROG_ATTACH, (ctypes.c_uint64 * 3)(_pair(group, program), _pair(hook, _ALLOW_MULTI), 0))


def detach(group: int, program: int, hook: int) -> None:
    """Take a program away from a cgroup."""
    _call(_PROG_DETACH, (ctypes.c_uint64 * 3)(_pair(group, program), _pair(hook, 0), 0))


def attached(group: int, hook: int) -> list[int]:
    """Return the ids of the programs attached to this cgroup itself."""
    ids = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    attributes = (ctypes.c_uint64 * 4)(_pair(group, hook), 0, ctypes.addressof(ids), _MOST_PROGRAMS)
    _call(_PROG_QUERY, attributes)
    return list(ids[: attributes[3] & 0xFFFFFFFF])


def detach_ids(group: int, ids: Iterable[int], hook: int) -> None:
    """Take the programs with these ids away from a cgroup."""
    for number in ids:
        program = _call(_PROG_GET_FD_BY_ID, (ctypes.c_uint64 * 2)(number, 0))
        try:
            detach(group, program, hook)
        finally:
            os.close(program)


def _pair(low: int, high: int) -> int:
    """Return two 32-bit members that follow each other as one 64-bit word."""
    return low | high << 32


def _call(command: int, attributes: ctypes.Array[ctypes.c_uint64]) -> int:
    """Make the call bpf(2) with ``union bpf_attr``."""
    return syscalls.syscall("bpf", command, attributes, ctypes.sizeof(attributes))
