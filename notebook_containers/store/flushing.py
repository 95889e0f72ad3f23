"""Writing to the disk beside the work: what is durable at the end was mostly written while the rest was still being made."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from notebook_containers.linux import syscalls
from notebook_containers.store.disk import store_error

_STEP_BYTES = 32 << 20


class Flushing:
    """Has the file system of ``directory`` write out what it holds each time 32 MiB more were written, in a thread of its own.

    It makes nothing durable: who needs that syncs afterwards, and waits for the last part only. The kernel tells each write error once:
    one that came here is raised at the end of the ``with`` block, as StoreError or DiskFull (syncfs(2)).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bytes = 0
        self._wanted, self._ended = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    def after(self, take: Callable[[bytes], object]) -> Callable[[bytes], None]:
        """Return ``take``, with the bytes counted that it was given."""

        def both(piece: bytes) -> None:
            take(piece)
            self._count(len(piece))

        return both

    def _count(self, count: int) -> None:
        self._bytes += count
        if self._bytes < _STEP_BYTES:
            return
        self._bytes = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nbc-flush", daemon=True)
            self._thread.start()
        self._wanted.set()

    def _run(self) -> None:
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                while self._wanted.wait() and not self._ended:
                    self._wanted.clear()
                    syscalls.syncfs(fd)
            finally:
                os.close(fd)
        except OSError as err:
            self._failure = err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._ended = True
        if self._thread is not None:
            self._wanted.set()
            self._thread.join()
        if self._failure is not None and kind is None:
            raise store_error(self._failure, self._directory) from self._failure
