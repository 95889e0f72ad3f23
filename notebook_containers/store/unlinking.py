"""Unlinking in the background: one thread of a store that takes trees out of the trash, so that nobody waits for the disk.

It begins a moment late: whoever retires a tree has most often something else to end at once, and this thread would share its processor.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

_PAUSE_S = 0.02


class Unlinking:
    """A queue of trees and the thread that unlinks them, started with the first and ended with this object or the process. Thread-safe.

    The process waits at its end for what is queued.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Path | threading.Event | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, trees: list[Path], unlink: Callable[[Path], None]) -> bool:
        """Queue trees for ``unlink``; False when no thread is to be had."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=_work, args=(self._queue, unlink, self._hurry), name="nbc-unlink", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
                weakref.finalize(self, _end, self._queue, thread, self._hurry)  # at the end of the process too
        for tree in trees:
            self._queue.put(tree)
        return True

    def settle(self) -> None:
        """Wait until everything queued so far is unlinked."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put(done)
            self._hurry.set()
            done.wait()
            self._hurry.clear()


def _work(waiting: queue.SimpleQueue[Path | threading.Event | None], unlink: Callable[[Path], None], hurry: threading.Event) -> None:
    idle = True
    while (item := waiting.get()) is not None:
        if isinstance(item, threading.Event):
            item.set()
        else:
            if idle:
                hurry.wait(_PAUSE_S)
            unlink(item)
        idle = waiting.empty()


def _end(waiting: queue.SimpleQueue[Path | threading.Event | None], thread: threading.Thread, hurry: threading.Event) -> None:
    waiting.put(None)
    hurry.set()
    thread.join()
