"""Equal work is done once: a lock for each step's key, across threads and processes, held until the step's row can be seen by all."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

_POLL_S = 0.05


class StepLocks:
    """The locks that one stage holds. A lock is a flock on a file of the store's staging area; the kernel drops a dead holder's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, int] = {}

    def take(self, key: str, before_waiting: Callable[[], None], check: Callable[[], None]) -> bool:
        """Take the lock of a key and say whether somebody else had it before, so that the cache should be asked again.

        While it is taken nothing is held (``before_waiting`` publishes what is done and calls :meth:`release`), so no two can wait for
        each other. ``check`` is called while waiting and may raise.
        """
        if key in self._held:
            return False
        fd = os.open(self._directory / f"step-{key[:40]}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        waited = False
        try:
            while not _try(fd):
                if not waited:
                    before_waiting()
                waited = True
                check()
                time.sleep(_POLL_S)
        except BaseException:
            os.close(fd)
            raise
        self._held[key] = fd
        return waited

    def release(self) -> None:
        """Give all locks back."""
        while self._held:
            os.close(self._held.popitem()[1])


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
