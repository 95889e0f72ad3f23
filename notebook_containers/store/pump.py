"""Hashing, writing and packing beside parsing: threads that take or make byte pieces, in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from notebook_containers.store.tar_reader import Readable

_DEPTH = 8  # pieces of 1 MiB
_POLL_S = 0.1
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


class Written:
    """What ``work`` writes in a thread of its own, as a stream; for a ``with`` block, at whose end the work is over or given up.

    Its exception is raised by ``read``.
    """

    def __init__(self, work: Callable[[Callable[[bytes], object]], object]) -> None:
        self._work = work
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_DEPTH)
        self._left, self._whole, self._given_up = b"", False, threading.Event()
        self._thread = threading.Thread(target=self._run, name="nbc-write", daemon=True)

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, nothing at the end."""
        if not self._left and not self._whole:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            self._left, self._whole = item or b"", item is None
        found, self._left = self._left[:size], self._left[size:]
        return found

    def _run(self) -> None:
        try:
            self._work(lambda piece: self._put(piece) if piece else None)
            self._put(None)
        except _GivenUp:
            pass
        except BaseException as err:  # raised again by who reads
            with suppress(_GivenUp):
                self._put(err)

    def _put(self, item: bytes | BaseException | None) -> None:
        while not self._given_up.is_set():
            with suppress(queue.Full):
                return self._queue.put(item, timeout=_POLL_S)
        raise _GivenUp

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        self._thread.join()


class _GivenUp(Exception):
    """Nobody reads any more."""
