"""What an archive or a directory of images holds, as blobs of the store by their names in it."""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import suppress
from typing import BinaryIO, Protocol

from notebook_containers.errors import InvalidDocument
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.documents import MAX_DOCUMENT_BYTES
from notebook_containers.oci.image import Digest
from notebook_containers.store.content import ContentStore
from notebook_containers.store.tar_reader import TarReader

_PIECE = 1 << 20
_MAX_LINKS = 20


class Holdings(Protocol):
    """Files by name."""

    def has(self, name: str) -> bool:
        """Say whether there is such a file."""

    def find(self, name: str) -> tuple[Digest, int]:
        """Return a file as a blob, digest and size; InvalidDocument when there is none, Corrupt when its name promises other bytes."""


class InArchive:
    """A tar archive, read to its end; every file is in the store then. Links between members are followed, in the archive only."""

    def __init__(self, content: ContentStore, stream: BinaryIO) -> None:
        self._blobs: dict[str, tuple[Digest, int]] = {}
        self._links: dict[str, str] = {}
        reader = TarReader(stream)
        for entry in reader:
            path = posixpath.normpath(entry.name.lstrip("/"))
            if entry.kind == "f":
                with content.writer(expected=_promised(path), size=entry.size) as blob:
                    reader.copy_data(blob.write)
                self._blobs[path] = (blob.digest, blob.size)
            elif entry.kind in "lh":
                base = posixpath.dirname(path) if entry.kind == "l" else ""
                self._links[path] = posixpath.normpath(posixpath.join(base, entry.link.lstrip("/")))

    def has(self, name: str) -> bool:
        """Say whether there is such a member."""
        return name in self._blobs

    def find(self, name: str) -> tuple[Digest, int]:
        """Return a member's blob."""
        path = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            if path in self._blobs:
                return self._blobs[path]
            if path not in self._links:
                break
            path = self._links[path]
        raise InvalidDocument(f"the archive has no {name[:200]!a}, which its list names")


class InDirectory:
    """A directory of this machine; a file is copied to the store when it is asked for. No link is followed out of it."""

    def __init__(self, content: ContentStore, root: SafeRoot) -> None:
        self._content, self._root = content, root
        self._known: dict[str, tuple[Digest, int]] = {}

    def has(self, name: str) -> bool:
        """Say whether there is such a file."""
        with suppress(OSError):
            return stat.S_ISREG(self._root.lstat(name).st_mode)
        return False

    def find(self, name: str) -> tuple[Digest, int]:
        """Return a file as a blob."""
        path = posixpath.normpath(name)
        if path not in self._known:
            self._known[path] = self._copy(path)
        return self._known[path]

    def _copy(self, path: str) -> tuple[Digest, int]:
        promised = _promised(path)
        if promised is not None and self._content.has(promised):
            return promised, self._content.size(promised)
        if path.startswith(("../", "/")) or not self.has(path):
            raise InvalidDocument(f"the directory has no file {path[:200]!a}, which its list names")
        with os.fdopen(self._root.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file, self._content.writer(expected=promised) as blob:
            while piece := file.read(_PIECE):
                blob.write(piece)
        return blob.digest, blob.size


def _promised(path: str) -> Digest | None:
    """Return the digest that a path of an image layout promises."""
    parts = path.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    return Digest(f"{parts[1]}:{parts[2]}")


def document(content: ContentStore, found: tuple[Digest, int], what: str) -> bytes:
    """Return a small file's bytes; InvalidDocument when it is too long for one."""
    if found[1] > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(f"the archive's {what} has {found[1]} bytes, more than the {MAX_DOCUMENT_BYTES} allowed")
    return content.read(found[0])


def blob_path(digest: Digest) -> str:
    """Return where an image layout keeps a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"
