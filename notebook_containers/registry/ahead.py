"""Making the next pieces while the last ones are being sent."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing

_DEPTH = 4


class Arriving:
    """Pieces as a stream to read from; ``at_end`` is called when the last one has been read and there is no more."""

    def __init__(self, pieces: Generator[bytes, None, None], *, at_end: Callable[[], object]) -> None:
        self._pieces, self._at_end, self._left, self._ended = pieces, at_end, b"", False

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, nothing at the end."""
        if not self._left and not self._ended:
            self._left = next(self._pieces, b"")
            self._ended = not self._left
            if self._ended:
                self._at_end()
        if len(self._left) <= size:
            found, self._left = self._left, b""
        else:
            found, self._left = self._left[:size], self._left[size:]
        return found

    def close(self) -> None:
        """End whoever makes the pieces."""
        self._pieces.close()


def ahead(pieces: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """Yield the pieces in order, made by a thread of their own, at most four ahead; its failure is raised here.

    When the consumer stops early, the thread ends at its next piece.
    """
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(_DEPTH)
    stop = threading.Event()

    def put(item: bytes | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            with closing(pieces):
                for piece in pieces:
                    if piece and not put(piece):
                        return
            put(None)
        except BaseException as err:  # raised again by the consumer
            put(err)

    thread = threading.Thread(target=make, name="nbc-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
