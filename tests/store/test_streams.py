"""Compressed streams: every kind and both gzip libraries, members and padding, damage, cuts and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from backports import zstd

from notebook_containers.errors import InvalidDocument
from notebook_containers.store import packing
from notebook_containers.store.compression import uncompressed

DATA = random.Random(1).randbytes(200_000) + bytes(3_000_000) + b"end"
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6),
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
}


class Trickle:
    """A stream that gives a few bytes at a time, and cannot seek."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step, self._at = data, step, 0

    def read(self, size: int, /) -> bytes:
        piece = self._data[self._at : self._at + min(size, self._step)]
        self._at += len(piece)
        return piece


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_members_and_padding_in_pieces_of_any_size(kind: str, step: int) -> None:
    data = DATA[190_000:250_000] if step < 10 else DATA
    packed = KINDS[kind](data) + KINDS[kind](b"") + bytes(513) + KINDS[kind](data[:1000]) + bytes(7)
    with uncompressed(Trickle(packed, step)) as stream:
        assert stream.read() == data + data[:1000]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [5, 30, -1, -9])
def test_a_cut_is_noticed_at_every_place(kind: str, cut: int) -> None:
    with pytest.raises(InvalidDocument, match="too early"), uncompressed(io.BytesIO(KINDS[kind](DATA)[:cut])) as stream:
        stream.read()


@pytest.mark.parametrize("kind", KINDS)
def test_damage_and_trailing_garbage_are_noticed(kind: str) -> None:
    packed = bytearray(KINDS[kind](DATA))
    with pytest.raises(InvalidDocument), uncompressed(io.BytesIO(bytes(packed) + b"garbage" * 10)) as stream:
        stream.read()
    if kind == "zstd":  # it carries no check sum of its own; the layer's digest notices
        return
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(InvalidDocument), uncompressed(io.BytesIO(packed)) as stream:
        stream.read()


def test_many_empty_members_do_not_take_minutes() -> None:
    packed = gzip.compress(b"", 1) * 300_000
    start = time.monotonic()
    with uncompressed(io.BytesIO(packed)) as stream:
        assert stream.read() == b""
    assert time.monotonic() - start < 30


def test_windows_and_dictionaries_are_bounded() -> None:
    parameters: dict[int, int] = {zstd.CompressionParameter.window_log: 28, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=parameters)
    huge = packer.compress(DATA) + packer.flush()
    with pytest.raises(InvalidDocument, match="memory"), uncompressed(io.BytesIO(huge)) as stream:
        stream.read()


def test_a_skippable_frame_before_and_after() -> None:
    """zstd:chunked keeps its table of contents in one."""
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    with uncompressed(io.BytesIO(skipped + zstd.compress(DATA) + skipped)) as stream:
        assert stream.read() == DATA


def test_a_gzip_in_a_gzip_is_opened_once() -> None:
    inner = gzip.compress(DATA)
    with uncompressed(io.BytesIO(gzip.compress(inner))) as stream:
        assert stream.read() == inner


def test_what_the_compressor_writes_is_read_by_zlib() -> None:
    packed = b"".join(packing.packed([DATA], "gzip"))
    assert gzip.decompress(packed) == DATA
    assert packed[3:9] == bytes(6) or packed[4:8] == bytes(4)  # no time in the header


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (5 << 20) + 17])
def test_a_layer_is_packed_by_all_processors_into_the_same_bytes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    data = (DATA * (size // len(DATA) + 1))[:size]
    found = []
    for processors in (1, 5):
        monkeypatch.setattr(os, "cpu_count", lambda count=processors: count)
        for step in (1 << 20, 70_001):
            pieces = (data[at : at + step] for at in range(0, size, step))
            found.append(b"".join(packing.packed(pieces, "gzip")))
    assert len(set(found)) == 1
    assert gzip.decompress(found[0]) == data
    assert b"".join(packing.packed([data], "")) == data
    with uncompressed(io.BytesIO(b"".join(packing.packed([data], "zstd")))) as stream:
        assert stream.read() == data


def test_without_the_fast_library_it_works_and_says_so() -> None:
    code = (
        "import sys, io; sys.modules['isal'] = None\n"
        "import gzip\n"
        "from notebook_containers.store import compression, packing\n"
        "from notebook_containers.engine import explain\n"
        "data = bytes(5_000_000) + b'x' * 70_000\n"
        "packed = b''.join(packing.packed([data], 'gzip'))\n"
        "assert gzip.decompress(packed) == data\n"
        "assert compression.uncompressed(io.BytesIO(packed * 2)).read() == data * 2\n"
        "print(explain.compression()['gzip'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "isal cannot be imported" in done.stdout
