"""Uncompressed views of layer blobs: tar, gzip, zstd, bzip2 and xz are told apart by their first bytes, as everybody does."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import BinaryIO, cast

from notebook_containers.store import streams
from notebook_containers.store.streams import Members
from notebook_containers.store.tar_reader import Readable

_CHUNK = 1 << 20
_LONGEST_MARK = 4
GZIP, ZSTD, BZIP2, XZ, PLAIN = "gzip", "zstd", "bzip2", "xz", ""


def compression_of(start: bytes) -> str:
    """Return the compression that a stream's first four bytes tell: ``gzip``, ``zstd``, ``bzip2``, ``xz``, or an empty text for none."""
    if start[:2] == b"\x1f\x8b":
        return GZIP
    if start == b"\x28\xb5\x2f\xfd" or (start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50):
        return ZSTD
    if start[:3] == b"BZh":
        return BZIP2
    return XZ if start == b"\xfd7zX" else PLAIN


def uncompressed(source: Readable) -> BinaryIO:
    """Return a stream of the uncompressed bytes of ``source``, which needs ``read`` only; closing it closes what can be closed.

    Nothing is held in memory but a window of at most 128 MiB. eStargz and zstd:chunked are read as the gzip and zstd that they are.
    Reading raises InvalidDocument for damaged or cut data, Unsupported for zstd without its library, and whatever ``source`` raises.
    """
    whole = Replayed(source)
    kind = compression_of(whole.start(_LONGEST_MARK))
    plain = Members(whole, _DECODERS[kind]()) if kind else _Plain(whole)
    return cast("BinaryIO", _Owning(plain, source))


class Replayed:
    """A stream whose first bytes can be looked at, to tell what it is."""

    def __init__(self, source: Readable) -> None:
        self._source, self._start = source, b""

    def start(self, size: int) -> bytes:
        """Return the first ``size`` bytes, fewer where there are no more; they are read again afterwards."""
        while len(self._start) < size and (more := self._source.read(size - len(self._start))):
            self._start += more
        return self._start[:size]

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""
        if not self._start:
            return self._source.read(size)
        head, self._start = self._start[:size], self._start[size:]
        return head


class _Owning(io.BufferedReader):
    """Closes the compressed stream too."""

    def __init__(self, plain: io.RawIOBase, source: Readable) -> None:
        super().__init__(plain, _CHUNK)
        self._source = source

    def close(self) -> None:
        super().close()
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class _Plain(io.RawIOBase):
    def __init__(self, source: Readable) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


_DECODERS: Mapping[str, Callable[[], streams.Codec]] = {
    GZIP: streams.gzip,
    ZSTD: streams.zstd,
    BZIP2: streams.bzip2,
    XZ: streams.xz,
}
