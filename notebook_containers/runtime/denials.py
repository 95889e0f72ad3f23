"""The system calls that the seccomp filter refuses a container: each is told to the monitor, answered with EPERM and remembered.

The first process and all that it starts are told of; what ``exec`` brings into the container has the same filter without a listener.
"""

from __future__ import annotations

import os
import time

from notebook_containers.linux import seccomp_notify
from notebook_containers.runtime.document import Table
from notebook_containers.runtime.loop import READ, Loop

_KEPT = 32
_FREE = 10_000  # after so many in one life a container gets them more slowly: they are answered at its monitor's expense
_AT_ONCE, _PAUSE_S = 250, 0.1


class Denials:
    """What was refused in one life of the container; nothing happens, and nothing wakes, while nothing is refused."""

    __slots__ = ("_answered", "_at", "_due", "_fd", "_loop", "_numbers")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._fd, self._answered, self._at, self._due = -1, 0, 0.0, 0.0
        self._numbers: dict[int, None] = {}  # the latest one last

    def listen(self, fd: int) -> None:
        """Answer what comes from this listener, which is closed by :meth:`end`."""
        self._fd = fd
        self._loop.watch(fd, READ, self._hear)

    def _hear(self, fd: int) -> None:
        if seccomp_notify.gone(fd):
            self._close()
            return
        number = seccomp_notify.refuse_next(fd)
        if number < 0:
            return
        self._at = time.time()
        self._numbers.pop(number, None)
        self._numbers[number] = None
        if len(self._numbers) > _KEPT:
            del self._numbers[next(iter(self._numbers))]
        self._answered += 1
        if self._answered > _FREE and self._answered % _AT_ONCE == 0:
            self._loop.change(fd, 0)
            self._due = time.monotonic() + _PAUSE_S

    def due(self) -> float:
        """Return when to :meth:`go_on` on the monotonic clock, 0.0 for not at all."""
        return self._due

    def go_on(self) -> None:
        """Answer again."""
        self._due = 0.0
        if self._fd >= 0:
            self._loop.change(self._fd, READ)

    def end(self) -> Table:
        """Listen no more; returns the names of what was refused in this life, the latest first, and when the latest was."""
        self._close()
        found: Table = {"refused": _names([*reversed(self._numbers)]), "refusedAt": self._at}
        self._numbers, self._answered, self._at = {}, 0, 0.0
        return found

    def _close(self) -> None:
        self._due = 0.0
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1


def _names(numbers: list[int]) -> list[object]:
    if not numbers:
        return []
    from notebook_containers.linux import seccomp_numbers

    return [seccomp_numbers.name_of(number) for number in numbers]
