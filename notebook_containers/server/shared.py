"""One engine for all requests of a Jupyter server, called from worker threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from notebook_containers import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# A stop waits up to its grace time in its thread; lists must go on being answered next to a few of those.
WORKERS = 8


class SharedEngine:
    """Opens the engine on the first call and runs calls in threads, so that the server's event loop never waits for one.

    An engine that could not be opened (an unwritable root) is tried again at the next call: the person may have mended it.
    """

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="notebook-containers")

    async def call(self, work: Callable[[Engine], T]) -> T:
        """Return ``work(engine)``, done in a worker thread; whatever it raises is raised here."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(self._open()))

    def close(self) -> None:
        """End the threads, then the engine; containers go on running. Idempotent."""
        self._threads.shutdown(wait=True)
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine()
            return self._engine
