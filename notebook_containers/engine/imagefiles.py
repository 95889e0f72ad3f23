"""Images as files: ``save`` and ``load`` (docker's archive and the OCI layout in one), ``import`` (a tar becomes a layer).

``save`` writes what docker 25 and later write: an OCI image layout with docker's ``manifest.json`` beside it, so skopeo reads it as
docker-archive and as oci-archive. Source: moby's image/tarexport; image-spec image-layout.md.
"""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from notebook_containers.build.platforms import host_platform
from notebook_containers.engine.commit import apply_changes
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.errors import Corrupt, InvalidDocument, InvalidReference
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.documents import JSON, MAX_DOCUMENT_BYTES, untrusted_json
from notebook_containers.oci.image import (
    CONFIG,
    INDEX,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_ZSTD,
    MANIFEST,
    ContainerConfig,
    Descriptor,
    Digest,
    History,
    ImageConfig,
    Index,
    Manifest,
)
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord, parse_config
from notebook_containers.store.tar_reader import Entry, TarReader
from notebook_containers.store.tar_writer import TarWriter

_PIECE = 1 << 20
_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_MAX_LINKS = 20


# -- save ----------------------------------------------------------------------------------------------------------------------------------


def save(parts: Parts, images: Sequence[tuple[ImageRecord, Sequence[str]]]) -> Iterator[bytes]:
    """Yield an archive of images with the names they are to have; a blob that several have is in it once."""
    pieces: list[bytes] = []
    tar = TarWriter(pieces.append)
    with parts.store.lease():
        written: set[str] = set()
        for record, _names in images:
            for digest in _blobs(record):
                if digest not in written:
                    written.add(digest)
                    yield from _blob(parts, tar, digest, pieces)
        documents: dict[str, object] = {
            "index.json": _index(parts, images).to_json(),
            "manifest.json": [_docker_entry(record, names) for record, names in images],
            "oci-layout": {"imageLayoutVersion": "1.0.0"},
        }
        for name, value in documents.items():
            data = json.dumps(value, separators=(",", ":")).encode()
            tar.add(Entry(name=name, kind="f", size=len(data)))
            tar.data(data)
            tar.pad(len(data))
    tar.close()
    yield b"".join(pieces)


def _blobs(record: ImageRecord) -> list[Digest]:
    return [record.id, record.manifest_digest, *(layer.digest for layer in record.manifest.layers)]


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _blob(parts: Parts, tar: TarWriter, digest: Digest, pieces: list[bytes]) -> Iterator[bytes]:
    size = parts.store.content.size(digest)
    tar.add(Entry(name=_path(digest), kind="f", size=size))
    left = size
    with parts.store.content.open(digest) as file:
        while data := file.read(min(_PIECE, left)):
            left -= len(data)
            tar.data(data)
            yield from pieces
            pieces.clear()
    if left:
        raise Corrupt(f"blob {digest.short} ends too early", hint="check the store: nbc system check")
    tar.pad(size)


def _index(parts: Parts, images: Sequence[tuple[ImageRecord, Sequence[str]]]) -> Index:
    entries: list[Descriptor] = []
    for record, names in images:
        plain = Descriptor(
            media_type=record.manifest.media_type or MANIFEST,
            digest=record.manifest_digest,
            size=parts.store.content.size(record.manifest_digest),
        )
        marks = [{_IMAGE_NAME: str(Reference.parse(n).tagged()), _REF_NAME: Reference.parse(n).tagged().tag} for n in names]
        entries += [replace(plain, annotations=mark) for mark in marks] or [plain]
    return Index(schema_version=2, media_type=INDEX, manifests=tuple(entries))


def _docker_entry(record: ImageRecord, names: Sequence[str]) -> dict[str, JSON]:
    layers: list[JSON] = [_path(layer.digest) for layer in record.manifest.layers]
    return {"Config": _path(record.id), "RepoTags": [*names] or None, "Layers": layers}


# -- load ----------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Archive:
    """What an archive held: small files as bytes, every file as a blob in the store, and links by name."""

    blobs: Mapping[str, tuple[Digest, int]]
    links: Mapping[str, str]
    named: bool = True

    def tags(self, names: Sequence[JSON]) -> list[Reference]:
        """Return the names that its images are given: none when the caller wants none of the archive's."""
        return _references(names) if self.named else []

    def find(self, name: str) -> tuple[Digest, int]:
        """Return the blob of a member; links between members are followed, in the archive only."""
        path = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            if path in self.blobs:
                return self.blobs[path]
            if path not in self.links:
                break
            path = self.links[path]
        raise InvalidDocument(f"the archive has no {name[:200]!a}, which its list names")


def load(parts: Parts, stream: BinaryIO, *, named: bool = True) -> list[ImageRecord]:
    """Read an archive of ``docker save``, ``skopeo copy`` or our own from an uncompressed stream; return its images.

    Every blob is hashed as it comes, and an image is recorded only when its config and layers are what its digests say. InvalidDocument
    for what is no such archive, Corrupt for bytes that lie, DiskFull. Not ``named``: the names in the archive are not taken.
    """
    with parts.store.lease():
        archive = replace(_read(parts, stream), named=named)
        if "manifest.json" in archive.blobs:
            return [_load_docker(parts, archive, entry) for entry in _docker_list(parts, archive)]
        if "index.json" in archive.blobs:
            return _load_oci(parts, archive)
    raise InvalidDocument(
        "the archive holds no image: neither manifest.json nor index.json is in it", hint="for a plain file system use: nbc import"
    )


def _read(parts: Parts, stream: BinaryIO) -> _Archive:
    blobs: dict[str, tuple[Digest, int]] = {}
    links: dict[str, str] = {}
    reader = TarReader(stream)
    for entry in reader:
        path = posixpath.normpath(entry.name.lstrip("/"))
        if entry.kind == "f":
            with parts.store.content.writer(expected=_promised(path), size=entry.size) as blob:
                reader.copy_data(blob.write)
            blobs[path] = (blob.digest, blob.size)
        elif entry.kind in "lh":
            base = posixpath.dirname(path) if entry.kind == "l" else ""
            links[path] = posixpath.normpath(posixpath.join(base, entry.link.lstrip("/")))
    return _Archive(blobs=blobs, links=links)


def _promised(path: str) -> Digest | None:
    parts = path.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    return Digest(f"{parts[1]}:{parts[2]}")


def _document(parts: Parts, found: tuple[Digest, int], what: str) -> bytes:
    if found[1] > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(f"the archive's {what} has {found[1]} bytes, more than the {MAX_DOCUMENT_BYTES} allowed")
    return parts.store.content.read(found[0])


def _docker_list(parts: Parts, archive: _Archive) -> list[dict[str, JSON]]:
    data = _document(parts, archive.find("manifest.json"), "manifest.json")
    wrapped = untrusted_json(b'{"list":' + data + b"}", what="manifest.json")["list"]
    if not isinstance(wrapped, list) or not all(isinstance(entry, dict) for entry in wrapped):
        raise InvalidDocument("the archive's manifest.json is no list of images")
    return [entry for entry in wrapped if isinstance(entry, dict)]


def _load_docker(parts: Parts, archive: _Archive, entry: Mapping[str, JSON]) -> ImageRecord:
    config_digest, config_size = archive.find(str(entry.get("Config")))
    config = parse_config(_document(parts, (config_digest, config_size), "config"))
    layers = entry.get("Layers")
    names = [str(layer) for layer in layers] if isinstance(layers, list) else []
    if len(names) != len(config.rootfs.diff_ids):
        raise InvalidDocument(f"the archive's image has {len(names)} layers and its config {len(config.rootfs.diff_ids)}")
    found = [_layer(parts, archive.find(name), diff_id) for name, diff_id in zip(names, config.rootfs.diff_ids, strict=True)]
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST,
        config=Descriptor(media_type=CONFIG, digest=config_digest, size=config_size),
        layers=tuple(found),
    )
    tags = entry.get("RepoTags")
    return parts.store.images.put_manifest(manifest.to_bytes(), tags=archive.tags(tags if isinstance(tags, list) else []))


def _layer(parts: Parts, found: tuple[Digest, int], diff_id: Digest) -> Descriptor:
    digest, size = found
    with parts.store.content.open(digest) as file:
        start = file.read(4)
    kind = LAYER_GZIP if start[:2] == b"\x1f\x8b" else LAYER_ZSTD if start == b"\x28\xb5\x2f\xfd" else LAYER_TAR
    blob = Descriptor(media_type=kind, digest=digest, size=size)
    parts.store.layers.apply_blob(blob, expected=diff_id)
    return blob


def _load_oci(parts: Parts, archive: _Archive) -> list[ImageRecord]:
    index = Index.from_json(untrusted_json(_document(parts, archive.find("index.json"), "index.json"), what="index.json"))
    loaded: dict[Digest, ImageRecord] = {}
    for descriptor in index.manifests:
        marks = descriptor.annotations
        name = marks.get(_IMAGE_NAME) or marks.get(_REF_NAME, "")
        for chosen in _for_this_machine(parts, archive, descriptor):
            record = _load_manifest(parts, archive, chosen, archive.tags([name] if ":" in name or "/" in name else []))
            loaded[record.id] = record
    return list(loaded.values())


def _for_this_machine(parts: Parts, archive: _Archive, descriptor: Descriptor) -> list[Descriptor]:
    """Return the manifests to load: the descriptor itself, or of an index's the one for this machine (else the first)."""
    if "index" not in descriptor.media_type and "manifest.list" not in descriptor.media_type:
        return [descriptor]
    data = _document(parts, archive.find(_path(descriptor.digest)), "index")
    manifests = Index.from_json(untrusted_json(data, what="index")).manifests
    here = host_platform()
    fitting = [m for m in manifests if m.platform is not None and m.platform.architecture == here.architecture and m.platform.os == here.os]
    return list((fitting or manifests)[:1])


def _load_manifest(parts: Parts, archive: _Archive, descriptor: Descriptor, tags: Sequence[Reference]) -> ImageRecord:
    from notebook_containers.store.images import parse_manifest

    data = _document(parts, archive.find(_path(descriptor.digest)), "manifest")
    manifest = parse_manifest(data)
    config = parse_config(_document(parts, archive.find(_path(manifest.config.digest)), "config"))
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise InvalidDocument(f"the archive's manifest has {len(manifest.layers)} layers, its config {len(config.rootfs.diff_ids)}")
    for layer, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True):
        archive.find(_path(layer.digest))
        parts.store.layers.apply_blob(layer, expected=diff_id)
    return parts.store.images.put_manifest(data, tags=tags)


def _references(names: Sequence[JSON]) -> list[Reference]:
    found = []
    for name in names:
        try:
            found.append(Reference.parse(str(name)).tagged())
        except InvalidReference:
            continue  # an archive may name an image as it likes; one without a name we can use is loaded without
    return found


# -- import --------------------------------------------------------------------------------------------------------------------------------


def import_tar(parts: Parts, stream: BinaryIO, *, tags: Sequence[Reference], message: str, changes: Sequence[str]) -> ImageRecord:
    """Make an image of one layer from an uncompressed tar; ``changes`` are lines of a Dockerfile for its settings."""
    config = apply_changes(ContainerConfig(), changes)
    here, created = host_platform(), rfc3339(time.time())
    with parts.store.lease():
        layer = parts.store.layers.apply(stream)
        image = ImageConfig(
            created=created,
            architecture=here.architecture,
            variant=here.variant,
            os=here.os,
            config=config,
            history=(History(created=created, comment=message),),
        )
        return parts.store.images.put(image, [layer], tags=tags)
