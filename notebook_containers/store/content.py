"""Blobs by digest: what is visible here is whole, verified and durable (write protocol in :mod:`.disk`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from notebook_containers.errors import Corrupt, InvalidDocument, StoreError
from notebook_containers.oci.documents import MAX_DOCUMENT_BYTES
from notebook_containers.oci.image import Digest
from notebook_containers.store.disk import Disk, store_error, translated
from notebook_containers.store.failpoints import fp

_BUFFER = 1024 * 1024


class BlobWriter:
    """Takes the bytes of one blob; after its ``with`` block ended well, ``digest`` and ``size`` are those of the published blob."""

    def __init__(self, file: BinaryIO, *, path: Path, expected: Digest | None, limit: int | None) -> None:
        self._file, self._path, self._limit, self._expected = file, path, limit, expected
        self._name = f"blob {expected or ''}".rstrip()
        self._hash = hashlib.new(expected.algorithm if expected else "sha256")
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes; raises Corrupt as soon as more than the announced size arrive, DiskFull or StoreError from the disk."""
        self.size += len(data)
        if self._limit is not None and self.size > self._limit:
            raise Corrupt(f"{self._name} is longer than the {self._limit} bytes announced")
        self._hash.update(data)
        try:
            self._file.write(data)
        except OSError as err:
            raise store_error(err, self._path, missing=(self._limit or self.size) - self.size + len(data)) from err
        return len(data)

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return Digest(f"{self._hash.name}:{self._hash.hexdigest()}")

    def verify(self) -> None:
        """Raise Corrupt unless what was written so far is what was announced."""
        if self._limit is not None and self.size != self._limit:
            raise Corrupt(f"{self._name} has {self.size} bytes, not the {self._limit} announced")
        if self._expected is not None and self.digest != self._expected:
            raise Corrupt(f"{self._name} has the wrong bytes: their digest is {self.digest}")


class ContentStore:
    """``blobs/<algorithm>/<hex>``; thread-safe, and safe for several processes at once."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def path(self, digest: Digest) -> Path:
        """Return where the blob lies or would lie."""
        return self.disk.root / "blobs" / digest.algorithm / digest.hex

    def has(self, digest: Digest) -> bool:
        """Tell whether the blob is there."""
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Return the blob's bytes on disk; raises StoreError when it is missing."""
        try:
            return self.path(digest).stat().st_size
        except OSError as err:
            raise _missing(digest, err, self.path(digest)) from err

    def open(self, digest: Digest) -> BinaryIO:
        """Open the blob for reading (the caller closes it); raises StoreError when it is missing."""
        try:
            return open(self.path(digest), "rb")
        except OSError as err:
            raise _missing(digest, err, self.path(digest)) from err

    def read(self, digest: Digest, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
        """Return a small blob, verified again; raises StoreError when missing or too large, Corrupt when the bytes lie."""
        with self.open(digest) as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise StoreError(f"blob {digest.short} is more than the {max_bytes} bytes allowed here")
        if hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
            raise Corrupt(f"blob {digest} does not have the bytes of its digest", hint="remove the image, then pull or build it again")
        return data

    def write(self, data: bytes) -> Digest:
        """Store bytes under their sha256; idempotent, durable when it returns."""
        digest = Digest.of(data)
        if self._present(digest, len(data)):
            return digest
        with self.writer(expected=digest, size=len(data)) as blob:
            blob.write(data)
        return digest

    @contextmanager
    def writer(self, *, expected: Digest | None = None, size: int | None = None, replace: bool = False) -> Iterator[BlobWriter]:
        """Write one blob of any length; durable when the block has ended, and nothing is visible when it fails.

        With ``replace`` what stands there is known to be damaged, and goes once the new bytes are verified and on the disk.
        Raises Corrupt when the digest or the size are not those announced, DiskFull or StoreError from the disk.
        """
        with self.disk.lease():
            staged = self.disk.staged_path()
            with translated(staged):
                file = _create(staged)
            try:
                blob = BlobWriter(file, path=staged, expected=expected, limit=size)
                yield blob
                blob.verify()
                with translated(staged):
                    self._publish(file, staged, blob, replace=replace)
            finally:
                with suppress(OSError):
                    file.close()
                with suppress(FileNotFoundError):
                    staged.unlink()

    def remove(self, digest: Digest) -> None:
        """Take the blob away; nothing happens when there is none. Only for what nothing references."""
        self.disk.discard(self.path(digest))

    def list(self) -> Iterator[tuple[Digest, int]]:
        """Yield digest and bytes of every blob, in no order; strange file names are passed over."""
        for algorithm in ("sha256", "sha512"):
            with os.scandir(self.disk.root / "blobs" / algorithm) as entries:
                for entry in entries:
                    with suppress(InvalidDocument, FileNotFoundError):
                        yield Digest(f"{algorithm}:{entry.name}"), entry.stat().st_size

    def _present(self, digest: Digest, size: int) -> bool:
        try:
            return self.path(digest).stat().st_size == size
        except OSError:
            return False

    def _publish(self, file: BinaryIO, staged: Path, blob: BlobWriter, *, replace: bool) -> None:
        final = self.path(blob.digest)
        file.flush()
        fp("content.write.before_fsync")
        os.fsync(file.fileno())
        fp("content.write.after_fsync")
        if not self.disk.publish(staged, final) and (replace or not self._present(blob.digest, blob.size)):
            # what is there is damaged (cut off or grown, or said to be): the bytes just verified take its place
            self.disk.discard(final)
            self.disk.publish(staged, final)


def _create(path: Path) -> BinaryIO:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, 0o600)
    return open(fd, "wb", buffering=_BUFFER)


def _missing(digest: Digest, err: OSError, path: Path) -> StoreError:
    if isinstance(err, FileNotFoundError):
        return StoreError(f"blob {digest} is not in the store", hint="pull or build the image again")
    error = store_error(err, path)
    return error if isinstance(error, StoreError) else StoreError(str(error))
