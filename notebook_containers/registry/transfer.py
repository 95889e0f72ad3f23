"""Pull and push: images between a registry and the store.

A pull makes the image visible by its last step, the record; what an interrupted pull has fetched stays, unreferenced, for the next
try until a collection. A push sends layers that are plain tars here as gzip, and everything else byte for byte.
"""

from __future__ import annotations

import hashlib
import platform as machine
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

from notebook_containers.errors import Corrupt, InvalidDocument, RegistryError
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.documents import MAX_DOCUMENT_BYTES, untrusted_json
from notebook_containers.oci.image import (
    DOCKER_INDEX,
    INDEX,
    LAYER_GZIP,
    LAYER_TYPES,
    MANIFEST,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Platform,
)
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.client import Client, Fetched
from notebook_containers.registry.transport import TRY_AGAIN
from notebook_containers.store.images import ImageRecord, parse_config, parse_manifest
from notebook_containers.store.store import Store

_MAX_INDEX_ENTRIES = 1000
_PARALLEL = 3
_ATTEMPTS = 3
_CHUNK = 1024 * 1024
_GZIP_LEVEL = 5
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64", "ppc64le": "ppc64le"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of a transfer, in bytes: ``phase`` is ``fetch``, ``unpack``, ``compress``, ``send``, ``exists`` or ``done``."""

    digest: Digest
    phase: str
    done: int
    total: int


# called from several threads at once
Report = Callable[[Progress], None]


def host_platform() -> Platform:
    """Return the platform of this machine, in Go's names."""
    name = machine.machine()
    return Platform(architecture=_ARCHITECTURES.get(name, name))


def pull(store: Store, reference: Reference, platform: Platform | None = None, progress: Report = lambda _: None) -> ImageRecord:
    """Bring an image into the store and give it its name; blobs and layers that are here are not fetched again.

    Raises RegistryError (not there, refused, wrong bytes), InvalidDocument (not an image), DiskFull; then no image is recorded.
    """
    reference = reference.tagged()
    with Client(reference.registry) as client, store.lease():
        top = client.manifest(reference.repository, reference.digest or reference.tag)
        fetched = _choose(client, reference.repository, top, platform or host_platform())
        manifest = parse_manifest(fetched.data)
        _Pull(store, client, reference.repository, progress).run(manifest)
        names = [replace(reference, tag="", digest=str(top.digest))]
        if not reference.digest:
            names.insert(0, reference)
        return store.images.put_manifest(fetched.data, tags=names)


def push(store: Store, reference: Reference, progress: Report = lambda _: None) -> Digest:
    """Send the image that has this name to the registry in the name, and return the digest of its manifest there.

    Raises ImageNotFound, RegistryError (refused, not there).
    """
    reference = reference.tagged()
    image = store.images.resolve(reference.familiar())
    with Client(reference.registry) as client, store.lease():
        digest = _Push(store, client, reference.repository, progress).run(image, reference.tag or reference.digest)
        store.images.add_digest(image.id, replace(reference, tag="", digest=str(digest)))
        return digest


class _Pull:
    def __init__(self, store: Store, client: Client, repository: str, progress: Report) -> None:
        self._store, self._client, self._repository, self._progress = store, client, repository, progress
        self._stop = threading.Event()

    def run(self, manifest: Manifest) -> None:
        _check_parts(manifest)
        self._fetch(manifest.config)
        config = parse_config(self._store.content.read(manifest.config.digest))
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidDocument(f"image {self._repository} has {len(manifest.layers)} layers and its config names {len(diff_ids)}")
        parts = dict(zip(diff_ids, manifest.layers, strict=True))
        with ThreadPoolExecutor(max_workers=_PARALLEL, thread_name_prefix="nbc-pull") as pool:
            futures = [pool.submit(self._layer, diff_id, blob) for diff_id, blob in parts.items()]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                # one layer's failure, or the user's interrupt, ends the others at their next piece
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _layer(self, diff_id: Digest, blob: Descriptor) -> None:
        if self._store.layers.has(diff_id):
            self._progress(Progress(digest=blob.digest, phase="exists", done=blob.size, total=blob.size))
            return
        self._fetch(blob)
        self._progress(Progress(digest=blob.digest, phase="unpack", done=0, total=blob.size))
        self._store.layers.apply_blob(blob, expected=diff_id)
        self._progress(Progress(digest=blob.digest, phase="done", done=blob.size, total=blob.size))

    def _fetch(self, blob: Descriptor) -> None:
        if self._store.content.has(blob.digest) and self._store.content.size(blob.digest) == blob.size:
            return
        for attempt in range(_ATTEMPTS):
            try:
                self._fetch_once(blob)
                return
            except RegistryError as err:
                # a broken connection may be better the next time; refusals and lies are not
                if attempt == _ATTEMPTS - 1 or err.hint != TRY_AGAIN:
                    raise

    def _fetch_once(self, blob: Descriptor) -> None:
        done = 0
        try:
            with self._store.content.writer(expected=blob.digest, size=blob.size) as writer:
                for piece in self._client.blob(self._repository, blob):
                    if self._stop.is_set():
                        raise RegistryError(f"the pull of {self._repository} was stopped")
                    done += writer.write(piece)
                    self._progress(Progress(digest=blob.digest, phase="fetch", done=done, total=blob.size))
        except Corrupt as err:
            hint = "the registry, or a proxy before it, is broken"
            raise RegistryError(f"registry {self._client.registry} sent wrong bytes: {err}", hint=hint) from err


class _Push:
    def __init__(self, store: Store, client: Client, repository: str, progress: Report) -> None:
        self._store, self._client, self._repository, self._progress = store, client, repository, progress

    def run(self, image: ImageRecord, name: str) -> Digest:
        manifest = image.manifest
        data, kind = self._store.content.read(image.manifest_digest), manifest.media_type or MANIFEST
        with ThreadPoolExecutor(max_workers=_PARALLEL, thread_name_prefix="nbc-push") as pool:
            parts = dict(zip(image.diff_ids, manifest.layers, strict=True))
            sent = {diff_id: pool.submit(self._layer, blob, diff_id) for diff_id, blob in parts.items()}
            layers = tuple(sent[diff_id].result() for diff_id in image.diff_ids)
        with self._store.content.open(manifest.config.digest) as body:
            self._send(manifest.config, body)
        if layers != manifest.layers:
            data, kind = replace(manifest, layers=layers, media_type=MANIFEST).to_bytes(), MANIFEST
        return self._client.push_manifest(self._repository, name, data, kind)

    def _layer(self, blob: Descriptor, diff_id: Digest) -> Descriptor:
        if blob.digest != diff_id and self._store.content.has(blob.digest):
            with self._store.content.open(blob.digest) as body:
                self._send(blob, body)
            return blob
        with self._store.layers.open_tar(diff_id) as tar, self._compressed(tar, diff_id) as (sent, body):
            self._send(sent, body)
            return sent

    def _send(self, blob: Descriptor, body: BinaryIO) -> None:
        if self._client.has_blob(self._repository, blob.digest):
            self._progress(Progress(digest=blob.digest, phase="exists", done=blob.size, total=blob.size))
            return
        self._progress(Progress(digest=blob.digest, phase="send", done=0, total=blob.size))
        self._client.push_blob(self._repository, blob.digest, blob.size, body)
        self._progress(Progress(digest=blob.digest, phase="done", done=blob.size, total=blob.size))

    @contextmanager
    def _compressed(self, tar: BinaryIO, diff_id: Digest) -> Iterator[tuple[Descriptor, BinaryIO]]:
        """Yield the layer as gzip in an unnamed file; the same tar always gives the same bytes (no time, no name in the header)."""
        total = self._store.layers.get(diff_id).size
        with tempfile.TemporaryFile(dir=self._store.disk.staging) as file:
            digest, done = hashlib.sha256(), 0
            packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
            while piece := tar.read(_CHUNK):
                done += len(piece)
                _put(file, digest, packer.compress(piece))
                self._progress(Progress(digest=diff_id, phase="compress", done=done, total=total))
            _put(file, digest, packer.flush())
            found = Digest(f"sha256:{digest.hexdigest()}")
            yield Descriptor(media_type=LAYER_GZIP, digest=found, size=file.tell()), cast("BinaryIO", file)


def _put(file: IO[bytes], digest: hashlib._Hash, data: bytes) -> None:
    file.write(data)
    digest.update(data)


def _choose(client: Client, repository: str, fetched: Fetched, platform: Platform) -> Fetched:
    """Follow one index to the manifest for the platform; an index in an index is refused."""
    if fetched.media_type not in (INDEX, DOCKER_INDEX):
        return fetched
    raw = untrusted_json(fetched.data, what=f"the index of {repository}")
    if "layers" in raw or "config" in raw:
        raise InvalidDocument(f"the index of {repository} has layers too: it is made to be read both ways")
    index = Index.from_json(raw)
    if len(index.manifests) > _MAX_INDEX_ENTRIES:
        raise InvalidDocument(f"the index of {repository} has {len(index.manifests)} entries, more than the {_MAX_INDEX_ENTRIES} allowed")
    entry = _entry(index, repository, platform)
    chosen = client.manifest(repository, entry.digest)
    if chosen.media_type in (INDEX, DOCKER_INDEX):
        raise InvalidDocument(f"the index of {repository} leads to another index")
    return chosen


def _entry(index: Index, repository: str, platform: Platform) -> Descriptor:
    known = [entry for entry in index.manifests if entry.platform is not None and entry.platform.architecture != "unknown"]
    fitting = [e for e in known if e.platform is not None and _fits(e.platform, platform)]
    if fitting:
        return fitting[0]
    names = sorted({_name(entry.platform) for entry in known if entry.platform is not None})
    raise RegistryError(
        f"image {repository} does not exist for {_name(platform)}", hint=f"it exists for {', '.join(names[:20]) or 'nothing'}"
    )


def _fits(offered: Platform, wanted: Platform) -> bool:
    same = (offered.os, offered.architecture) == (wanted.os, wanted.architecture)
    return same and (not wanted.variant or offered.variant == wanted.variant)


def _name(platform: Platform) -> str:
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def _check_parts(manifest: Manifest) -> None:
    if manifest.config.size > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(f"the image's config is {manifest.config.size} bytes, more than the {MAX_DOCUMENT_BYTES} allowed")
    for blob in (manifest.config, *manifest.layers):
        if blob.size < 0:
            raise InvalidDocument(f"blob {blob.digest.short} has a negative size")
    for layer in manifest.layers:
        if layer.media_type not in LAYER_TYPES:
            raise InvalidDocument(f"layer {layer.digest.short} is of a kind that cannot be unpacked: {layer.media_type[:80]!r}")
