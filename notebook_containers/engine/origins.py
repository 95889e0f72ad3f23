"""Where images can be had again: from the registries they were pulled from, and base images from this machine's own files."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from notebook_containers.engine.bases import BASES
from notebook_containers.engine.bases.image import make
from notebook_containers.errors import Corrupt, StoreError
from notebook_containers.oci.image import LAYER_TAR, Descriptor
from notebook_containers.registry.refetch import Registries
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from notebook_containers.store.content import BlobWriter


class Origins:
    """The :class:`~notebook_containers.store.repair.Source` of a store's repair."""

    def __init__(self, store: Store) -> None:
        self._store, self._registries = store, Registries(store=store)

    def blob(self, image: ImageRecord, blob: Descriptor) -> None:
        """Make a base image's layer again when this machine still gives the same bytes, else fetch the blob; raises an Error."""
        if self._made_again(blob):
            return
        self._registries.blob(image, blob)

    def manifest(self, image: ImageRecord) -> None:
        """Fetch the manifest."""
        self._registries.manifest(image)

    def _made_again(self, blob: Descriptor) -> bool:
        sources = [source for name in BASES for source in make(name).layers] if blob.media_type == LAYER_TAR else []
        for source in sources:
            with suppress(Corrupt, StoreError), self._store.content.writer(expected=blob.digest, size=blob.size, replace=True) as writer:
                source.write(cast("BinaryIO", _Into(writer)))
                return True
        return False


class _Into(io.RawIOBase):
    """A blob as the file that a tar is written to."""

    def __init__(self, writer: BlobWriter) -> None:
        super().__init__()
        self._writer = writer

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Append bytes."""
        return self._writer.write(memoryview(data))
