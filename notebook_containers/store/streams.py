"""Compressed streams, member after member, by the fastest library here; one that lies, ends too early or wants too much memory is refused.

gzip is read by ISA-L where the ``isal`` package can be imported (at two to three times zlib's speed), else by zlib.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from functools import cache
from typing import Protocol, cast

from notebook_containers.errors import InvalidDocument, Unsupported
from notebook_containers.lean import dataclass
from notebook_containers.store.tar_reader import Readable

_CHUNK = 1 << 20
_FIRST_STEP = 1 << 12
_MAX_WINDOW_LOG = 27
_WITH_GZIP_HEADER = 31  # zlib's word for it


class Member(Protocol):
    """Decompresses one member. The standard library's objects are this, or nearly."""

    @property
    def eof(self) -> bool:
        """Say whether the member has ended."""

    @property
    def unused_data(self) -> bytes:
        """What of the last input lies after the member's end."""

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """Take all of ``data`` and return up to ``max_length`` bytes; more come when it is called again, with nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A compression by a library: its name, a maker of decompressors, what they raise, and why it is a slow one (empty when it is not)."""

    name: str
    member: Callable[[], Member]
    errors: tuple[type[BaseException], ...]
    why_slow: str = ""


class Members(io.RawIOBase):
    """The uncompressed bytes of all members of a stream. Zeros may stand between and after them (gzip(1) pads so), nothing else.

    InvalidDocument for damaged data and for a stream that ends inside a member.
    """

    def __init__(self, source: Readable, codec: Codec) -> None:
        self._source, self._codec = source, codec
        self._chunk, self._at = memoryview(b""), 0
        self._begin()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill the buffer, or a part of it; 0 at the end."""
        while self._pending or self._refill():
            if out := self._step(len(buffer)):
                buffer[: len(out)] = out
                return len(out)
        return 0

    def _begin(self) -> None:
        self._member, self._started, self._pending = self._codec.member(), False, False
        # what lies after a member's end is handed back as a copy: a million empty members must not copy the whole chunk each
        self._step_bytes = _FIRST_STEP

    def _refill(self) -> bool:
        """See that there is input; False at the end of the stream."""
        while True:
            if self._at == len(self._chunk):
                self._chunk, self._at = memoryview(self._source.read(_CHUNK)), 0
            if not self._chunk:
                if self._started:
                    raise InvalidDocument(f"the {self._codec.name} data ends too early")
                return False
            if self._started or self._chunk[self._at]:
                return True
            self._chunk, self._at = memoryview(bytes(self._chunk[self._at :]).lstrip(b"\0")), 0

    def _step(self, most: int) -> bytes:
        piece = self._chunk[self._at : self._at + (0 if self._pending else self._step_bytes)]
        self._at += len(piece)
        try:
            out = self._member.decompress(piece, most)
        except self._codec.errors as err:
            raise InvalidDocument(f"the {self._codec.name} data is damaged: {err}") from err
        self._started, self._pending = True, len(out) == most
        self._step_bytes = min(2 * self._step_bytes, _CHUNK)
        if self._member.eof:
            self._give_back(self._member.unused_data)
            self._begin()
        return out

    def _give_back(self, unused: bytes) -> None:
        if len(unused) <= self._at:
            self._at -= len(unused)
        else:  # a part of it is of the chunk before
            self._chunk, self._at = memoryview(unused + bytes(self._chunk[self._at :])), 0


@cache
def gzip() -> Codec:
    """Return the fastest gzip that works here; imports it on the first call (about a millisecond)."""
    try:
        from isal import igzip_lib, isal_zlib
    except ImportError as err:
        why = f"gzip layers are read and written several times slower: the package isal cannot be imported ({err})"
        return Codec(name="gzip", member=lambda: _Tailed(zlib.decompressobj(_WITH_GZIP_HEADER)), errors=(zlib.error,), why_slow=why)
    return Codec(
        name="gzip",
        member=lambda: _Tailed(isal_zlib.decompressobj(_WITH_GZIP_HEADER)),
        errors=(cast("type[Exception]", igzip_lib.IsalError),),
    )


@cache
def zstd() -> Codec:
    """Return zstd, which the standard library has from Python 3.14 on; raises Unsupported when it cannot be imported.

    A window of more than 128 MiB is refused, as by everybody who was not told otherwise.
    """
    try:
        from backports import zstd as library
    except ImportError as err:
        raise Unsupported(f"zstd data cannot be read: {err}", hint="pip install backports.zstd") from err
    options: dict[int, int] = {library.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
    return Codec(name="zstd", member=lambda: library.ZstdDecompressor(options=options), errors=(library.ZstdError,))


def bzip2() -> Codec:
    """Return bzip2, for imports."""
    return Codec(name="bzip2", member=bz2.BZ2Decompressor, errors=(OSError,))


def xz() -> Codec:
    """Return xz, for imports; a dictionary of more than 256 MiB is refused."""
    errors = (lzma.LZMAError, MemoryError)
    return Codec(name="xz", member=lambda: lzma.LZMADecompressor(memlimit=2 << _MAX_WINDOW_LOG), errors=errors)


class _ZlibObject(Member, Protocol):
    @property
    def unconsumed_tail(self) -> bytes:
        """What of the last input was not looked at, because the output was full."""


class _Tailed:
    """zlib's kind of object, which hands back what it did not look at, as one that keeps it."""

    def __init__(self, inner: _ZlibObject) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        tail = self._inner.unconsumed_tail
        return self._inner.decompress(tail + bytes(data) if tail else data, max_length)
