"""Collection: frees the layers and blobs that no image, snapshot, build-cache row or running operation needs, and what crashes left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Digest
from notebook_containers.store.failpoints import fp
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.locks import owners
from notebook_containers.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed:
    """What a collection freed; ``bytes`` counts blobs and unpacked layers.

    ``held`` says that nothing was freed because an operation was running; ``held_by`` are its processes, where they can be seen.
    """

    bytes: int = 0
    layers: tuple[Digest, ...] = ()
    blobs: tuple[Digest, ...] = ()
    held: bool = False
    held_by: tuple[int, ...] = ()

    def warnings(self) -> list[str]:
        """Return in words why nothing was freed, if so."""
        if not self.held:
            return []
        who = owners(self.held_by)
        running = f"{who} is pulling, building or the like" if who else "a pull, build or the like is running"
        return [f"layers were not freed yet: {running}; prune again when it has ended"]


def collect(store: Store, *, keep: Iterable[Digest] = (), wait_s: float = 0.5) -> Reclaimed:
    """Free everything unreachable; ``keep`` are further diff_ids to spare; safe to kill at any point and to run again.

    While an operation holds a lease (:meth:`Store.lease`), in this or another process, nothing is freed: what it is about to
    reference cannot be told from garbage. After ``wait_s`` that is the answer, ``held``.
    """
    with store.disk.exclusive(wait_s=wait_s) as alone:
        if not alone:
            return Reclaimed(held=True, held_by=store.disk.lease_holders())
        drop_unrecorded(store)
        freed, layers = _drop_layers(store, reachable_layers(store) | set(keep))
        more, blobs = _drop_blobs(store)
        _drop_orphan_trees(store)
        store.volumes.collect()
        store.disk.sweep_staging()
    store.disk.sweep()
    store.disk.settle()  # the bytes that are told of are free
    return Reclaimed(bytes=freed + more, layers=layers, blobs=blobs)


def reachable_layers(store: Store) -> set[Digest]:
    """Return the diff_ids that an image, a snapshot or a build-cache row names, whether they are in the store or not."""
    found = {diff_id for image in store.images.list() for diff_id in image.diff_ids}
    found.update(row.diff_id for row in store.records.cache_list() if row.diff_id is not None)
    return found | store.snapshots.pinned()


def reachable_blobs(store: Store) -> set[Digest]:
    """Return the blobs that images (config, manifest), recorded layers and names (index) name."""
    found = {layer.blob.digest for layer in store.layers.list()} | set(store.images.indexes())
    for image in store.images.list():
        found.update((image.id, image.manifest_digest))
    return found


def sizes(images: Sequence[ImageRecord]) -> dict[Digest, tuple[int, int]]:
    """Return image id → (unique, shared) bytes: layers no other of these images has, and layers that another has too.

    A layer that stands twice in one image counts once, as it does on disk.
    """
    layers = [dict(image.layer_sizes) for image in images]
    users = Counter(diff_id for own in layers for diff_id in own)
    return {
        image.id: (
            sum(size for diff_id, size in own.items() if users[diff_id] == 1),
            sum(size for diff_id, size in own.items() if users[diff_id] > 1),
        )
        for image, own in zip(images, layers, strict=True)
    }


def unrecorded(store: Store) -> list[Path]:
    """Return the writable layers and container directories that no container's record names: of what runs now, or of the killed.

    A snapshot's key is the container's id, with a number behind it for what else it has mounted.
    """
    known = {row.id for row in store.records.containers()}
    places = [store.root / "snapshots", store.root / "containers"]
    return [place / name for place in places for name in sorted(os.listdir(place)) if name.partition("-")[0] not in known]


def drop_unrecorded(store: Store) -> None:
    """Free what a create, rm or build step left when it was killed; those that live hold a lease, or have removed the record."""
    for path in unrecorded(store):
        fp("collect.before_unrecorded")
        store.disk.retire(path)


def _drop_layers(store: Store, keep: set[Digest]) -> tuple[int, tuple[Digest, ...]]:
    dropped = [layer for layer in store.layers.list() if layer.diff_id not in keep]
    for layer in dropped:
        fp("collect.before_layer")
        store.layers.remove(layer.diff_id)
    return sum(layer.size for layer in dropped), tuple(layer.diff_id for layer in dropped)


def _drop_blobs(store: Store) -> tuple[int, tuple[Digest, ...]]:
    keep = reachable_blobs(store)
    dropped = [(digest, size) for digest, size in store.content.list() if digest not in keep]
    for digest, _size in dropped:
        fp("collect.before_blob")
        store.content.remove(digest)
    return sum(size for _digest, size in dropped), tuple(digest for digest, _size in dropped)


def _drop_orphan_trees(store: Store) -> None:
    known = {layer.diff_id.hex for layer in store.layers.list()}
    for name in sorted(os.listdir(store.root / "layers")):
        if name not in known:
            store.layers.remove_orphan(name)
