"""This run of the machine, told from every other: pids and times of an earlier one mean nothing now. Standard library only."""

from __future__ import annotations

from functools import cache

_PATH = "/proc/sys/kernel/random/boot_id"


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot, or an empty text where it cannot be read; it never changes while a process lives."""
    try:
        with open(_PATH, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
