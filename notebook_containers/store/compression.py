"""Uncompressed views of layer blobs: tar, gzip and zstd are told apart by their first bytes, as everybody does."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from notebook_containers.errors import InvalidDocument

if TYPE_CHECKING:
    import zstandard

_CHUNK = 1 << 20
_MAX_WINDOW = 1 << 27


def uncompressed(blob: BinaryIO) -> BinaryIO:
    """Return a stream of the blob's uncompressed bytes, which owns ``blob``; nothing is held in memory but a window of at most 128 MiB."""
    start = blob.read(4)
    blob.seek(0)
    if start[:2] == b"\x1f\x8b":
        return io.BufferedReader(_Gzip(blob), _CHUNK)
    if start == b"\x28\xb5\x2f\xfd" or (start[1:] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50):
        return io.BufferedReader(_zstd(blob), _CHUNK)
    if start[:3] == b"BZh":
        return io.BufferedReader(_Blocks(blob, bz2.BZ2Decompressor), _CHUNK)
    if start == b"\xfd7zX":
        return io.BufferedReader(_Blocks(blob, lambda: lzma.LZMADecompressor(memlimit=2 * _MAX_WINDOW)), _CHUNK)
    return blob


class _Gzip(io.RawIOBase):
    """All members of a gzip stream; ``gzip.GzipFile`` does the same three times slower, in smaller steps."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._engine = zlib.decompressobj(31)
        self._left = b""
        self._started = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._source.close()
        super().close()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        while True:
            if not self._left:
                self._left = self._source.read(_CHUNK)
                if not self._left:
                    if self._started:
                        raise InvalidDocument("the gzip data ends too early")
                    return 0
            try:
                out = self._engine.decompress(self._left, len(buffer))
            except zlib.error as err:
                raise InvalidDocument(f"the gzip data is damaged: {err}") from err
            self._started = True
            self._left = self._engine.unconsumed_tail
            if self._engine.eof:
                self._next_member()
            if out:
                buffer[: len(out)] = out
                return len(out)

    def _next_member(self) -> None:
        self._left = self._engine.unused_data.lstrip(b"\0") or self._source.read(_CHUNK).lstrip(b"\0")  # zeros may pad the end (gzip(1))
        self._engine = zlib.decompressobj(31)
        self._started = False


class _Blocks(io.RawIOBase):
    """All streams of a bzip2 or xz file; the standard library's file classes have no limit for an xz dictionary."""

    def __init__(self, source: BinaryIO, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self._source, self._make, self._engine = source, make, make()
        self._fresh = True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._source.close()
        super().close()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        while True:
            left = b""
            if self._engine.eof:
                left, self._engine, self._fresh = self._engine.unused_data.lstrip(b"\0"), self._make(), True
            if not left and self._engine.needs_input:
                left = self._source.read(_CHUNK)
                if not left and not self._fresh:
                    raise InvalidDocument("the compressed data ends too early")
                if not left:
                    return 0
            try:
                out = self._engine.decompress(left, len(buffer))
            except (OSError, lzma.LZMAError, MemoryError) as err:
                raise InvalidDocument(f"the compressed data is damaged: {err}") from err
            self._fresh = False
            if out:
                buffer[: len(out)] = out
                return len(out)


def _zstd(blob: BinaryIO) -> _Zstd:
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(blob, read_across_frames=True, closefd=True)
    return _Zstd(reader)


class _Zstd(io.RawIOBase):
    def __init__(self, reader: zstandard.ZstdDecompressionReader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._reader.close()  # type: ignore[no-untyped-call]
        super().close()

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override]
        import zstandard

        try:
            return self._reader.readinto(buffer)
        except zstandard.ZstdError as err:
            raise InvalidDocument(f"the zstd data is damaged: {err}") from err
