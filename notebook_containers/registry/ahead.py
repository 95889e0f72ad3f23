"""Making the next pieces while the last ones are being sent."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing

_DEPTH = 4


def ahead(pieces: Generator[bytes, None, None]) -> Iterator[bytes]:
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
