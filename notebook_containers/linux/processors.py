"""Which processors a process may run on, for a while: sched_setaffinity(2).

The kernel expects who wakes another process to sleep soon, and often puts the woken one on the waker's processor. When the waker goes on
working, the other waits there although a processor is idle. What works for a busy process is therefore kept off that one's processor.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from notebook_containers.linux import syscalls

_MOST = 1024


def current() -> int:
    """Return the number of the processor that the calling thread runs on (sched_getcpu(3))."""
    return syscalls.sched_getcpu()


class Processors:
    """Those that this process may use when this object is made; :meth:`give_back` restores just that, for itself and its children.

    Who may use all of the machine's may again use all, also one that is switched on later. Processes that are gone are passed over.
    """

    __slots__ = ("_allowed", "_every")

    def __init__(self) -> None:
        self._allowed = frozenset(os.sched_getaffinity(0))
        self._every = len(self._allowed) == os.cpu_count() and max(self._allowed) < _MOST

    def leave(self, number: int, pids: Sequence[int]) -> None:
        """Keep ``pids`` (0: this process) off one processor; nothing happens when they have no other."""
        if rest := self._allowed - {number}:
            self._set(rest, pids)

    def give_back(self, pids: Sequence[int]) -> None:
        """Let ``pids`` run wherever this process could."""
        self._set(range(_MOST) if self._every else self._allowed, pids)

    def _set(self, numbers: frozenset[int] | range, pids: Sequence[int]) -> None:
        for pid in pids:
            with suppress(OSError):
                os.sched_setaffinity(pid, numbers)
