"""Numbers and words of the two cgroup versions, and of the messages about them; pure."""

from __future__ import annotations

import math

UNLIMITED_V1 = 1 << 62  # version 1 shows "no limit" as the largest page-aligned number below 2**63


def weight_from_shares(shares: int) -> int:
    """Return the cpu.weight (1 to 10000) of CPU ``shares`` (2 to 262144): both ends and the defaults 1024 and 100 meet.

    The curve that runc 1.3 and crun 1.24 use: 10 to a quadratic function of log2(shares). The older straight line made 39 of 1024,
    less than what a group without shares gets.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """Return the io.weight (1 to 10000) of a version 1 blkio weight (10 to 1000)."""
    return 1 + (weight - 10) * 9999 // 990


def words(size: int) -> str:
    """Return a number of bytes as people write limits: ``64m``, ``1g``, ``1000`` when it is no round number."""
    for unit, letter in ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")):
        if size and size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def limit_text(number: int) -> str:
    """Return a limit as version 2 and pids write it: 0 or less is ``max``."""
    return str(number) if number > 0 else "max"
