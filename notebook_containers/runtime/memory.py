"""When memory runs out in a container while it goes on: the kernel wakes the monitor, which then counts the killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from notebook_containers.runtime.limits import Limits
from notebook_containers.runtime.loop import READ, Loop

_LOOKS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class MemoryWatch:
    """Calls ``killed(count)`` when the kernel has killed something for want of memory; nothing happens, and nothing wakes, otherwise.

    Version 1 of the cgroups tells that memory ran out before it kills: so the count is looked at again for a moment.
    """

    __slots__ = ("_count", "_due", "_fd", "_killed", "_limits", "_looks", "_loop")

    def __init__(self, loop: Loop, limits: Limits, killed: Callable[[int], None]) -> None:
        self._loop, self._limits, self._killed = loop, limits, killed
        self._fd, self._count, self._due, self._looks = -1, 0, 0.0, 0

    def begin(self) -> None:
        """Watch the cgroup, when it has a memory limit. Idempotent."""
        if self._fd < 0 and (fd := self._limits.watch_memory()) >= 0:
            self._fd = fd
            self._loop.watch(fd, READ, self._hear)

    def _hear(self, fd: int) -> None:
        try:
            os.read(fd, 4096)
        except BlockingIOError:
            return
        self._looks = 0
        self.look()

    def due(self) -> float:
        """Return when to :meth:`look` again on the monotonic clock, 0.0 for not at all."""
        return self._due

    def look(self) -> None:
        """Read the count now."""
        self._due = 0.0
        before = self._count
        self.count(self._limits.oom_kills())
        if self._count == before and self._looks < len(_LOOKS_S):
            self._due = time.monotonic() + _LOOKS_S[self._looks]
            self._looks += 1

    def count(self, kills: int) -> None:
        """Account for a count that was read elsewhere."""
        if kills > self._count:
            self._count = kills
            self._killed(kills)

    def end(self) -> None:
        """Watch no more. Idempotent."""
        self._due = 0.0
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
