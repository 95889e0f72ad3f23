"""The build cache: cached steps and cache mounts, what they take on the disk, and how they are pruned."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping

from notebook_containers.engine.log_words import duration
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass
from notebook_containers.store.cache_mounts import CacheMount
from notebook_containers.store.records import CacheRow

STEP, CACHE_MOUNT = "regular", "exec.cachemount"
_FILTERS = ("id", "type", "until", "unused-for", "inuse", "shared", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One thing in the build cache, in BuildKit's words; times in seconds since 1970.

    ``shared``: an image or container has the same layer, so that pruning the entry frees nothing. ``in_use``: a build holds it now.
    """

    id: str
    type: str
    description: str
    size: int
    created: float
    last_used: float
    in_use: bool
    shared: bool

    @property
    def reclaimable(self) -> bool:
        """Whether pruning it frees its bytes now."""
        return not (self.in_use or self.shared)

    def row(self) -> dict[str, object]:
        """Return it as a row of a table."""
        names = ("id", "type", "description", "size", "created", "last_used", "in_use", "shared", "reclaimable")
        return {name: getattr(self, name) for name in names}


class Builder:
    """The build cache of an engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def caches(self) -> list[CacheMount]:
        """Return the cache mounts, the one used last first."""
        return self._parts.store.cache_mounts.list()

    def entries(self, filters: Mapping[str, str] | None = None) -> list[CacheEntry]:
        """Return all entries that fit the filters (docker's: id, type, until, unused-for, inuse, shared, description), newest first.

        Raises InvalidArgument for an unknown filter or a wrong value.
        """
        wanted = _Filter(filters or {})
        found = [*self._steps(), *(_of_mount(cache) for cache in self.caches())]
        return sorted((entry for entry in found if wanted(entry)), key=lambda e: -e.last_used)

    def prune(self, *, all: bool = False, filters: Mapping[str, str] | None = None, keep_bytes: int = 0) -> dict[str, object]:
        """Remove entries nobody uses, the one used longest ago first, until ``keep_bytes`` are left; ``all``: those with shared layers too.

        Returns docker's ``{"CachesDeleted": [id, …], "SpaceReclaimed": bytes}``. A cache mount goes only when it is asked for, with
        ``all`` or a filter: it is what people built up.
        """
        from notebook_containers.store.collect import collect

        entries = [e for e in self.entries(filters) if not e.in_use and (all or not e.shared) and (all or filters or e.type == STEP)]
        total = sum(e.size for e in self.entries() if e.reclaimable)
        chosen: list[CacheEntry] = []
        for entry in sorted(entries, key=lambda e: e.last_used):
            if keep_bytes and total <= keep_bytes:
                break
            chosen.append(entry)
            total -= entry.size if entry.reclaimable else 0
        freed = self._remove(chosen)
        if all:
            self._parts.store.known_digests.forget()
        reclaimed = collect(self._parts.store)
        return {"CachesDeleted": [e.id for e in chosen], "SpaceReclaimed": freed + reclaimed.bytes}

    def _remove(self, chosen: Iterable[CacheEntry]) -> int:
        store, freed = self._parts.store, 0
        store.records.cache_remove(e.id for e in chosen if e.type == STEP)
        for entry in chosen:
            if entry.type == CACHE_MOUNT:
                freed += store.cache_mounts.remove(entry.id) or 0
        return freed

    def _steps(self) -> Iterable[CacheEntry]:
        store = self._parts.store
        needed = {diff_id for image in store.images.list() for diff_id in image.diff_ids} | store.snapshots.pinned()
        for row in store.records.cache_list():
            if row.diff_id is not None and store.layers.has(row.diff_id):
                yield _of_step(row, store.layers.get(row.diff_id).size, shared=row.diff_id in needed)


def _of_step(row: CacheRow, size: int, *, shared: bool) -> CacheEntry:
    text = str(json.loads(row.document).get("text", ""))
    other = "files of a build context" if row.key.startswith("mount:") else "a build step"
    return CacheEntry(
        id=row.key, type=STEP, description=text or other, size=size, created=row.created,
        last_used=row.created, in_use=False, shared=shared,
    )  # fmt: skip


def _of_mount(cache: CacheMount) -> CacheEntry:
    return CacheEntry(
        id=cache.name, type=CACHE_MOUNT, description=f"cache mount {cache.id}", size=cache.size, created=cache.created,
        last_used=cache.used, in_use=cache.in_use, shared=False,
    )  # fmt: skip


class _Filter:
    """Says whether an entry fits docker's filters."""

    def __init__(self, filters: Mapping[str, str]) -> None:
        for name in filters:
            if name not in _FILTERS:
                raise InvalidArgument(f"unknown filter {name!r}", hint="use " + ", ".join(_FILTERS))
        self._filters = filters
        age = filters.get("until") or filters.get("unused-for")
        self._before = time.time() - duration("the filter's", age) / 1e9 if age else None

    def __call__(self, entry: CacheEntry) -> bool:
        wanted = self._filters
        return all((
            entry.id.startswith(wanted.get("id", "")),
            wanted.get("type", entry.type) == entry.type,
            wanted.get("description", "") in entry.description,
            wanted.get("inuse", str(entry.in_use).lower()) == str(entry.in_use).lower(),
            wanted.get("shared", str(entry.shared).lower()) == str(entry.shared).lower(),
            self._before is None or entry.last_used < self._before,
        ))  # fmt: skip
