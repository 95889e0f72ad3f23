"""Layers: a tar diff, the tree unpacked from it, and the record that says both are whole.

Keyed by diff_id, so identical diffs are one object on disk whatever lies below them. A tree appears by one rename, after everything in
it is on the disk (``syncfs``); the record follows. What a dead process leaves lies in the store's staging directory.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from notebook_containers.errors import Corrupt, DiskFull, InvalidDocument, StoreError
from notebook_containers.lean import dataclass
from notebook_containers.linux import syscalls
from notebook_containers.oci.image import LAYER_TAR, Descriptor, Digest
from notebook_containers.store.content import ContentStore
from notebook_containers.store.disk import translated
from notebook_containers.store.failpoints import fp
from notebook_containers.store.fullness import HINT, disk_full
from notebook_containers.store.records import Records

if TYPE_CHECKING:
    from notebook_containers.store.pump import Tee
    from notebook_containers.store.tar_reader import Readable
    from notebook_containers.store.trees import Trees
    from notebook_containers.store.unpack import Unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer on disk. ``size`` is the uncompressed tar's bytes; ``tree`` an overlay lower directory; ``root`` the (mode, uid, gid) that
    the diff gives ``/``, if it does; ``warnings`` what could not be kept.
    """

    diff_id: Digest
    blob: Descriptor
    size: int
    tree: Path
    root: tuple[int, int, int] | None = None
    warnings: tuple[str, ...] = ()


class LayerStore:
    """All layers; thread-safe, and safe for several processes at once. Hold the store's lease until something refers to a new layer."""

    def __init__(self, root: Path, content: ContentStore, records: Records, trees: Trees) -> None:
        self._root, self.content, self._records, self.trees = root, content, records, trees
        self._known: dict[Digest, tuple[str, Layer]] = {}
        self.disk = content.disk
        self.rootless = os.geteuid() != 0

    def has(self, diff_id: Digest) -> bool:
        """Say whether the layer is here, whole."""
        return self._records.layer(diff_id) is not None

    def get(self, diff_id: Digest) -> Layer:
        """Return a layer; raises StoreError when it is not here."""
        document = self._records.layer(diff_id)
        if document is None:
            raise StoreError(f"layer {diff_id.short} is not in the store", hint="build or pull the image again")
        return self._layer(diff_id, document)

    def get_all(self, diff_ids: Sequence[Digest]) -> Sequence[Layer]:
        """Return these layers in their order, by one look at the records; raises StoreError for the first that is not here."""
        documents = self._records.layers_of(diff_ids)
        for diff_id in diff_ids:
            if diff_id not in documents:
                self.get(diff_id)
        return [self._layer(diff_id, documents[diff_id]) for diff_id in diff_ids]

    def list(self) -> list[Layer]:
        """Return every layer."""
        return [self._layer(diff_id, document) for diff_id, document in self._records.layers()]

    def remove(self, diff_id: Digest) -> None:
        """Take the record and the tree away (not the blob); nothing happens when there is none. Only for what nothing refers to."""
        self._records.remove_layer(diff_id)
        self.disk.discard(self.directory(diff_id))

    def remove_orphan(self, name: str) -> None:
        """Take a directory below ``layers/`` away that has no record."""
        self.disk.discard(self._root / "layers" / name)

    def directory(self, diff_id: Digest) -> Path:
        """Return the directory that holds the layer's tree as ``diff``."""
        return self._root / "layers" / diff_id.hex

    def apply(self, stream: Readable, *, expected: Digest | None = None) -> Layer:
        """Make a layer of an uncompressed tar stream: blob, tree and record in one pass; a layer that is here already is returned.

        With ``expected`` nothing is read when that layer is here, and Corrupt is raised when the bytes are others. InvalidDocument for an
        archive that is no clean layer; nothing of it remains.
        """
        if expected is not None and self.has(expected):
            return self.get(expected)
        from notebook_containers.store.flushing import Flushing
        from notebook_containers.store.pump import Pump, Tee

        with self.disk.lease(), self.staged() as directory:
            with self.content.writer(expected=expected) as blob, Flushing(directory) as flushing, Pump(flushing.after(blob.write)) as pump:
                unpacked = self._unpack(Tee(stream, pump), directory)
            descriptor = Descriptor(media_type=LAYER_TAR, digest=blob.digest, size=blob.size)
            return self.publish(directory, blob.digest, descriptor, blob.size, root=unpacked.root, warnings=unpacked.warnings)

    def apply_stream(self, source: Readable, blob: Descriptor, *, expected: Digest) -> Layer:
        """Make a layer of a blob (tar, gzip, zstd) while it arrives: kept, verified, decompressed, unpacked and digested in one pass.

        A layer that is here already is returned, and ``source`` is not read. Everything is private until all is whole and verified; the
        memory needed does not grow with the layer. Corrupt when the blob is not what its descriptor says, or its uncompressed digest
        is not ``expected``; InvalidDocument for an archive that is no clean layer; whatever ``source`` raises. Nothing remains then.
        """
        if self.has(expected):
            return self.get(expected)
        from notebook_containers.store.pump import Pump, Tee

        with self.disk.lease(), self.staged() as directory:
            with self.content.writer(expected=blob.digest, size=blob.size) as file, Pump(file.write) as arriving:
                arrived = Tee(source, arriving)
                try:
                    unpacked, size = self._unpack_blob(arrived, blob, expected, directory)
                except (InvalidDocument, Corrupt):
                    arrived.finish()
                    arriving.finish()
                    file.verify()  # wrong bytes are the cause of whatever they led to
                    raise
            return self.publish(directory, expected, blob, size, root=unpacked.root, warnings=unpacked.warnings)

    def apply_blob(self, blob: Descriptor, *, expected: Digest) -> Layer:
        """Make a layer of a blob in the content store (tar, gzip, zstd); Corrupt when its uncompressed digest is not ``expected``."""
        if self.has(expected):
            return self.get(expected)
        with self.disk.lease(), self.staged() as directory:
            with self.content.open(blob.digest) as file:
                unpacked, size = self._unpack_blob(file, blob, expected, directory)
            return self.publish(directory, expected, blob, size, root=unpacked.root, warnings=unpacked.warnings)

    def rebuild(self, diff_id: Digest) -> Layer:
        """Unpack the layer's blob again in place of its tree; Corrupt when the blob is not what it should be, and the tree stays.

        Nobody may have the tree mounted. Killed in the middle it can be done again.
        """
        blob = self.get(diff_id).blob
        with self.disk.lease(), self.staged() as directory:
            with self.content.open(blob.digest) as file:
                unpacked, size = self._unpack_blob(file, blob, diff_id, directory)
            self.disk.discard(self.directory(diff_id))
            return self.publish(directory, diff_id, blob, size, root=unpacked.root, warnings=unpacked.warnings)

    def repack(self, layer: Layer) -> None:
        """Pack the blob of a layer that was packed here again from its tree; Corrupt when other bytes come out, and nothing changes."""
        from notebook_containers.store.trees import PackRequest

        with translated(layer.tree):
            top = self.trees.find([layer.tree], "", "")
        mode, uid, gid, _ = top or (0, 0, 0, "")
        # a root that the layer gives is in its archive: then it must differ from what is said to be below
        below = (stat.S_IMODE(mode), uid, gid) if layer.root is None else (-1, -1, -1)
        order = PackRequest(upper=layer.tree, below=(), root=below)
        with self.content.writer(expected=layer.blob.digest, size=layer.blob.size, replace=True) as blob, translated(layer.tree):
            self.trees.pack(order, blob.write)

    def differences(self, layer: Layer) -> Sequence[str]:
        """Compare the layer's tree with its blob, file by file; return what differs, in words. Raises for a blob that cannot be read."""
        from notebook_containers.store.compression import uncompressed
        from notebook_containers.store.pump import Pump, Tee

        digest = hashlib.new(layer.diff_id.algorithm)
        with uncompressed(self.content.open(layer.blob.digest)) as stream, Pump(digest.update) as pump, translated(layer.tree):
            found = self.trees.compare(Tee(stream, pump), layer.tree, lenient=bool(layer.warnings))
        if digest.hexdigest() != layer.diff_id.hex:
            return [f"its archive is another one ({digest.hexdigest()[:12]})", *found]
        return found

    def packed(self, diff_id: Digest, media_type: str) -> Descriptor | None:
        """Return as what of this type the layer was last sent to a registry, if it was."""
        found = json.loads(self._records.layer(diff_id) or "{}").get("packed", {}).get(media_type)
        return Descriptor.from_json(found) if found else None

    def remember_packed(self, diff_id: Digest, packed: Descriptor) -> None:
        """Note as what the layer was sent, compressed; nothing happens when the layer is gone. The bytes are not kept."""
        with self._records.transaction():
            document = json.loads(self._records.layer(diff_id) or "{}")
            if document:
                document["packed"] = {**document.get("packed", {}), packed.media_type: packed.to_json()}
                self._records.add_layer(diff_id, json.dumps(document))

    def open_tar(self, diff_id: Digest) -> BinaryIO:
        """Open the layer's uncompressed tar for reading; the caller closes it."""
        from notebook_containers.store.compression import uncompressed

        return uncompressed(self.content.open(self.get(diff_id).blob.digest))

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """Yield a private directory in the store's staging; what is left of it at the end is deleted. Hold a lease around it."""
        directory = self.disk.staged_path()
        with translated(directory):
            os.mkdir(directory, 0o700)
        try:
            yield directory
        finally:
            with suppress(OSError):
                self.disk.discard(directory)

    def publish(
        self,
        directory: Path,
        diff_id: Digest,
        blob: Descriptor,
        size: int,
        *,
        root: tuple[int, int, int] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> Layer:
        """Make a staged directory with a complete ``diff`` the layer's own, unless the layer has one already; return the layer."""
        with translated(directory):
            fp("layers.publish.before_sync")
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syscalls.syncfs(fd)
            finally:
                os.close(fd)
            fp("layers.publish.before_rename")
            self.disk.publish(directory, self.directory(diff_id))
            fp("layers.publish.before_record")
        document = {"blob": blob.to_json(), "size": size, "root": root, "warnings": warnings}
        self._records.add_layer(diff_id, json.dumps(document))
        fp("layers.publish.after_record")
        return self.get(diff_id)

    def _unpack_blob(self, source: Readable, blob: Descriptor, expected: Digest, directory: Path) -> tuple[Unpacked, int]:
        """Decompress, unpack and digest; return what was unpacked and the uncompressed size."""
        from notebook_containers.store.compression import uncompressed
        from notebook_containers.store.flushing import Flushing
        from notebook_containers.store.pump import Pump, Tee

        digest, size = hashlib.new(expected.algorithm), 0

        def count(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            digest.update(piece)

        with Flushing(directory) as flushing, Pump(flushing.after(count)) as pump:
            unpacked = self._unpack(Tee(uncompressed(source), pump), directory)
        if digest.hexdigest() != expected.hex:
            found = digest.hexdigest()[:12]
            raise Corrupt(f"blob {blob.digest.short} is not the layer {expected.short}: its uncompressed digest is {found}")
        return unpacked, size

    def _unpack(self, stream: Tee, directory: Path) -> Unpacked:
        from notebook_containers.store.bounds import bounded

        with translated(directory):
            try:
                return self.trees.unpack(bounded(stream), directory)
            except DiskFull as err:  # the reader counts what the archive announces, and knows no store
                raise DiskFull(f"{disk_full(errno.ENOSPC, str(directory)).message}; {err.message}", hint=HINT) from err

    def _layer(self, diff_id: Digest, document: str) -> Layer:
        """Return what a record says; one that says what it said before is not read again: a step on 120 layers asks for all of them."""
        known = self._known.get(diff_id)
        if known is None or known[0] != document:
            known = self._known[diff_id] = (document, self._read(diff_id, document))
        return known[1]

    def _read(self, diff_id: Digest, document: str) -> Layer:
        found = json.loads(document)
        root = found.get("root")
        return Layer(
            diff_id=diff_id,
            blob=Descriptor.from_json(found["blob"]),
            size=found["size"],
            tree=self.directory(diff_id) / "diff",
            root=(root[0], root[1], root[2]) if root else None,
            warnings=tuple(found.get("warnings", ())),
        )
