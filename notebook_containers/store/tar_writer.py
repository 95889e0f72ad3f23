"""A deterministic tar writer: PAX, times to the nanosecond, no user names: the same entries give the same bytes on every machine."""

from __future__ import annotations

import os
from collections.abc import Callable

from notebook_containers.store.tar_reader import BLOCK, Entry

_TYPES = {"f": b"0", "h": b"1", "l": b"2", "c": b"3", "b": b"4", "d": b"5", "p": b"6"}
_TAIL = b"ustar\x0000" + bytes(64)  # magic, version, no user and group names
_TAIL_SUM = sum(_TAIL)
_NO_DEVICE, _END = bytes(16), bytes(167)
_FLUSH = 1 << 20
_OCTAL_12 = 8**11


class TarWriter:
    """Write entries in the order given; the bytes go to ``write`` in pieces of about 1 MiB."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._pending: list[bytes] = []
        self._size = 0
        self.written = 0

    def add(self, entry: Entry) -> None:
        """Write an entry's header; ``entry.size`` data bytes must follow through ``data``, then ``pad``."""
        name = os.fsencode(entry.name) + (b"/" if entry.kind == "d" and not entry.name.endswith("/") else b"")
        link = os.fsencode(entry.link)
        records = _records(entry, name, link)
        if records:
            self.data(_block(b"PaxHeaders/" + name[:80], _numbers(0o644, 0, 0, len(records), 0), b"x", b"", _NO_DEVICE))
            self.data(records)
            self.pad(len(records))
        self.data(_header(name[:100], entry, link[:100], _TYPES[entry.kind]))

    def data(self, piece: bytes) -> None:
        """Write bytes of the current entry."""
        self._pending.append(piece)
        self._size += len(piece)
        if self._size >= _FLUSH:
            self._flush()

    def pad(self, size: int) -> None:
        """Fill up the block after an entry of ``size`` bytes."""
        if rest := -size % BLOCK:
            self.data(bytes(rest))

    def close(self) -> None:
        """Write the end marker; must be called once."""
        self.data(bytes(2 * BLOCK))
        self._flush()

    def _flush(self) -> None:
        joined = b"".join(self._pending) if len(self._pending) > 1 else self._pending[0]
        self._pending.clear()
        self.written += self._size
        self._size = 0
        self._write(joined)


def _records(entry: Entry, name: bytes, link: bytes) -> bytes:
    found: list[tuple[bytes, bytes]] = []
    if len(name) > 100:
        found.append((b"path", name))
    if len(link) > 100:
        found.append((b"linkpath", link))
    if entry.size >= _OCTAL_12:
        found.append((b"size", b"%d" % entry.size))
    if entry.uid >= 8**7:
        found.append((b"uid", b"%d" % entry.uid))
    if entry.gid >= 8**7:
        found.append((b"gid", b"%d" % entry.gid))
    seconds, fraction = divmod(entry.mtime_ns, 10**9)
    if fraction or not 0 <= seconds < _OCTAL_12:
        found.append((b"mtime", _decimal(entry.mtime_ns)))
    found.extend((b"SCHILY.xattr." + os.fsencode(key), value) for key, value in sorted(entry.xattrs.items()))
    return b"".join(_record(key, value) for key, value in found)


def _decimal(nanoseconds: int) -> bytes:
    """Return a time as PAX writes it: decimal seconds, with a sign before 1970, no zeros at the end."""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    text = b"%d.%09d" % (seconds, fraction) if fraction else b"%d" % seconds
    return (b"-" if nanoseconds < 0 else b"") + (text.rstrip(b"0") if fraction else text)


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))  # the length counts its own digits
    return b"%d %s=%s\n" % (length, key, value)


def _header(name: bytes, entry: Entry, link: bytes, kind: bytes) -> bytes:
    device = b"%07o\0%07o\0" % entry.device if kind in b"34" else _NO_DEVICE
    return _block(name, _numbers(entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns // 10**9), kind, link, device)


def _numbers(mode: int, uid: int, gid: int, size: int, seconds: int) -> bytes:
    return b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        mode,
        uid if uid < 8**7 else 0,
        gid if gid < 8**7 else 0,
        size if size < _OCTAL_12 else 0,
        seconds if 0 <= seconds < _OCTAL_12 else 0,
    )


def _block(name: bytes, numbers: bytes, kind: bytes, link: bytes, device: bytes) -> bytes:
    """Put a header together; its checksum is the sum of all bytes with eight spaces in its own place, and most are zeros."""
    checksum = sum(name) + sum(numbers) + kind[0] + sum(link) + _TAIL_SUM + sum(device) + 8 * 32
    return b"%b%b%06o\0 %b%b%b%b%b" % (name.ljust(100, b"\0"), numbers, checksum, kind, link.ljust(100, b"\0"), _TAIL, device, _END)
