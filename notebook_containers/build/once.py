"""Equal work is done once: a lock for each step's key, across threads and processes, held until the step's row can be seen by all."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

_POLL_S = 0.05
_FLOCK = "hhqqi4x"  # fcntl_locking(2): l_type, l_whence, l_start, l_len, l_pid


class StepLocks:
    """The locks that one stage holds: each is a byte, chosen by the key, of one file that is never removed.

    They belong to the open file (F_OFD_SETLK), so two stages of one process exclude each other, and the kernel drops a dead holder's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._held: set[str] = set()

    def take(self, key: str, before_waiting: Callable[[], None], check: Callable[[], None]) -> bool:
        """Take the lock of a key (hex digits) and say whether somebody else had it before, so that the cache should be asked again.

        While it is taken nothing is held (``before_waiting`` publishes what is done and calls :meth:`release`), so no two can wait for
        each other. ``check`` is called while waiting and may raise.
        """
        if key in self._held:
            return False
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        waited = False
        while not _lock(self._fd, key, fcntl.F_WRLCK):
            if not waited:
                before_waiting()
            waited = True
            check()
            time.sleep(_POLL_S)
        self._held.add(key)
        return waited

    def release(self) -> None:
        """Give all locks back."""
        while self._held:
            _lock(self._fd, self._held.pop(), fcntl.F_UNLCK)

    def close(self) -> None:
        """Give all locks back and close the file; may be called twice."""
        self._held.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _lock(fd: int, key: str, kind: int) -> bool:
    place = int(key[:15], 16)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0))
    except OSError as err:
        if err.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True
