"""``docker system df``: what images, containers, volumes and the build cache take on the disk, and what of it nothing needs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from notebook_containers.engine.container import Container
from notebook_containers.engine.parts import Parts
from notebook_containers.lean import dataclass
from notebook_containers.store.volumes import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """One line: ``active`` of ``total`` are in use; ``reclaimable`` of ``size`` bytes are not."""

    type: str
    total: int
    active: int
    size: int
    reclaimable: int

    def row(self) -> dict[str, object]:
        """Return it as a row of a table."""
        return {name: getattr(self, name) for name in ("type", "total", "active", "size", "reclaimable")}


def disk_usage(parts: Parts, containers: Sequence[Container]) -> list[DiskUsage]:
    """Return the four lines of ``docker system df``; layers that several images share count once."""
    return [_images(parts), _containers(containers), _volumes(parts, containers), _cache(parts)]


def details(parts: Parts, containers: Sequence[Container]) -> list[DiskUsage]:
    """Return a line for each image, container and volume; an image's reclaimable bytes are its own alone, when nothing uses it."""
    from notebook_containers.store.collect import sizes

    images = parts.store.images.list()
    used = {row.image for row in parts.store.records.containers()}
    own = sizes(images)
    lines = [
        DiskUsage(
            type=f"image {' '.join(i.tags) or i.id.short}", total=1, active=int(i.id in used), size=i.size,
            reclaimable=0 if i.id in used else own[i.id][0],
        )
        for i in images
    ]  # fmt: skip
    lines += [_one_container(c) for c in containers]
    named = _mounted(containers)
    for volume in parts.store.volumes.list():
        size, active = tree_bytes(volume), volume.name in named
        lines.append(DiskUsage(type=f"volume {volume.name}", total=1, active=int(active), size=size, reclaimable=0 if active else size))
    return lines


def _one_container(container: Container) -> DiskUsage:
    size, active = container.size_rw(), container.status in ("running", "paused", "restarting")
    return DiskUsage(type=f"container {container.name}", total=1, active=int(active), size=size, reclaimable=0 if active else size)


def _images(parts: Parts) -> DiskUsage:
    images = parts.store.images.list()
    used = {row.image for row in parts.store.records.containers()}
    layers = {diff_id: size for image in images for diff_id, size in image.layer_sizes}
    needed = {diff_id for image in images if image.id in used for diff_id in image.diff_ids}
    free = sum(size for diff_id, size in layers.items() if diff_id not in needed)
    active = sum(image.id in used for image in images)
    return DiskUsage(type="Images", total=len(images), active=active, size=sum(layers.values()), reclaimable=free)


def _containers(containers: Sequence[Container]) -> DiskUsage:
    lines = [_one_container(c) for c in containers]
    return DiskUsage(
        type="Containers",
        total=len(lines),
        active=sum(line.active for line in lines),
        size=sum(line.size for line in lines),
        reclaimable=sum(line.reclaimable for line in lines),
    )


def _mounted(containers: Sequence[Container]) -> set[str]:
    return {point.volume for c in containers for point in c.document.mounts if point.volume}


def _volumes(parts: Parts, containers: Sequence[Container]) -> DiskUsage:
    used = _mounted(containers)
    found = [(volume.name in used, tree_bytes(volume)) for volume in parts.store.volumes.list()]
    return DiskUsage(
        type="Local Volumes",
        total=len(found),
        active=sum(active for active, _size in found),
        size=sum(size for _active, size in found),
        reclaimable=sum(size for active, size in found if not active),
    )


def _cache(parts: Parts) -> DiskUsage:
    """Count the layers that only the build cache keeps."""
    store = parts.store
    rows = [row for row in store.records.cache_list() if row.diff_id is not None]
    needed = {diff_id for image in store.images.list() for diff_id in image.diff_ids}
    for key in store.snapshots.list():
        needed.update(store.snapshots.layers(key))
    alone = {row.diff_id for row in rows if row.diff_id is not None and row.diff_id not in needed}
    size = sum(store.layers.get(diff_id).size for diff_id in alone if store.layers.has(diff_id))
    return DiskUsage(type="Build Cache", total=len(rows), active=len(rows) - len(alone), size=size, reclaimable=size)


def tree_bytes(volume: Volume) -> int:
    """Return the bytes on disk below a volume; what cannot be read, or vanishes meanwhile, is not counted."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _names, _files, fd in os.fwalk(volume.path, onerror=lambda _err: None, follow_symlinks=False):
        del directory
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    seen[status.st_dev, status.st_ino] = status.st_blocks * 512
        except OSError:
            continue
    return sum(seen.values())
