"""Copies between a container and this machine by ``docker cp``'s rules, and streams of every shape that callers give."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from notebook_containers.engine import archive
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.places import Place, Source, base_name, choose, means_contents
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.errors import DiskFull, NotFound, StoreError
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.documents import JSON
from notebook_containers.store.compression import uncompressed
from notebook_containers.store.tar_reader import Limits, TarReader
from notebook_containers.store.tree_tar import send_tree
from notebook_containers.store.unpack import Rules, unpack

_CHUNK = 1 << 20
_GO_MODES = ((stat.S_ISUID, 23), (stat.S_ISGID, 22), (stat.S_ISVTX, 20))
_GO_TYPES = {"d": 1 << 31, "l": 1 << 27, "b": 1 << 26, "c": 1 << 26 | 1 << 21, "p": 1 << 25, "s": 1 << 24}


def take(parts: Parts, container_id: str, path: str) -> tuple[Iterator[bytes], dict[str, JSON]]:
    """Return a path's archive, read while it is consumed, and its status in the Engine API's shape."""
    held = ExitStack()
    opened = held.enter_context(archive.reading(parts, container_id, path))
    return _held(opened.stream(base_name(path)), held), go_stat(opened.stat)


def put(parts: Parts, container_id: str, path: str, data: bytes | BinaryIO | Iterator[bytes]) -> list[str]:
    """Unpack an archive, compressed or not, in a directory of the container; returns warnings."""
    with plain(data) as stream:
        return archive.write(parts, container_id, path, lambda _place, write: _pour(stream, write))


def put_in_directory(parts: Parts, directory: Path, what: str, data: bytes | BinaryIO | Iterator[bytes]) -> list[str]:
    """Unpack an archive, compressed or not, in a directory that containers write to; ``what`` names it in errors."""
    with plain(data) as stream:
        return archive.write_directory(parts, directory, what, lambda _place, write: _pour(stream, write))


def plain(data: bytes | BinaryIO | Iterator[bytes]) -> BinaryIO:
    """Return the uncompressed bytes of a stream of any kind, told apart by its first bytes; close it."""
    return uncompressed(_readable(data))


def to_container(parts: Parts, container_id: str, given: str, path: str, *, archive_mode: bool = False, follow: bool = False) -> list[str]:
    """Copy a local file or directory into the container; returns warnings. NotFound when ``given`` is not there."""
    local = os.path.realpath(given) if follow else os.path.abspath(given)
    try:
        status = os.stat(local) if given.endswith(("/", "/.")) else os.lstat(local)
    except OSError as err:
        raise NotFound(f"there is no {given}", hint="it is a path on this machine") from err
    directory = stat.S_ISDIR(status.st_mode)
    source = Source(name=base_name(os.path.abspath(given)), directory=directory, contents=directory and means_contents(given))
    found: list[str] = []

    def feed(place: Place, write: Callable[[bytes], object]) -> None:
        with SafeRoot.at(local if directory else os.path.dirname(local)) as root:
            found.extend(send_tree(root, "." if directory else os.path.basename(local), write, name=place.name))

    warnings = archive.write(parts, container_id, path, feed, source=source, as_root=not archive_mode, keep_kinds=True)
    return [*found, *warnings]


def from_container(
    parts: Parts, container_id: str, path: str, target: str, *, archive_mode: bool = False, follow: bool = False
) -> list[str]:
    """Copy a file or directory of the container to this machine; returns warnings."""
    with archive.reading(parts, container_id, path, follow=follow) as opened:
        directory = opened.stat.kind == "d"
        source = Source(name=base_name(path), directory=directory, contents=directory and means_contents(path))
        local = os.path.abspath(target) + ("/" if target.endswith(("/", "/.")) else "")
        with SafeRoot.at("/", follow=True) as machine:
            place = choose(machine, local, source)
        warnings = unpack_here(opened.stream(place.name), place.below, archive_mode=archive_mode)
        return warnings + opened.warnings


class _Pieces(io.RawIOBase):
    """An iterator of bytes as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _readable(data: bytes | BinaryIO | Iterator[bytes]) -> BinaryIO:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return io.BytesIO(data)
    return cast("BinaryIO", data) if hasattr(data, "read") else stream_of(data)


def stream_of(pieces: Iterator[bytes]) -> BinaryIO:
    """Return an iterator of bytes as a stream to read."""
    return io.BufferedReader(_Pieces(iter(pieces)), _CHUNK)


def _pour(source: BinaryIO, write: Callable[[bytes], object]) -> None:
    while data := source.read(_CHUNK):
        write(data)


def _held(stream: Iterator[bytes], held: ExitStack) -> Iterator[bytes]:
    with held:
        yield from stream


def unpack_here(stream: Iterator[bytes], below: str, *, archive_mode: bool) -> list[str]:
    """Unpack with the store's own writer: an archive cannot lead out of the directory, whatever its names and links say."""
    own = (os.geteuid(), os.getegid())
    keep = archive_mode and own[0] == 0
    rules = Rules(layer=False, single_id=own[0] != 0, owner=None if keep else ((0, 0) if own[0] else own), keep_kinds=True)
    try:
        space = os.statvfs(below)
        limits = Limits(total_bytes=space.f_bavail * space.f_frsize)
        with SafeRoot.at(below) as root:
            return list(unpack(TarReader(stream_of(stream), limits=limits), root, rules).warnings)
    except OSError as err:
        kind = DiskFull if err.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
        raise kind(f"cannot write in {below}: {(err.strerror or str(err)).lower()}") from err


def go_stat(found: archive.PathStat) -> dict[str, JSON]:
    """Return a status in the Engine API's shape: Go's mode bits, RFC 3339 time."""
    mode = found.mode & 0o777 | _GO_TYPES.get(found.kind, 0)
    for bit, place in _GO_MODES:
        mode |= 1 << place if found.mode & bit else 0
    return {"name": found.name, "size": found.size, "mode": mode, "mtime": rfc3339(found.mtime), "linkTarget": found.link}
