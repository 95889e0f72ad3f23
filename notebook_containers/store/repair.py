"""Repairing a store: takes away or makes again only what can be had again, from what is here or from the registry it came from.

Each repair is one of the store's own durable operations, so a repair that is killed leaves what the next one finds and goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from notebook_containers.errors import Corrupt, Error, StoreError
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Descriptor, Digest
from notebook_containers.store.check import Finding, check
from notebook_containers.store.collect import collect
from notebook_containers.store.database import mend
from notebook_containers.store.failpoints import fp
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.layers import Layer
from notebook_containers.store.store import Store

_ROUNDS = 4  # a blob that is whole again shows what is wrong with its tree, and so on


class Source(Protocol):
    """Where an image came from: a registry, or this machine's own files."""

    def blob(self, image: ImageRecord, blob: Descriptor) -> None:
        """Bring a blob of the image into the store, over what stands there; raises an Error when it cannot be had."""

    def manifest(self, image: ImageRecord) -> None:
        """Bring the image's manifest into the store, over what stands there; raises an Error when it cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What became of a finding: ``done`` says in words what was done, or why nothing could be (then it is not ``repaired``)."""

    finding: Finding
    done: str
    repaired: bool


def repair(store: Store, source: Source, *, in_use: Collection[Digest] = (), quick: bool = False, force: bool = False) -> list[Repair]:
    """Repair what a check finds; return what became of each finding, and collect the garbage. Safe to kill and to do again.

    ``in_use`` are layers that running containers have mounted: their trees stay. What cannot be had again stays as it is, except with
    ``force``: then an image that cannot be made whole is removed (one that no container uses).
    """
    bench = _Bench(store, source, frozenset(in_use))
    done: dict[tuple[str, str], Repair] = {}
    for _ in range(_ROUNDS):
        todo = {(found.kind, found.subject): found for found in check(store, quick=quick) if not found.garbage}
        # what only followed from something that is whole again is no finding any more
        done = {key: answer for key, answer in done.items() if answer.repaired or key in todo}
        fresh = [finding for key, finding in todo.items() if key not in done or not done[key].repaired]
        before = sum(answer.repaired for answer in done.values())
        for finding in sorted(fresh, key=_place):
            fp("repair.before_one")
            done[finding.kind, finding.subject] = bench.attempt(finding)
        if sum(answer.repaired for answer in done.values()) == before:
            break
    if force:
        done.update(_remove_images(store, bench, [r for r in done.values() if not r.repaired]))
    collect(store)
    return list(done.values())


def _remove_images(store: Store, bench: _Bench, left: Sequence[Repair]) -> dict[tuple[str, str], Repair]:
    used = {row.image for row in store.records.containers()}
    answers: dict[tuple[str, str], Repair] = {}
    for failed in left:
        images = bench.images_with(failed.finding.subject)
        gone = [image for image in images if image.id not in used]
        for image in gone:
            if any(known.id == image.id for known in store.images.list()):
                store.images.remove(image.id)
        if images and len(gone) == len(images):
            names = ", ".join(image.tags[0] if image.tags else image.id.short for image in images)
            answers[failed.finding.kind, failed.finding.subject] = Repair(
                finding=failed.finding, done=f"removed the image {names} ({failed.done})", repaired=True
            )
    return answers


class _Bench:
    """The repairs, one for each kind of damage; each returns what it did in words, or raises an Error."""

    def __init__(self, store: Store, source: Source, in_use: frozenset[Digest]) -> None:
        self._store, self._source, self._in_use = store, source, in_use
        # before anything is taken away: what a damaged blob belongs to is known from rows and documents that may be gone later
        self._images = store.images.list() if not _broken(store) else []

    def attempt(self, finding: Finding) -> Repair:
        """Do what can be done."""
        try:
            done = self._repairs()[finding.kind](finding.subject)
        except KeyError:
            return Repair(finding=finding, done="nothing can be done about it here", repaired=False)
        except Error as err:
            return Repair(finding=finding, done=err.one_line(), repaired=False)
        return Repair(finding=finding, done=done, repaired=True)

    def images_with(self, subject: str) -> list[ImageRecord]:
        """Return the images that have this blob or layer, or are it."""
        blobs = {layer.diff_id: layer.blob.digest for layer in self._layers()}
        return [
            image
            for image in self._images
            if subject in (image.id, image.manifest_digest)
            or subject in image.diff_ids
            or subject in {blobs.get(diff_id) for diff_id in image.diff_ids}
        ]

    def _layers(self) -> list[Layer]:
        return [] if _broken(self._store) else self._store.layers.list()

    def _repairs(self) -> Mapping[str, Callable[[str], str]]:
        return {
            "database": self._database,
            "blob-missing": self._blob,
            "blob-damaged": self._blob,
            "index-missing": self._index,
            "layer-missing": self._layer,
            "tree-missing": self._tree,
            "tree-damaged": self._tree,
            "row-damaged": self._row,
            "volume-missing": self._volume,
            "volume-unrecorded": self._adopt,
        }

    def _database(self, path: str) -> str:
        del path
        mend(self._store.records.path)
        return "made its indexes again and forgot rows that refer to nothing"

    def _blob(self, subject: str) -> str:
        """Fetch a blob again, or pack it again from its tree when it was packed here."""
        digest = Digest(subject)
        if digest in self._store.images.indexes():
            self._store.content.remove(digest)
            return self._index(subject)
        reasons: list[str] = []
        for image in self.images_with(subject):
            try:
                self._fetch(image, digest)
            except Error as err:
                reasons.append(err.message)
            else:
                return f"had again for {(*image.digests, *image.tags, image.id.short)[0]}"
        for layer in self._layers():
            if layer.blob.digest == digest == layer.diff_id and layer.tree.is_dir():
                try:
                    self._store.layers.repack(layer)
                except Corrupt:
                    continue  # the archive came from elsewhere: its files cannot tell its bytes
                return "packed again from its files"
        raise StoreError("; ".join(dict.fromkeys(reasons)) or "no image of a registry has it")

    def _index(self, subject: str) -> str:
        self._store.images.forget_index(Digest(subject))
        return "its images stay under their names; a push makes another index of them"

    def _fetch(self, image: ImageRecord, digest: Digest) -> None:
        if digest == image.manifest_digest:
            self._source.manifest(image)
            return
        manifest = image.manifest
        blob = next((blob for blob in (manifest.config, *manifest.layers) if blob.digest == digest), None)
        if blob is None:
            raise StoreError(f"the manifest of image {image.id.short} does not name it")
        self._source.blob(image, blob)

    def _layer(self, subject: str) -> str:
        """Make a layer again whose record is lost, from its blob; the build cache merely forgets it."""
        diff_id = Digest(subject)
        cached = [row.key for row in self._store.records.cache_list() if row.diff_id == diff_id]
        images = [image for image in self._images if diff_id in image.diff_ids]
        if cached and not images:
            self._store.records.cache_remove(cached)
            return "the build cache forgot it: the step is built again"
        for image in images:
            blob = image.manifest.layers[image.diff_ids.index(diff_id)]
            if not self._store.content.has(blob.digest):
                self._fetch(image, blob.digest)
            self._store.layers.apply_blob(blob, expected=diff_id)
            return "unpacked again"
        raise StoreError("no image has it any more: remove the container")

    def _tree(self, subject: str) -> str:
        if subject in self._in_use:
            raise StoreError("a running container has it mounted: stop that first")
        self._store.layers.rebuild(Digest(subject))
        return "unpacked again"

    def _row(self, subject: str) -> str:
        self._store.images.rewrite(Digest(subject))
        return "written again from its config"

    def _volume(self, name: str) -> str:
        self._store.volumes.restore(name)
        return "its directory was made again, empty"

    def _adopt(self, name: str) -> str:
        self._store.volumes.adopt(name)
        return "recorded again, with its files"


_ORDER = (
    "database", "blob-missing", "blob-damaged", "row-damaged", "index-missing", "layer-missing", "tree-missing", "tree-damaged",
    "volume-missing", "volume-unrecorded",
)  # fmt: skip


def _place(finding: Finding) -> int:
    return _ORDER.index(finding.kind) if finding.kind in _ORDER else len(_ORDER)


def _broken(store: Store) -> bool:
    try:
        store.records.cache_list()
    except Corrupt:
        return True
    return False
