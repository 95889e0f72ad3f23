"""Hashing and writing beside parsing: a thread that takes byte pieces, in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from notebook_containers.store.tar_reader import Readable

_DEPTH = 8  # pieces of 1 MiB
_PIECE = 1 << 20


class Pump:
    """Calls ``sink`` with each piece in a thread of its own; hashing and writing release the interpreter's lock.

    An exception of the sink is raised by the next ``put`` or at the end of the ``with`` block. When the block itself fails, what is
    queued is dropped.
    """

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._queue: queue.Queue[bytes | None] = queue.Queue(_DEPTH)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="nbc-hash", daemon=True)

    def put(self, piece: bytes) -> None:
        """Hand over a piece; waits while eight are queued."""
        if self._failure is not None:
            raise self._failure
        if piece:
            self._queue.put(piece)

    def finish(self) -> None:
        """Wait until everything is taken; nothing may be put afterwards. Idempotent; also the end of the ``with`` block."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    self._sink(piece)
                except BaseException as err:
                    self._failure = err

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and self._failure is None:
            self._failure = value
        if kind is not None and self._failure is None:
            self._failure = value  # what is queued is dropped
        with suppress(BaseException) if kind is not None else nullcontext():
            self.finish()


class Tee:
    """A stream whose bytes also go to a pump as they are read."""

    def __init__(self, stream: Readable, pump: Pump) -> None:
        self._stream, self._pump = stream, pump

    def read(self, size: int, /) -> bytes:
        """Read, and hand the bytes on."""
        data = self._stream.read(size)
        self._pump.put(data)
        return data

    def finish(self) -> None:
        """Read what is left."""
        while self.read(_PIECE):
            pass
