"""Classic BPF for seccomp: instructions, a search tree over call numbers, and comparisons of 64-bit arguments; pure.

Code is a list of instructions ``(code, jt, jf, k)``. Only such are used as the kernel can emulate (seccomp_is_const_allow, Linux 5.11):
then calls that are always allowed cost one bit test and never run the program.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Instruction = tuple[int, int, int, int]
    Code = list[Instruction]

LOAD, JUMP, EQUAL, GREATER, AT_LEAST, AND, RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06

NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; both machines here are little-endian
_MAX_INSTRUCTIONS = 4096
_MAX_OFFSET = 255  # conditional jumps count in a byte
_LOW = 0xFFFFFFFF


def assemble(code: Code) -> bytes:
    """Return the array of struct sock_filter; ValueError when the kernel would refuse its length."""
    if len(code) > _MAX_INSTRUCTIONS:
        raise ValueError(f"the seccomp program has {len(code)} instructions, the kernel takes {_MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def give(action: int) -> Code:
    """Return the code that ends with ``action`` (a SECCOMP_RET value with its data)."""
    return [(RETURN, 0, 0, action)]


def check_architecture(audit: int, otherwise: int) -> Code:
    """Return the start of a program: other architectures than ``audit`` end with ``otherwise``, then the number is loaded."""
    return [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, audit), (RETURN, 0, 0, otherwise), (LOAD, 0, 0, NUMBER)]


def search(leaves: Sequence[tuple[int, Code]]) -> Code:
    """Return the code that runs the leaf with the greatest start at or below the loaded number; leaves are sorted, the first is at 0."""
    if len(leaves) == 1:
        return leaves[0][1]
    middle = len(leaves) // 2
    low, high = search(leaves[:middle]), search(leaves[middle:])
    start = leaves[middle][0]
    if len(low) <= _MAX_OFFSET:
        return [(AT_LEAST, len(low), 0, start), *low, *high]
    return [(AT_LEAST, 0, 1, start), (JUMP, 0, 0, len(low)), *low, *high]


def when(tests: Sequence[Code], action: int) -> Code:
    """Return the code that ends with ``action`` when all ``tests`` pass, and goes on behind itself otherwise.

    A test is code whose jumps to its own end mean "pass" and whose jumps one further mean "fail".
    """
    code = give(action)
    for test in reversed(tests):
        # Between a passed test and the next part stands the jump that a failed test takes.
        code = [*test, (JUMP, 0, 0, 1), (JUMP, 0, 0, len(code)), *code]
    return code


def compare(index: int, operation: str, value: int, value_two: int, *, narrow: bool) -> Code:
    """Return the test of one argument; ``narrow`` looks at the low 32 bits only, as the kernel does with an ``int``.

    ``operation`` is the OCI name without its prefix; ValueError for one that does not exist.
    """
    mask = _LOW if narrow else (_LOW << 32) | _LOW
    if operation == "MASKED_EQ":
        return _equal(index, value & mask, value_two & mask, narrow=narrow)
    if operation in ("EQ", "NE"):
        code = _equal(index, mask, value & mask, narrow=narrow)
    elif operation in ("GT", "LE"):
        code = _order(index, GREATER, value & mask, narrow=narrow)
    elif operation in ("GE", "LT"):
        code = _order(index, AT_LEAST, value & mask, narrow=narrow)
    else:
        raise ValueError(f"unknown comparison in the seccomp profile: SCMP_CMP_{operation}")
    return _negated(code) if operation in ("NE", "LE", "LT") else code


def _halves(index: int, value: int, *, narrow: bool) -> list[tuple[int, int]]:
    """Return (offset, value) of the halves of an argument that are looked at, the high one first."""
    offset = ARGUMENTS + 8 * index
    return [(offset, value & _LOW)] if narrow else [(offset + 4, value >> 32), (offset, value & _LOW)]


def _equal(index: int, mask: int, value: int, *, narrow: bool) -> Code:
    """Return the test ``argument & mask == value``."""
    code: Code = []
    for (offset, wanted), (_, part) in zip(_halves(index, value, narrow=narrow), _halves(index, mask, narrow=narrow), strict=True):
        code.append((LOAD, 0, 0, offset))
        if part != _LOW:
            code.append((AND, 0, 0, part))
        code.append((EQUAL, 0, -1, wanted))
    return _resolved(code)


def _order(index: int, last: int, value: int, *, narrow: bool) -> Code:
    """Return the test ``argument > value`` or ``>=``; ``last`` is the comparison of the low half."""
    code: Code = []
    for offset, part in _halves(index, value, narrow=narrow)[:-1]:
        code += [(LOAD, 0, 0, offset), (GREATER, -2, 0, part), (EQUAL, 0, -1, part)]
    offset, part = _halves(index, value, narrow=narrow)[-1]
    code += [(LOAD, 0, 0, offset), (last, 0, -1, part)]
    return _resolved(code)


def _resolved(code: Code) -> Code:
    """Replace the offsets -2 ("pass") and -1 ("fail") by the distance to the end and one beyond."""

    def offset(value: int, position: int) -> int:
        return value if value >= 0 else len(code) - position - 1 + (value == -1)

    return [(op, offset(jt, position), offset(jf, position), k) for position, (op, jt, jf, k) in enumerate(code)]


def _negated(code: Code) -> Code:
    """Return the test that passes when ``code`` fails."""
    return [*code, (JUMP, 0, 0, 2), (JUMP, 0, 0, 0)]
