"""A container's files, as docker-py's ``Container`` gives and takes them; the base of :class:`~.container.Container`."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from notebook_containers.engine import archive
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.places import Place, Source, base_name, choose, means_contents
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.errors import DiskFull, InvalidArgument, NotFound, StoreError
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.documents import JSON
from notebook_containers.store.compression import uncompressed
from notebook_containers.store.tar_reader import Limits, TarReader
from notebook_containers.store.tree_tar import send_tree
from notebook_containers.store.unpack import Rules, unpack

if TYPE_CHECKING:
    from notebook_containers.engine.images import Image

_CHUNK = 1 << 20
_GO_MODES = ((stat.S_ISUID, 23), (stat.S_ISGID, 22), (stat.S_ISVTX, 20))
_GO_TYPES = {"d": 1 << 31, "l": 1 << 27, "b": 1 << 26, "c": 1 << 26 | 1 << 21, "p": 1 << 25, "s": 1 << 24}


class Contents:
    """What a container holds: read and written safely whether it runs or not, volumes included."""

    id: str
    name: str
    document: ContainerDocument
    _parts: Parts

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, JSON]]:
        """Return a path of the container as a tar stream, and its status in docker-py's shape; NotFound when there is none.

        Nothing is read ahead: the container is read while the iterator is consumed. Close the iterator (or end it) to let go.
        """
        held = ExitStack()
        opened = held.enter_context(archive.reading(self._parts, self.id, path))
        return _held(opened.stream(base_name(path)), held), go_stat(opened.stat)

    def put_archive(self, path: str, data: bytes | BinaryIO | Iterator[bytes]) -> bool:
        """Unpack a tar (plain, gzip, bzip2, xz or zstd) in the existing directory ``path``; owners are as in the archive."""
        with uncompressed(cast("BinaryIO", Replayed(_readable(data)))) as plain:
            archive.write(self._parts, self.id, path, lambda _place, write: _pour(plain, write))
        return True

    def stat_path(self, path: str) -> dict[str, JSON]:
        """Return a path's status in docker-py's shape (``mode`` in Go's bits); NotFound when there is none."""
        return go_stat(archive.stat(self._parts, self.id, path))

    def export(self) -> Iterator[bytes]:
        """Return the whole file system as a tar stream, without what is mounted in it (volumes, /proc, /dev), as ``docker export``."""
        return archive.export(self._parts, self.id)

    def commit(
        self,
        repository: str | None = None,
        tag: str | None = None,
        *,
        message: str = "",
        author: str = "",
        pause: bool = True,
        changes: str | Sequence[str] | None = None,
    ) -> Image:
        """Make an image of it as it is now, and return that; ``changes`` are lines of a Dockerfile for the image's settings.

        A running container stands still meanwhile unless ``pause=False``. Volumes and what else is mounted are no part of the image.
        """
        from notebook_containers.engine import commit
        from notebook_containers.engine.images import Image

        lines = changes.splitlines() if isinstance(changes, str) else list(changes or ())
        tags = commit.target(repository, tag)
        record = commit.commit(self._parts, self.document, tags=tags, message=message, author=author, pause=pause, changes=lines)
        return Image(self._parts, record)

    def copy_to(self, source: str | os.PathLike[str], path: str, *, archive_mode: bool = False, follow: bool = False) -> list[str]:
        """Copy a local file or directory into the container by ``docker cp``'s rules; returns warnings.

        ``archive_mode`` keeps owners, else everything belongs to the container's root; ``follow`` copies what a link leads to.
        """
        given = os.fspath(source)
        local = os.path.abspath(given) if not follow else os.path.realpath(given)
        try:
            status = os.stat(local) if given.endswith(("/", "/.")) else os.lstat(local)
        except OSError as err:
            raise NotFound(f"there is no {given}", hint="it is a path on this machine") from err
        name = base_name(os.path.abspath(given))
        directory = stat.S_ISDIR(status.st_mode)
        described = Source(name=name, directory=directory, contents=directory and means_contents(given))

        def feed(place: Place, write: Callable[[bytes], object]) -> None:
            with SafeRoot.at(os.path.dirname(local) or "/") as root:
                found.extend(send_tree(root, os.path.basename(local) or ".", write, name=place.name))

        found: list[str] = []
        found += archive.write(self._parts, self.id, path or "/", feed, source=described, as_root=not archive_mode, keep_kinds=True)
        return found

    def copy_from(self, path: str, target: str | os.PathLike[str], *, archive_mode: bool = False, follow: bool = False) -> list[str]:
        """Copy a file or directory of the container to this machine by ``docker cp``'s rules; returns warnings.

        The files belong to the caller, or with ``archive_mode`` as root to the owners they have in the container.
        """
        with archive.reading(self._parts, self.id, path, follow=follow) as opened:
            source = Source(
                name=base_name(path), directory=opened.stat.kind == "d", contents=opened.stat.kind == "d" and means_contents(path)
            )
            local = os.path.abspath(os.fspath(target)) + ("/" if os.fspath(target).endswith(("/", "/.")) else "")
            with SafeRoot.at("/", follow=True) as machine:
                place = choose(machine, local, source)
            warnings = _unpack_local(opened.stream(place.name), place.below, archive_mode=archive_mode)
            return warnings + opened.warnings


class Replayed(io.RawIOBase):
    """A stream that cannot seek, of which the first bytes may be read twice: enough to tell compressions apart."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self._start, self._again = source, b"", False

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go back to the beginning, once."""
        if offset or whence:
            raise io.UnsupportedOperation("seek")
        self._again = True
        return 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill the buffer."""
        if self._again and self._start:
            data, self._start = self._start[: len(buffer)], self._start[len(buffer) :]
        else:
            data = self._source.read(len(buffer))
            if not self._again:
                self._start += data
        buffer[: len(data)] = data
        return len(data)


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
    return cast("BinaryIO", data) if hasattr(data, "read") else stream_of(cast("Iterator[bytes]", data))


def stream_of(pieces: Iterator[bytes]) -> BinaryIO:
    """Return an iterator of bytes as a stream to read."""
    return io.BufferedReader(_Pieces(iter(pieces)), _CHUNK)


def _pour(source: BinaryIO, write: Callable[[bytes], object]) -> None:
    while data := source.read(_CHUNK):
        write(data)


def _held(stream: Iterator[bytes], held: ExitStack) -> Iterator[bytes]:
    with held:
        yield from stream


def _unpack_local(stream: Iterator[bytes], below: str, *, archive_mode: bool) -> list[str]:
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
        import errno

        kind = DiskFull if err.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
        raise kind(f"cannot write in {below}: {(err.strerror or str(err)).lower()}") from err


def go_stat(found: archive.PathStat) -> dict[str, JSON]:
    """Return a status in the Engine API's shape: Go's mode bits, RFC 3339 time."""
    mode = found.mode & 0o777 | _GO_TYPES.get(found.kind, 0)
    for bit, place in _GO_MODES:
        mode |= 1 << place if found.mode & bit else 0
    return {"name": found.name, "size": found.size, "mode": mode, "mtime": rfc3339(found.mtime), "linkTarget": found.link}


def split_container_path(word: str) -> tuple[str, str]:
    """Split ``CONTAINER:PATH``; the container is empty for a local path (one that begins with ``/`` or ``.``, or has no colon)."""
    if word.startswith((".", "/")) or ":" not in word:
        return "", word
    name, _, path = word.partition(":")
    if not name or not path:
        raise InvalidArgument(f"{word!r} is no CONTAINER:PATH", hint="write a local path that holds a colon as ./NAME")
    return name, path


def local_path(word: str, cwd: Path) -> str:
    """Return a local path from ``cwd`` on, its trailing slash or dot kept: it means something."""
    return os.path.join(cwd, os.path.expanduser(word))
