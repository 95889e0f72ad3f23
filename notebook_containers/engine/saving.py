"""``save``: images as an archive or a directory, in the forms that docker, podman and skopeo read.

* ``docker-archive``: what docker 25 and later write, an OCI image layout with docker's ``manifest.json`` beside it; the default.
* ``oci-archive``, ``oci-dir``: the OCI image layout alone (image-spec image-layout.md).
* ``docker-dir``: skopeo's ``dir:``, one image as a directory of its blobs, with a manifest of Docker's schema 2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TypeAlias

from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Corrupt, InvalidArgument, StoreError
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_TAR,
    DOCKER_MANIFEST,
    INDEX,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_ZSTD,
    MANIFEST,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Manifest,
    Platform,
)
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.progress import Meter, Report, TransferStarted, silent
from notebook_containers.registry.pull import parse_index
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.tar_reader import Entry
from notebook_containers.store.tar_writer import TarWriter

Chosen: TypeAlias = Sequence[tuple[ImageRecord, Sequence[str]]]
_PIECE = 1 << 20
_PLAIN = frozenset((LAYER_TAR, DOCKER_LAYER_TAR))
_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_DOCKER_TYPES = {LAYER_TAR: DOCKER_LAYER_TAR, LAYER_GZIP: DOCKER_LAYER_GZIP}
_OCI_TYPES = {there: here for here, there in _DOCKER_TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """An image as it is written: ``data`` are the manifest's bytes."""

    id: Digest
    manifest: Manifest
    data: bytes
    config: ImageConfig
    names: Sequence[str]

    @property
    def manifest_digest(self) -> Digest:
        """The manifest's digest."""
        return Digest.of(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of an archive or a directory: a blob of the store, or a small document."""

    path: str
    blob: Digest | None = None
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How layers that are uncompressed here are written: ``kind`` gzip or zstd, at ``level`` (see :func:`.packing.packed`)."""

    kind: str
    level: int | None = None


def archive(parts: Parts, images: Chosen, *, form: str, packing: Packing | None = None, report: Report = silent) -> Iterator[bytes]:
    """Yield an archive of images with the names they are to have; a blob of several is in it once. InvalidArgument for no archive.

    What ``packing`` makes anew lies in the store until its next collection.
    """
    if form not in ("docker-archive", "oci-archive"):
        raise InvalidArgument(f"{form!r} is no archive", hint="write it to a directory: save -o DIRECTORY")
    pieces: list[bytes] = []
    tar = TarWriter(pieces.append)
    with parts.store.lease():
        saved = [_saved(parts, record, names, packing) for record, names in images]
        meters = _meters(saved, report)
        for file in _layout(saved, _lists(parts, saved), docker=form == "docker-archive"):
            size = parts.store.content.size(file.blob) if file.blob else len(file.data)
            tar.add(Entry(name=file.path, kind="f", size=size))
            for data in _bytes(parts, file, size, meters):
                tar.data(data)
                yield from pieces
                pieces.clear()
            tar.pad(size)
    tar.close()
    yield b"".join(pieces)


def directory(parts: Parts, images: Chosen, place: Path, *, form: str, packing: Packing | None = None, report: Report = silent) -> None:
    """Write images as the directory ``place``, which must not be there or be empty; it appears when it is whole.

    InvalidArgument for a directory that holds something, and for several images as ``docker-dir``.
    """
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InvalidArgument(f"{place} is there already", hint="give a directory that is empty or does not exist")
    staged = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with parts.store.lease():
            saved = [_saved(parts, record, names, packing) for record, names in images]
            files = _flat(saved) if form == "docker-dir" else _layout(saved, _lists(parts, saved), docker=False)
            meters = _meters(saved, report)
            for file in files:
                _write(parts, staged, file, meters)
        if place.exists():
            place.rmdir()
        os.rename(staged, place)
    except OSError as err:
        raise StoreError(f"cannot write {place}: {(err.strerror or str(err)).lower()}") from err
    finally:
        rmtree(staged, ignore_errors=True)


def _saved(parts: Parts, record: ImageRecord, names: Sequence[str], packing: Packing | None) -> _Saved:
    """Return the image with layers that are here: one that was here when a registry offered it is here in its own form only."""
    content, manifest = parts.store.content, record.manifest
    found = zip(record.diff_ids, manifest.layers, strict=True)
    layers = tuple(blob if content.has(blob.digest) else parts.store.layers.get(diff_id).blob for diff_id, blob in found)
    if packing is not None:
        layers = tuple(_packed(parts, layer, packing) if layer.media_type in _PLAIN else layer for layer in layers)
    if layers == manifest.layers:
        data = content.read(record.manifest_digest)
    else:
        layers = tuple(replace(layer, media_type=_OCI_TYPES.get(layer.media_type, layer.media_type)) for layer in layers)
        manifest = replace(manifest, media_type=MANIFEST, config=replace(manifest.config, media_type=CONFIG), layers=layers)
        data = manifest.to_bytes()
    return _Saved(id=record.id, manifest=manifest, data=data, config=record.config, names=names)


def _packed(parts: Parts, layer: Descriptor, packing: Packing) -> Descriptor:
    """Write a layer compressed into the store and return what it is there."""
    from notebook_containers.store.packing import packed

    with parts.store.content.open(layer.digest) as tar, parts.store.content.writer() as blob:
        for piece in packed(iter(partial(tar.read, _PIECE), b""), packing.kind, packing.level):
            blob.write(piece)
    kind = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD}[packing.kind]
    return Descriptor(media_type=kind, digest=blob.digest, size=blob.size)


def _meters(images: Sequence[_Saved], report: Report) -> Mapping[Digest, Meter]:
    """Say what is going to be written, and return what counts the bytes of each layer."""
    layers = {layer.digest: layer.size for image in images for layer in image.manifest.layers}
    names = [name for image in images for name in image.names or (image.id.short,)]
    report(TransferStarted(name=", ".join(names), direction="save", blobs=tuple(layers.items())))
    meters = {digest: Meter(report, digest, size) for digest, size in layers.items()}
    for meter in meters.values():
        meter.phase("waiting")
    return meters


def _write(parts: Parts, top: Path, file: _File, meters: Mapping[Digest, Meter]) -> None:
    path = top / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    size = parts.store.content.size(file.blob) if file.blob else len(file.data)
    with open(path, "wb") as out:
        for data in _bytes(parts, file, size, meters):
            out.write(data)


def _bytes(parts: Parts, file: _File, size: int, meters: Mapping[Digest, Meter]) -> Iterator[bytes]:
    if file.blob is None:
        yield file.data
        return
    left, meter = size, meters.get(file.blob) or Meter(silent, file.blob, size)
    meter.phase("writing", done=0)
    with parts.store.content.open(file.blob) as blob:
        while data := blob.read(min(_PIECE, left)):
            left -= len(data)
            meter.add(len(data))
            yield data
    if left:
        raise Corrupt(f"blob {file.blob.short} ends too early", hint="check the store: nbc system check")
    meter.phase("done", done=size)


def _lists(parts: Parts, images: Sequence[_Saved]) -> Mapping[str, bytes]:
    """Return the index of each name that several of the images have: as it came where all of it is saved unchanged, else a new one."""
    made: dict[str, bytes] = {}
    for name in dict.fromkeys(name for image in images for name in image.names):
        entries = [_descriptor(image) for image in images if name in image.names]
        if len(entries) < 2:
            continue
        top = next((each.top for each in parts.store.images.variants(name)), "")
        data = parts.store.content.read(Digest(top)) if top else b""
        whole = data and {e.digest for e in parse_index(data, name).manifests} == {e.digest for e in entries}
        made[name] = data if whole else Index(schema_version=2, media_type=INDEX, manifests=tuple(entries)).to_bytes()
    return made


def _layout(images: Sequence[_Saved], lists: Mapping[str, bytes], *, docker: bool) -> Iterator[_File]:
    """Yield the files of an OCI image layout, blobs first; with docker's list of images, if asked."""
    for digest, data in {digest: data for image in images for digest, data in _blobs(image)}.items():
        yield _File(path=_path(digest), data=data) if data else _File(path=_path(digest), blob=digest)
    for data in dict.fromkeys(lists.values()):
        yield _File(path=_path(Digest.of(data)), data=data)
    yield _File(path="index.json", data=_json(_index(images, lists).to_json()))
    if docker:
        yield _File(path="manifest.json", data=_json(list(_docker_entries(images))))
    yield _File(path="oci-layout", data=_json({"imageLayoutVersion": "1.0.0"}))


def _flat(images: Sequence[_Saved]) -> Iterator[_File]:
    """Yield the files of skopeo's ``dir:``: the manifest, and blobs called by their digests."""
    if len(images) != 1:
        raise InvalidArgument(f"docker-dir holds one image, not {len(images)}", hint="save them one by one, or as oci-dir")
    image = images[0]
    yield _File(path="version", data=b"Directory Transport Version: 1.1\n")
    for digest in dict.fromkeys((image.id, *(layer.digest for layer in image.manifest.layers))):
        yield _File(path=digest.hex, blob=digest)
    manifest = docker_manifest(image.manifest)
    yield _File(path="manifest.json", data=image.data if manifest == image.manifest else manifest.to_bytes())


def docker_manifest(manifest: Manifest) -> Manifest:
    """Return the manifest in Docker's schema 2, which has no zstd: then it stays as it is."""
    if manifest.media_type == DOCKER_MANIFEST or any(layer.media_type not in _DOCKER_TYPES for layer in manifest.layers):
        return manifest
    layers = tuple(replace(layer, media_type=_DOCKER_TYPES[layer.media_type]) for layer in manifest.layers)
    return replace(manifest, media_type=DOCKER_MANIFEST, config=replace(manifest.config, media_type=DOCKER_CONFIG), layers=layers)


def _blobs(image: _Saved) -> Iterator[tuple[Digest, bytes]]:
    """Yield the image's blobs; with its bytes the manifest, which need not be in the store as it is written."""
    yield image.id, b""
    yield image.manifest_digest, image.data
    for layer in image.manifest.layers:
        yield layer.digest, b""


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _json(value: Mapping[str, JSON] | Sequence[JSON]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _descriptor(image: _Saved) -> Descriptor:
    config = image.config
    return Descriptor(
        media_type=image.manifest.media_type or MANIFEST,
        digest=image.manifest_digest,
        size=len(image.data),
        platform=Platform(architecture=config.architecture, os=config.os, variant=config.variant),
    )


def _index(images: Sequence[_Saved], lists: Mapping[str, bytes]) -> Index:
    entries: list[Descriptor] = []
    for image in images:
        own = [name for name in image.names if name not in lists]
        entries += [replace(_descriptor(image), annotations=_mark(name)) for name in own]
        if not image.names:
            entries.append(_descriptor(image))
    for name, data in lists.items():
        kind = parse_index(data, name).media_type or INDEX
        entries.append(Descriptor(media_type=kind, digest=Digest.of(data), size=len(data), annotations=_mark(name)))
    return Index(schema_version=2, media_type=INDEX, manifests=tuple(entries))


def _mark(name: str) -> Mapping[str, str]:
    named = Reference.parse(name).tagged()
    return {_IMAGE_NAME: str(named), _REF_NAME: named.tag}


def _docker_entries(images: Sequence[_Saved]) -> Iterator[dict[str, JSON]]:
    """Yield docker's list, which knows no platforms: a name is the first image's that has it, and who has no other is left out."""
    taken: set[str] = set()
    for image in images:
        names = [name for name in image.names if name not in taken]
        taken.update(names)
        if names or not image.names:
            layers: list[JSON] = [_path(layer.digest) for layer in image.manifest.layers]
            yield {"Config": _path(image.id), "RepoTags": [*names] or None, "Layers": layers}
