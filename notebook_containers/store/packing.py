"""Compressing layers for a registry: the same bytes each time on the same machine.

gzip is written by ISA-L where the ``isal`` package can be imported (at seven times zlib's speed, a tenth larger), else by zlib. ISA-L's
output may differ between processors and versions: a compressed blob's digest says nothing about another machine's, its diff_id does.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

_MEMBER_BYTES = 1 << 20  # what a processor keeps beside it
_ZSTD_LEVEL = 3
LEVELS = {"gzip": range(10), "zstd": range(1, 23)}
"""The levels that each compression has."""
_WITH_GZIP_HEADER = 31  # zlib's word for it


class Compressor(Protocol):
    """What is used of ``zlib.compressobj``."""

    def compress(self, data: bytes, /) -> bytes:
        """Take the next bytes, return what is ready of the output."""

    def flush(self) -> bytes:
        """Return the rest; the end of the stream."""


def compressor(kind: str, level: int | None = None) -> Compressor:
    """Return a compressor of ``zstd`` or nothing at all (an empty text); one stream each."""
    if kind == "zstd":
        from backports import zstd

        return zstd.ZstdCompressor(level=_ZSTD_LEVEL if level is None else level)
    return _Plain()


def packed(pieces: Iterable[bytes], kind: str, level: int | None = None) -> Generator[bytes, None, None]:
    """Yield the pieces compressed, as ``gzip``, ``zstd`` or not at all (an empty text).

    ``level`` is zlib's (0 to 9) or zstd's (1 to 22); without one it is the quickest that is worth it. gzip is written as members of 1 MiB
    each (RFC 1952 section 2.2: one after the other they are one stream), several at once: the same bytes on any number of processors.
    """
    if kind == "gzip":
        yield from _side_by_side(_blocks(pieces), _gzip_member(level))
        return
    packer = compressor(kind, level)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _gzip_member(level: int | None) -> Callable[[bytes], bytes]:
    """Return what makes a whole member of some bytes, in one call."""
    if level is not None:  # ISA-L's levels are others
        return lambda data: zlib.compress(data, level, _WITH_GZIP_HEADER)
    try:
        from isal import isal_zlib
    except ImportError:
        return lambda data: zlib.compress(data, 5, _WITH_GZIP_HEADER)
    return lambda data: isal_zlib.compress(data, 1, _WITH_GZIP_HEADER)


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces' bytes in blocks of one size, the last one shorter; one that is empty for no bytes."""
    held, size, some = list[bytes](), 0, False
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        while size >= _MEMBER_BYTES:
            data = b"".join(held)
            yield data[:_MEMBER_BYTES]
            held, size, some = [data[_MEMBER_BYTES:]], size - _MEMBER_BYTES, True
    if size or not some:
        yield b"".join(held)


def _side_by_side(blocks: Iterator[bytes], work: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Yield what ``work`` makes of each block, in order, as many at once as there are processors."""
    most = os.cpu_count() or 1
    with ThreadPoolExecutor(most, thread_name_prefix="nbc-pack") as pool:
        waiting: deque[Future[bytes]] = deque()
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) > 2 * most:  # none of them waits for the one who takes what is ready
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""
