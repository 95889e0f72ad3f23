"""Push: an image of the store to a registry.

Layers that are plain tars here are sent compressed, and the store remembers as what: the next push finds out by digest alone that a
registry has a layer, and the manifest is the same each time. Everything else is sent byte for byte. What another repository of the same
registry has is mounted instead of sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import BinaryIO, Literal, TypeAlias

from notebook_containers.errors import InvalidArgument, RegistryError
from notebook_containers.lean import replace
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.oci.image import INDEX, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, MANIFEST, Descriptor, Digest, Index, Platform
from notebook_containers.oci.platforms import parse_platform
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.ahead import ahead
from notebook_containers.registry.attended import attended, side_by_side
from notebook_containers.registry.client import Client
from notebook_containers.registry.progress import Meter, Report, TransferDone, TransferNote, TransferStarted, silent
from notebook_containers.registry.pull import parse_index
from notebook_containers.registry.settings import Settings
from notebook_containers.registry.upload import Upload, mount, push_manifest
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.packing import LEVELS, packed
from notebook_containers.store.store import Store

Compression: TypeAlias = Literal["gzip", "zstd", "none"]
KINDS: dict[str, str] = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "none": LAYER_TAR}
_PARALLEL = 3
_CHUNK = 1024 * 1024
_MOST_MOUNTS = 2


def push(
    store: Store,
    reference: Reference,
    report: Report = silent,
    *,
    compression: str = "gzip",
    level: int | None = None,
    platform: Platform | None = None,
    settings: Settings | None = None,
) -> Digest:
    """Send what has this name to the registry in the name, and return the digest that it has there.

    A name that is here for several platforms is sent as a whole: each image, then the index of them; with ``platform`` that image alone.
    Raises ImageNotFound, RegistryError (refused, not there), InvalidArgument for an unknown compression.
    ``level`` is that of new layers: see :func:`.packing.packed`.
    """
    reference = reference.tagged()
    if compression not in KINDS:
        raise InvalidArgument(f"compression {compression!r} is unknown", hint=f"use {', '.join(KINDS)}")
    if level is not None and level not in (levels := LEVELS.get(compression, range(0))):
        hint = f"{compression} has {levels[0]} to {levels[-1]}" if levels else "leave it out: nothing is compressed"
        raise InvalidArgument(f"compression level {level} is none", hint=hint)
    name = reference.familiar()
    found = store.images.variants(name) if platform is None else ()
    image = store.images.for_platform(name, platform)
    with Client(reference.registry, settings=settings or Settings.read(store.root)) as client, store.lease():
        work = _Push(store, client, reference, report, kind=KINDS[compression], level=level)
        if len(found) > 1:
            images = {each.platform: store.images.get(each.image) for each in found}
            return attended(lambda: work.run_all(images, found[0].top), work.cut, name="nbc-push")
        digest = attended(lambda: work.run(image, reference.tag or reference.digest).digest, work.cut, name="nbc-push")
        store.images.add_digest(image.id, replace(reference, tag="", digest=str(digest)))
        return digest


class _Push:
    def __init__(self, store: Store, client: Client, reference: Reference, report: Report, *, kind: str, level: int | None) -> None:
        self._store, self._client, self._reference, self._report, self._kind = store, client, reference, report, kind
        self._level = level
        self._repository = reference.repository
        self._stop = threading.Event()
        self._changed = False

    def cut(self) -> None:
        """End every request and every compression."""
        self._stop.set()
        self._client.transport.cut()

    def run_all(self, images: Mapping[str, ImageRecord], top: str) -> Digest:
        """Send the images of an index, by platform, and the index itself: as it came, where all of it is here unchanged."""
        entries = [replace(self.run(image, ""), platform=parse_platform(platform)) for platform, image in images.items()]
        data = self._store.content.read(Digest(top)) if top else b""
        left_out = _others(data, entries)
        if not data or left_out:
            data = Index(schema_version=2, media_type=INDEX, manifests=tuple(entries)).to_bytes()
        if left_out:
            self._report(
                TransferNote(message=f"another index is pushed than was pulled: {left_out} of its entries are not here as they were")
            )
        kind = Index.from_json(untrusted_json(data, what="index")).media_type or INDEX
        digest = push_manifest(self._client, self._repository, self._reference.tag or self._reference.digest, data, kind)
        named = replace(self._reference, tag="", digest=str(digest))
        for image in images.values():
            self._store.images.add_variant(image.id, named, data)
        self._report(TransferDone(name=self._reference.familiar(), manifest=digest, changed=self._changed))
        return digest

    def run(self, image: ImageRecord, place: str) -> Descriptor:
        """Send one image, under a tag or digest, or under its own digest where ``place`` is empty; return what it is in the registry."""
        manifest, name = image.manifest, self._reference.familiar()
        data, kind = self._store.content.read(image.manifest_digest), manifest.media_type or MANIFEST
        parts = dict(zip(image.diff_ids, manifest.layers, strict=True))
        meters = {diff_id: Meter(self._report, diff_id, self._store.layers.get(diff_id).size) for diff_id in parts}
        blobs = tuple((diff_id, meter.total) for diff_id, meter in meters.items())
        self._report(TransferStarted(name=name, direction="push", manifest=image.manifest_digest, blobs=blobs))
        for meter in meters.values():
            meter.phase("waiting")
        tasks = [lambda: self._config(manifest.config), *(self._task(diff_id, blob, meters[diff_id]) for diff_id, blob in parts.items())]
        _, *found = side_by_side(tasks, most=_PARALLEL, cut=self.cut, name="nbc-layer")
        sent = dict(zip(parts, found, strict=True))
        layers = tuple(sent[diff_id] for diff_id in image.diff_ids)
        if layers != manifest.layers:
            data, kind = replace(manifest, layers=layers, media_type=MANIFEST).to_bytes(), MANIFEST
        digest = push_manifest(self._client, self._repository, place or Digest.of(data), data, kind)
        if place:
            self._report(TransferDone(name=name, manifest=digest, changed=self._changed))
        return Descriptor(media_type=kind, digest=digest, size=len(data))

    def _config(self, config: Descriptor) -> Descriptor:
        self._send_blob(config, Meter(silent, config.digest, config.size))
        return config

    def _task(self, diff_id: Digest, blob: Descriptor, meter: Meter) -> Callable[[], Descriptor]:
        return lambda: self._layer(diff_id, blob, meter)

    def _layer(self, diff_id: Digest, blob: Descriptor, meter: Meter) -> Descriptor:
        """Have the layer in the registry, and return what it is there."""
        if blob.digest != diff_id and self._store.content.has(blob.digest):
            self._send_blob(blob, meter, diff_id)
            return blob
        if self._kind == LAYER_TAR:
            plain = Descriptor(media_type=LAYER_TAR, digest=diff_id, size=self._store.layers.get(diff_id).size)
            self._send_layer(diff_id, plain, meter)
            return plain
        before = self._store.layers.packed(diff_id, self._kind) if self._level is None else None
        if before is not None and self._is_there(before, meter, diff_id):
            return before
        return self._send_layer(diff_id, before, meter)

    def _send_layer(self, diff_id: Digest, known: Descriptor | None, meter: Meter) -> Descriptor:
        """Compress and send at once; the digest is known when all of it is there."""
        if self._kind == LAYER_TAR and known is not None and self._is_there(known, meter, diff_id):
            return known
        self._changed = True
        meter.phase("uploading", done=0)
        upload = Upload(self._client, self._repository, f"layer {diff_id.short}")
        digest, size = upload.send(lambda: ahead(self._packed(diff_id, meter)))
        found = Descriptor(media_type=self._kind, digest=digest, size=size)
        if self._kind != LAYER_TAR and self._level is None:
            self._store.layers.remember_packed(diff_id, found)
        meter.phase("done", done=meter.total, sent_as=digest)
        return found

    def _packed(self, diff_id: Digest, meter: Meter) -> Generator[bytes, None, None]:
        def pieces(tar: BinaryIO) -> Iterator[bytes]:
            while piece := tar.read(_CHUNK):
                self._check()
                meter.add(len(piece))
                yield piece

        with self._store.layers.open_tar(diff_id) as tar:
            yield from packed(pieces(tar), {LAYER_GZIP: "gzip", LAYER_ZSTD: "zstd"}.get(self._kind, ""), self._level)

    def _send_blob(self, blob: Descriptor, meter: Meter, diff_id: Digest | None = None) -> None:
        """Have a blob of the store in the registry, byte for byte."""
        if self._is_there(blob, meter, diff_id):
            return
        self._changed = True
        meter.total = blob.size
        meter.phase("uploading", done=0, sent_as=blob.digest)
        upload = Upload(self._client, self._repository, f"blob {blob.digest.short}", sent=meter.add)
        upload.send(lambda: self._bytes(self._store.content.open(blob.digest)), expected=blob.digest)
        meter.phase("done", done=blob.size, sent_as=blob.digest)

    def _bytes(self, file: BinaryIO) -> Iterator[bytes]:
        with closing(file):
            while piece := file.read(_CHUNK):
                self._check()
                yield piece

    def _is_there(self, blob: Descriptor, meter: Meter, diff_id: Digest | None) -> bool:
        """Tell whether the repository has the blob, or can be given it from a neighbour."""
        if self._client.has_blob(self._repository, blob.digest, push=True):
            meter.phase("exists", done=meter.total, sent_as=blob.digest)
            return True
        for source in self._neighbours(diff_id) if diff_id is not None else ():
            if self._mounted(blob.digest, source):
                self._changed = True
                meter.phase("mounted", done=meter.total, sent_as=blob.digest)
                return True
        return False

    def _mounted(self, digest: Digest, source: str) -> bool:
        try:
            return mount(self._client, self._repository, digest, source)
        except RegistryError:
            self._check()
            return False  # a neighbour that we may not read: then it is sent

    def _neighbours(self, diff_id: Digest) -> list[str]:
        """Return other repositories of the registry that an image with this layer has come from or gone to."""
        found: dict[str, None] = {}
        for image in self._store.images.list():
            if image.digests and diff_id in image.diff_ids:
                names = [Reference.parse(name) for name in image.digests]
                found |= {n.repository: None for n in names if n.registry == self._reference.registry and n.repository != self._repository}
        return list(found)[:_MOST_MOUNTS]

    def _check(self) -> None:
        if self._stop.is_set():
            raise RegistryError(f"the push of {self._reference.familiar()} was stopped")


def _others(index: bytes, here: Sequence[Descriptor]) -> int:
    """Return how many entries of an index are not among these."""
    digests = {entry.digest for entry in here}
    return sum(entry.digest not in digests for entry in parse_index(index, "the name").manifests) if index else 0
