"""Compressing layers for a registry: the same bytes each time on the same machine.

gzip is written by ISA-L where the ``isal`` package can be imported (at seven times zlib's speed, a tenth larger), else by zlib. ISA-L's
output may differ between processors and versions: a compressed blob's digest says nothing about another machine's, its diff_id does.
"""

from __future__ import annotations

import zlib
from typing import Protocol

_ZSTD_LEVEL = 3


class Compressor(Protocol):
    """What is used of ``zlib.compressobj``."""

    def compress(self, data: bytes, /) -> bytes:
        """Take the next bytes, return what is ready of the output."""

    def flush(self) -> bytes:
        """Return the rest; the end of the stream."""


def compressor(kind: str) -> Compressor:
    """Return a compressor of ``gzip``, ``zstd`` or nothing at all (an empty text); one stream each."""
    if kind == "gzip":
        try:
            from isal import isal_zlib
        except ImportError:
            return zlib.compressobj(5, zlib.DEFLATED, 31)
        found: Compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
        return found
    if kind == "zstd":
        from backports import zstd

        return zstd.ZstdCompressor(level=_ZSTD_LEVEL)
    return _Plain()


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""
