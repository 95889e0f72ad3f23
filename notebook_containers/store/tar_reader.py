"""A streaming tar reader: ustar, PAX and GNU long names in, checked entries out; touches no file system.

Python's ``tarfile`` is not used: its filters were bypassed again and again, it seeks, and it spends most of an unpack in its own
code. Where parsers differ this one reads as Go's ``archive/tar`` (which wrote nearly every layer there is) or refuses.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import Protocol

from notebook_containers.errors import DiskFull, InvalidDocument
from notebook_containers.lean import dataclass, field

BLOCK = 512
_CHUNK = 1 << 20
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_ZEROS = bytes(BLOCK)
_KINDS = {b"0": "f", b"\0": "f", b"7": "f", b"1": "h", b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"6": "p"}
_DECIMAL = re.compile(rb"-?[0-9]{1,20}(\.[0-9]*)?\Z")
_NO_TAR = "this is no tar archive, or a damaged one: a header's checksum is wrong"
_LONGEST_TIME = 2**40  # seconds; beyond every file system's range, inside every C type


class Readable(Protocol):
    """Anything with ``read(n)``."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; nothing at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an archive may ask for at most."""

    entries: int = 2_000_000
    total_bytes: int = 1 << 46
    header_bytes: int = 1 << 20
    trailing_bytes: int = 1 << 30
    path_bytes: int = 4095


@dataclass(slots=True, kw_only=True)
class Entry:
    """One member. ``name`` is as in the archive; ``kind`` is f d l h c b p; text is surrogateescape, so names keep their bytes.

    ``size`` is the number of data bytes that follow: 0 for all but files. ``device`` is (major, minor). Times in nanoseconds.
    """

    name: str
    kind: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)


class TarReader:
    """Iterate over the entries of an uncompressed tar stream; between two of them ``copy_data`` may take the entry's bytes.

    The stream is read to its very end, past the end marker, so that whoever hashes it has seen every byte. InvalidDocument for
    anything that is not a clean archive, DiskFull for more bytes than ``limits`` allow.
    """

    def __init__(self, stream: Readable, *, limits: Limits | None = None) -> None:
        self._stream = stream
        self._limits = limits or Limits()
        self._buffer = b""
        self._at = 0
        self._data_left = 0
        self._padding = 0
        self._pax: dict[str, bytes] = {}
        self._long: dict[str, bytes] = {}
        self.total_bytes = 0

    def __iter__(self) -> Iterator[Entry]:
        count = 0
        while (block := self._next_header()) is not None:
            entry = self._entry(block)
            if entry is None:
                continue
            count += 1
            self.total_bytes += entry.size
            if count > self._limits.entries:
                raise InvalidDocument(f"the archive has more than {self._limits.entries} entries")
            if self.total_bytes > self._limits.total_bytes:
                raise DiskFull(f"the archive holds more than the {self._limits.total_bytes} bytes there is room for")
            self._data_left, self._padding = entry.size, -entry.size % BLOCK
            yield entry
        self._finish()

    def copy_data(self, write: Callable[[memoryview], object]) -> None:
        """Give all data bytes of the current entry to ``write``, in pieces of up to 1 MiB."""
        while self._data_left:
            write(self._piece())

    def _piece(self) -> memoryview:
        if self._at == len(self._buffer):
            self._fill()
        end = min(len(self._buffer), self._at + self._data_left)
        piece = memoryview(self._buffer)[self._at : end]
        self._data_left -= end - self._at
        self._at = end
        return piece

    def _fill(self) -> None:
        self._buffer, self._at = self._stream.read(_CHUNK), 0
        if not self._buffer:
            raise InvalidDocument("the archive ends in the middle of an entry", hint="is it an archive, and whole? make or fetch it again")

    def _exactly(self, size: int) -> bytes:
        if self._at + size <= len(self._buffer):
            self._at += size
            return self._buffer[self._at - size : self._at]
        parts, left = [], size
        while left:
            if self._at == len(self._buffer):
                self._fill()
            part = self._buffer[self._at : self._at + left]
            self._at += len(part)
            left -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip_data(self) -> None:
        while self._data_left:
            self._piece()
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _next_header(self) -> bytes | None:
        self._skip_data()
        if self._at == len(self._buffer):
            self._buffer, self._at = self._stream.read(_CHUNK), 0
            if not self._buffer:  # no end marker: everybody accepts that at an entry's boundary
                return None
        block = self._exactly(BLOCK)
        return None if block == _ZEROS else block

    def _finish(self) -> None:
        if self._pax or self._long:
            raise InvalidDocument("the archive ends after an extended header")
        trailing = 0
        while piece := self._stream.read(_CHUNK):
            trailing += len(piece)
            if trailing > self._limits.trailing_bytes:
                raise InvalidDocument(f"more than {self._limits.trailing_bytes} bytes follow the archive's end")

    def _entry(self, block: bytes) -> Entry | None:
        fields = _HEADER.unpack(block)
        _check_sum(block, fields[6])
        kind = fields[7]
        if kind in b"xgLK":
            self._extended(kind, _number(fields[4], "size"))
            return None
        pax, long, self._pax, self._long = self._pax, self._long, {}, {}
        if kind == b"S" or (pax and any(key.startswith("GNU.sparse.") for key in pax)):
            raise InvalidDocument("the archive has a sparse entry", hint="make it without sparse files (GNU tar: without -S)")
        return _build(fields, pax, long, self._limits)

    def _extended(self, kind: bytes, size: int) -> None:
        if size > self._limits.header_bytes:
            raise InvalidDocument(f"an extended header of {size} bytes is more than the {self._limits.header_bytes} allowed")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        if kind == b"x":
            self._pax = _pax_records(data)
        elif kind == b"g":
            # Go and Docker ignore global headers, other readers obey them: what could make two readers see two archives is refused.
            doubtful = [key for key in _pax_records(data) if key in ("path", "linkpath", "size") or key.startswith("GNU.sparse.")]
            if doubtful:
                raise InvalidDocument(f"a global header changes the {doubtful[0]} of all entries")
        else:
            self._long["name" if kind == b"L" else "link"] = data.partition(b"\0")[0]


def _check_sum(block: bytes, text: bytes) -> None:
    try:
        stated = _number(text, "checksum")
    except InvalidDocument:
        raise InvalidDocument(_NO_TAR) from None
    blanked = sum(block) - sum(text) + 8 * 32
    if stated == blanked:
        return
    signed = blanked - 256 * sum(1 for byte in block[:148] + block[156:] if byte > 127)  # some old tars summed signed bytes
    if stated != signed:
        raise InvalidDocument(_NO_TAR)


def _number(text: bytes, what: str) -> int:
    if text[0] & 0x80:  # GNU's base 256, two's complement
        value = int.from_bytes(text, "big", signed=False) & ((1 << (8 * len(text) - 1)) - 1)
        return value - (1 << (8 * len(text) - 1)) if text[0] & 0x40 else value
    digits = text.partition(b"\0")[0].strip()
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise InvalidDocument(f"a header's {what} is no number")


def _pax_records(data: bytes) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        length = int(data[at:space]) if space > at and data[at:space].isdigit() else 0
        end = at + length
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not length or end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n" or not equals or not key:
            raise InvalidDocument("an extended header is malformed")
        records[os.fsdecode(key)] = value
        at = end
    return records


def _pax_number(pax: dict[str, bytes], key: str, otherwise: int) -> int:
    text = pax.get(key)
    if not text:
        return otherwise
    if not _DECIMAL.match(text) or b"." in text:
        raise InvalidDocument(f"an extended header's {key} is no number")
    return int(text)


def _pax_time(text: bytes) -> int:
    if not _DECIMAL.match(text):
        raise InvalidDocument("an extended header's mtime is no time")
    whole, _, fraction = text.partition(b".")
    nanoseconds = int(fraction[:9].ljust(9, b"0") or b"0")
    return int(whole) * 10**9 + (-nanoseconds if whole.startswith(b"-") else nanoseconds)


def _name(fields: tuple[bytes, ...], pax: dict[str, bytes], long: dict[str, bytes]) -> bytes:
    if long.get("name"):
        return long["name"]
    if pax.get("path"):
        return pax["path"]
    name = fields[0].partition(b"\0")[0]
    prefix = fields[15].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and fields[9] == b"ustar\0" else name


def _build(fields: tuple[bytes, ...], pax: dict[str, bytes], long: dict[str, bytes], limits: Limits) -> Entry:
    kind = _KINDS.get(fields[7])
    name = _name(fields, pax, long)
    if kind is None:
        raise InvalidDocument(f"{_show(name)} has the unknown type {_show(fields[7])}")
    link = b""
    if kind in "hl":
        link = long.get("link") or pax.get("linkpath") or fields[8].partition(b"\0")[0]
    _check_text(name, link, kind, limits)
    if kind == "f" and name.endswith(b"/"):  # how the first tars wrote directories
        kind = "d"
    size = _pax_number(pax, "size", _number(fields[4], "size"))
    uid, gid = _pax_number(pax, "uid", _number(fields[2], "uid")), _pax_number(pax, "gid", _number(fields[3], "gid"))
    seconds = _number(fields[5], "mtime")
    mtime_ns = _pax_time(pax["mtime"]) if pax.get("mtime") else seconds * 10**9
    if size < 0:
        raise InvalidDocument(f"{_show(name)} has a negative size")
    if not (0 <= uid < 2**32 - 1 and 0 <= gid < 2**32 - 1):
        raise InvalidDocument(f"{_show(name)} belongs to {uid}:{gid}, which are no user and group ids")
    device = (0, 0)
    if kind in "cb":
        device = (_number(fields[13], "device"), _number(fields[14], "device"))
        if not (0 <= device[0] < 1 << 12 and 0 <= device[1] < 1 << 20):
            raise InvalidDocument(f"{_show(name)} is the device {device[0]}:{device[1]}, which cannot exist")
    return Entry(
        name=os.fsdecode(name),
        kind=kind,
        mode=_number(fields[1], "mode") & 0o7777,
        uid=uid,
        gid=gid,
        size=size if kind == "f" else 0,  # the others carry no data whatever they say (as Go reads them)
        mtime_ns=max(-_LONGEST_TIME * 10**9, min(mtime_ns, _LONGEST_TIME * 10**9)),
        link=os.fsdecode(link),
        device=device,
        xattrs={key[13:]: value for key, value in pax.items() if key.startswith("SCHILY.xattr.")} if pax else {},
    )


def _check_text(name: bytes, link: bytes, kind: str, limits: Limits) -> None:
    if not name:
        raise InvalidDocument("an entry has no name")
    for text in (name, link):
        if b"\0" in text:
            raise InvalidDocument(f"{_show(name)} has a NUL byte in its name")
        if len(text) > limits.path_bytes:
            raise InvalidDocument(f"{_show(name)} is longer than {limits.path_bytes} bytes")
    if kind in "hl" and not link:
        raise InvalidDocument(f"{_show(name)} is a link to nothing")


def _show(text: bytes) -> str:
    return ascii(os.fsdecode(text[:80]))
