"""``docker system df``: every byte below the store's root, at what it belongs to, and what of it nothing needs.

All lines together are what ``du`` says of the store's directory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from notebook_containers.engine.container import Container
from notebook_containers.engine.parts import Parts
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Digest

if TYPE_CHECKING:
    from notebook_containers.store.images import ImageRecord
    from notebook_containers.store.usage import Place

_RUNNING = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """One line: ``active`` of ``total`` are in use; ``reclaimable`` of ``size`` bytes are not. ``shared`` of them are in several images."""

    type: str
    total: int
    active: int
    size: int
    reclaimable: int
    shared: int = 0

    def row(self) -> dict[str, object]:
        """Return it as a row of a table."""
        return {name: getattr(self, name) for name in ("type", "total", "active", "size", "reclaimable", "shared")}


def disk_usage(parts: Parts, containers: Sequence[Container]) -> list[DiskUsage]:
    """Return the four lines of ``docker system df``, then logs, what the next collection frees, and the store itself."""
    lines = _Survey(parts, containers).lines()
    kinds = ("Images", "Containers", "Local Volumes", "Build Cache", "Logs", "Garbage", "Store")
    return [_sum(kind, [line for group, line in lines if group == kind]) for kind in kinds]


def details(parts: Parts, containers: Sequence[Container]) -> list[DiskUsage]:
    """Return a line for each image, layer that images share, container, volume, layer of the build cache alone, log, and so on."""
    return [line for _group, line in _Survey(parts, containers).lines()]


def _sum(kind: str, lines: Sequence[DiskUsage]) -> DiskUsage:
    counted = [line for line in lines if not line.type.startswith("shared layer ")]
    return DiskUsage(
        type=kind,
        total=len(counted),
        active=sum(line.active for line in counted),
        size=sum(line.size for line in lines),
        reclaimable=sum(line.reclaimable for line in lines),
        shared=sum(line.shared for line in lines),
    )


class _Survey:
    """One look at the disk and at the records."""

    def __init__(self, parts: Parts, containers: Sequence[Container]) -> None:
        from notebook_containers.store.usage import places

        with parts.store.lease():  # nothing is collected between the looks
            self._places: dict[tuple[str, str], Place] = {(place.kind, place.name): place for place in places(parts.store)}
            self._images = parts.store.images.list()
            self._layers = {layer.diff_id: layer for layer in parts.store.layers.list()}
            self._cached = {row.diff_id for row in parts.store.records.cache_list() if row.diff_id is not None}
        self._parts, self._containers = parts, containers
        self._left = dict(self._places)

    def lines(self) -> list[tuple[str, DiskUsage]]:
        """Return every line with the kind it belongs to; each place is in exactly one."""
        found = [("Images", line) for line in self._image_lines()]
        found += [("Containers", self._container_line(c)) for c in self._containers]
        found += [("Local Volumes", line) for line in self._volume_lines()]
        found += [("Build Cache", line) for line in self._cache_lines()]
        found += [("Containers", line) for line in self._pinned_lines()]
        found += [("Logs", self._log_line(c)) for c in self._containers if ("log", c.id) in self._left]
        database = self._take(key for key in self._places if key[0] in ("database", "store"))
        found.append(("Store", DiskUsage(type="store", total=1, active=1, size=database, reclaimable=0)))
        rest = [self._left.pop(key) for key in list(self._left)]
        found += [("Garbage", _garbage(place)) for place in rest if place.bytes]
        return found

    def _take(self, keys: Iterable[tuple[str, str]]) -> int:
        return sum(self._left.pop(key).bytes for key in list(keys) if key in self._left)

    def _layer_keys(self, diff_id: Digest) -> list[tuple[str, str]]:
        layer = self._layers.get(diff_id)
        return [("layer", diff_id), *([("blob", str(layer.blob.digest))] if layer else [])]

    def _image_lines(self) -> list[DiskUsage]:
        used_images = {c.document.image_id for c in self._containers}
        holders = Counter(diff_id for image in self._images for diff_id in set(image.diff_ids))
        needed = {diff_id for image in self._images if image.id in used_images for diff_id in image.diff_ids}
        needed |= self._parts.store.snapshots.pinned()
        lines = [self._image_line(image, holders, used=image.id in used_images) for image in self._images]
        for diff_id, count in holders.items():
            if count > 1 and (size := self._take(self._layer_keys(diff_id))):
                free = 0 if diff_id in needed else size
                active = sum(image.id in used_images and diff_id in image.diff_ids for image in self._images)
                name = f"shared layer {diff_id.short}"
                lines.append(DiskUsage(type=name, total=count, active=active, size=size, reclaimable=free, shared=size))
        return lines

    def _image_line(self, image: ImageRecord, holders: Counter[Digest], *, used: bool) -> DiskUsage:
        own = [diff_id for diff_id in image.diff_ids if holders[diff_id] == 1]
        size = self._take([*(key for diff_id in own for key in self._layer_keys(diff_id))])
        size += self._take([("blob", str(image.id)), ("blob", str(image.manifest_digest))])
        name = " ".join(image.tags) or image.id.short
        return DiskUsage(type=f"image {name}", total=1, active=int(used), size=size, reclaimable=0 if used else size)

    def _container_line(self, container: Container) -> DiskUsage:
        more = [("snapshot", point.snapshot) for point in container.document.mounts if point.snapshot]
        size = self._take([("snapshot", container.id), ("container", container.id), *more])
        active = container.status in _RUNNING
        return DiskUsage(type=f"container {container.name}", total=1, active=int(active), size=size, reclaimable=0 if active else size)

    def _log_line(self, container: Container) -> DiskUsage:
        size, active = self._take([("log", container.id)]), container.status in _RUNNING
        return DiskUsage(type=f"log of {container.name}", total=1, active=int(active), size=size, reclaimable=0 if active else size)

    def _volume_lines(self) -> list[DiskUsage]:
        used = {point.volume for c in self._containers for point in c.document.mounts if point.volume}
        lines = []
        for volume in self._parts.store.volumes.list():
            size, active = self._take([("volume", volume.name)]), volume.name in used
            free = 0 if active else size
            lines.append(DiskUsage(type=f"volume {volume.name}", total=1, active=int(active), size=size, reclaimable=free))
        return lines

    def _cache_lines(self) -> list[DiskUsage]:
        """Return the layers that only the build cache keeps (what a snapshot stands on is not to be had back), and the cache mounts."""
        pinned = self._parts.store.snapshots.pinned()
        lines = []
        for diff_id in sorted(self._cached):
            size, active = self._take(self._layer_keys(diff_id)), diff_id in pinned
            if size:
                name = f"build cache {diff_id.short}"
                lines.append(DiskUsage(type=name, total=1, active=int(active), size=size, reclaimable=0 if active else size))
        for cache in self._parts.store.cache_mounts.list():
            size = self._take([("cache", cache.name)])
            free = 0 if cache.in_use else size
            lines.append(DiskUsage(type=f"cache mount {cache.id}", total=1, active=int(cache.in_use), size=size, reclaimable=free))
        return lines

    def _pinned_lines(self) -> list[DiskUsage]:
        """Return the layers that only containers stand on: their images are gone."""
        sizes = {diff_id: self._take(self._layer_keys(diff_id)) for diff_id in sorted(self._parts.store.snapshots.pinned())}
        return [
            DiskUsage(type=f"layer of containers {diff_id.short}", total=0, active=0, size=size, reclaimable=0)
            for diff_id, size in sizes.items()
            if size
        ]


def _garbage(place: Place) -> DiskUsage:
    word = {"staging": "unfinished", "trash": "trash"}.get(place.kind, f"unused {place.kind}")
    name = f"{word} {place.name.rpartition(':')[2][:12]}"
    return DiskUsage(type=name, total=1, active=0, size=place.bytes, reclaimable=place.bytes)
