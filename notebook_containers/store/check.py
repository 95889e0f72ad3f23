"""Checking a store: every blob hashed again, every tree held against its archive, every row followed; damage told from garbage."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from notebook_containers.errors import Corrupt, Error, NotFound
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Descriptor, Digest
from notebook_containers.store.collect import reachable_blobs, reachable_layers, unrecorded
from notebook_containers.store.database import check_database
from notebook_containers.store.disk import OWNED, start_time
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.locks import owners
from notebook_containers.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be: ``kind`` is a fixed word, ``subject`` a digest, name or path, ``detail`` a sentence part.

    ``garbage`` is true for what only costs disk until the next collection; all else is damage.
    """

    kind: str
    subject: str
    detail: str
    garbage: bool = False


def check(store: Store, *, quick: bool = False) -> list[Finding]:
    """Return all findings, damage first; an empty list is a clean store. ``quick`` reads no blob and no layer's files. Changes nothing.

    Holds a lease, so nothing is collected meanwhile; what an operation running elsewhere has not published yet shows as garbage.
    """
    with store.lease():
        database = [Finding(kind="database", subject=str(store.records.path), detail=text) for text in check_database(store.records.path)]
        if database:
            return database
        blobs = list(_blobs(store, quick=quick))
        damaged = {finding.subject for finding in blobs if not finding.garbage}
        found = [
            *blobs,
            *(finding for image in store.images.list() for finding in _image(store, image)),
            *_indexes(store),
            *_layers(store),
            *([] if quick else _trees(store, damaged)),
            *_volumes(store),
            *_unrecorded(store),
            *_leftovers(store),
        ]
    return sorted(found, key=lambda finding: finding.garbage)


def _blobs(store: Store, *, quick: bool) -> Iterator[Finding]:
    used = reachable_blobs(store)
    for digest, _size in store.content.list():
        if digest not in used:
            yield Finding(kind="blob-unreferenced", subject=digest, detail="nothing names it", garbage=True)
        elif not quick and not _hashes_right(store.content.path(digest), digest):
            yield Finding(kind="blob-damaged", subject=digest, detail="its bytes do not have this digest")


def _hashes_right(path: Path, digest: Digest) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hex


def _image(store: Store, image: ImageRecord) -> Iterator[Finding]:
    name = image.tags[0] if image.tags else image.id.short
    for what, digest in (("manifest", image.manifest_digest), ("config", image.id)):
        if not store.content.has(digest):
            yield Finding(kind="blob-missing", subject=digest, detail=f"{what} of image {name}")
            return
    try:
        agrees = image.config.rootfs.diff_ids == image.diff_ids and image.manifest.config.digest == image.id
    except Error as err:
        yield Finding(kind="document-damaged", subject=image.id, detail=f"image {name}: {err}")
        return
    if not agrees:
        yield Finding(kind="row-damaged", subject=image.id, detail=f"the record of image {name} does not agree with its config")
    for diff_id in image.diff_ids:
        if not store.layers.has(diff_id):
            yield Finding(kind="layer-missing", subject=diff_id, detail=f"layer of image {name}")


def _indexes(store: Store) -> Iterator[Finding]:
    for digest, name in store.images.indexes().items():
        if not store.content.has(digest):
            yield Finding(kind="index-missing", subject=digest, detail=f"the index of {name}")


def _layers(store: Store) -> Iterator[Finding]:
    known, needed = {layer.diff_id for layer in store.layers.list()}, reachable_layers(store)
    for layer in store.layers.list():
        if not layer.tree.is_dir():
            yield Finding(kind="tree-missing", subject=layer.diff_id, detail=f"{layer.tree} is not there")
        yield from _layer_blob(store, layer.diff_id, layer.blob)
        if layer.diff_id not in needed:
            yield Finding(kind="layer-unreferenced", subject=layer.diff_id, detail="nothing names it", garbage=True)
    for row in store.records.cache_list():
        if row.diff_id is not None and row.diff_id not in known:
            yield Finding(kind="layer-missing", subject=row.diff_id, detail=f"layer of build step {row.key[:12]}")
    yield from _snapshots(store, known)
    hexes = {diff_id.hex for diff_id in known}
    for name in sorted(os.listdir(store.root / "layers")):
        if name not in hexes:
            yield Finding(kind="tree-unrecorded", subject=str(store.root / "layers" / name), detail="no row names it", garbage=True)


def _trees(store: Store, damaged: set[str]) -> Iterator[Finding]:
    """Hold each layer's tree against its archive, where that is sound itself."""
    for layer in store.layers.list():
        if layer.blob.digest in damaged or not layer.tree.is_dir() or not store.content.has(layer.blob.digest):
            continue
        found: Sequence[str]
        try:
            found = store.layers.differences(layer)
        except Error as err:
            found = [err.message]
        if found:
            more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
            yield Finding(kind="tree-damaged", subject=layer.diff_id, detail="; ".join(found[:3]) + more)


def _snapshots(store: Store, known: set[Digest]) -> Iterator[Finding]:
    recorded = {row.id: row.name for row in store.records.containers()}
    for key in store.snapshots.list():
        try:
            missing = [diff_id for diff_id in store.snapshots.layers(key) if diff_id not in known]
        except NotFound:  # removed meanwhile
            continue
        except Corrupt as err:
            if key in recorded:  # else it is garbage, which is told elsewhere
                yield Finding(kind="snapshot-damaged", subject=key, detail=f"of container {recorded[key]}: {err}")
            continue
        for diff_id in missing:
            yield Finding(kind="layer-missing", subject=diff_id, detail=f"layer of snapshot {key[:12]}")


def _layer_blob(store: Store, diff_id: Digest, blob: Descriptor) -> Iterator[Finding]:
    if not store.content.has(blob.digest):
        yield Finding(kind="blob-missing", subject=blob.digest, detail=f"tar of layer {diff_id.short}")
    elif store.content.size(blob.digest) != blob.size:
        yield Finding(kind="blob-damaged", subject=blob.digest, detail=f"tar of layer {diff_id.short}: not the {blob.size} bytes recorded")


def _volumes(store: Store) -> Iterator[Finding]:
    recorded = {str(name): str(state) for name, state in store.records.query("SELECT name, state FROM volumes")}
    for name, state in recorded.items():
        if state == "deleting":
            yield Finding(kind="volume-deleting", subject=name, detail="its removal was interrupted", garbage=True)
        elif not (store.root / "volumes" / name / "_data").is_dir():
            yield Finding(kind="volume-missing", subject=name, detail="its directory is not there")
    for name in sorted(os.listdir(store.root / "volumes")):
        if name not in recorded:
            data = store.root / "volumes" / name / "_data"
            empty = not data.is_dir() or not os.listdir(data)
            detail = "no row names it" if empty else "no row names it, and it holds somebody's files"
            yield Finding(kind="volume-unrecorded", subject=name, detail=detail, garbage=empty)


def _unrecorded(store: Store) -> Iterator[Finding]:
    for path in unrecorded(store):
        yield Finding(kind=f"{path.parent.name[:-1]}-unrecorded", subject=str(path), detail="no container's record names it", garbage=True)


def _leftovers(store: Store) -> Iterator[Finding]:
    for folder in (store.disk.staging, store.disk.trash):
        for path in sorted(folder.iterdir()):
            if path.suffix != ".lock":
                yield Finding(kind="leftover", subject=str(path), detail=_whose(path.name), garbage=True)


def _whose(name: str) -> str:
    """Say whose an unfinished or discarded thing is: the names of the unfinished have their maker's pid and start time."""
    match = OWNED.match(name)
    if match is None:
        return "discarded, or of an operation that is running or died"
    alive = start_time(int(match[1])) == int(match[2])
    return f"unfinished, of {owners([int(match[1])])}, which runs" if alive else f"unfinished, of process {match[1]}, which is gone"
