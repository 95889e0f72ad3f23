"""Contents that were read to be digested, held until they are copied: a file of a build context is read once."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import JSON

MOST_BYTES = 64 * 1024 * 1024
_EACH_BYTES = 512  # about what a piece takes beside its content


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A regular file as it was when it was read: content, mode (with its kind), time, attributes, and the content's sha256."""

    content: bytes
    mode: int
    mtime_ns: int
    digest: str = ""
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


def _cost(piece: Piece) -> int:
    return len(piece.content) + sum(map(len, piece.xattrs.values())) + _EACH_BYTES


Ready: TypeAlias = "Mapping[str, Piece]"
"""Files that need not be read where they are copied from, by their path below the source; empty for the source itself."""


class Held:
    """What is held of one build context: at most 64 MiB. What comes after that is read again where it is copied. Thread-safe."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._left = most
        self._pieces: dict[str, Piece] = {}
        self._lock = threading.Lock()

    def room(self, path: str, size: int) -> bool:
        """Forget what is held of a path, and say whether a file of this size can be held."""
        with self._lock:
            self._forget(path)
            return size + _EACH_BYTES <= self._left

    def keep(self, path: str, piece: Piece) -> None:
        """Hold a file; one that has grown beyond what there is room for is not."""
        with self._lock:
            self._forget(path)
            if _cost(piece) <= self._left:
                self._left -= _cost(piece)
                self._pieces[path] = piece

    def _forget(self, path: str) -> None:
        if (piece := self._pieces.pop(path, None)) is not None:
            self._left += _cost(piece)

    def ready(self, top: str, digests: Mapping[str, str]) -> Ready:
        """Return the pieces at or below ``top`` whose contents have these digests, by the path relative to it."""
        prefix = f"{top}/" if top else ""
        found = {}
        for path, digest in digests.items() if self._pieces else ():
            piece = self._pieces.get(prefix + path if path else top)
            if piece is not None and piece.digest == digest:
                found[path] = piece
        return found

    def close(self) -> None:
        """Let go of everything."""
        self._pieces.clear()


def to_json(ready: Ready) -> list[JSON]:
    """Return all but the contents as JSON; those travel beside it, one after the other in this order."""
    return [
        [path, len(p.content), p.mode, p.mtime_ns, {name: base64.b64encode(value).decode() for name, value in p.xattrs.items()}]
        for path, p in ready.items()
    ]


def from_json(rows: Sequence[Sequence[JSON]], contents: int) -> Ready:
    """Return what :func:`to_json` told; the contents are read from a descriptor."""
    return {str(path): _piece(contents, size, mode, mtime_ns, xattrs) for path, size, mode, mtime_ns, xattrs in rows}


def _piece(contents: int, size: JSON, mode: JSON, mtime_ns: JSON, xattrs: JSON) -> Piece:
    assert isinstance(size, int)
    assert isinstance(mode, int)
    assert isinstance(mtime_ns, int)
    assert isinstance(xattrs, Mapping)
    found = {name: base64.b64decode(str(value)) for name, value in xattrs.items()}
    return Piece(content=_exactly(contents, size), mode=mode, mtime_ns=mtime_ns, xattrs=found)


def _exactly(fd: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = os.read(fd, size)
        if not part:
            raise EOFError("held contents end too early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
