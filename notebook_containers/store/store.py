"""The store: one directory, its SQLite file, and the nouns that live there."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from pathlib import Path

from notebook_containers.lean import replace
from notebook_containers.store.cache_mounts import CacheMounts
from notebook_containers.store.content import ContentStore
from notebook_containers.store.disk import Disk
from notebook_containers.store.idmap import StoreIds, settle
from notebook_containers.store.images import Images
from notebook_containers.store.known_digests import KnownDigests
from notebook_containers.store.layers import LayerStore
from notebook_containers.store.records import Records
from notebook_containers.store.snapshots import Snapshots
from notebook_containers.store.volumes import Volumes

_DATABASE = "nbc.db"


class Store:
    """Everything on disk; made by :meth:`open`, thread-safe, several processes at once. Close it, or use it in a ``with`` statement."""

    def __init__(self, disk: Disk, records: Records, ids: StoreIds) -> None:
        self.ids = ids
        self.trees = ids.trees()
        self.disk = disk = replace(disk, deleter=None if ids.maps is None or ids.single else self.trees.remove)
        self.root = disk.root
        self.rootless = os.geteuid() != 0
        self.records = records
        self.content = ContentStore(disk)
        self.layers = LayerStore(self.root, self.content, records, self.trees)
        self.snapshots = Snapshots(self.root, self.layers)
        self.images = Images(self.content, records, self.layers)
        self.volumes = Volumes(disk, records)
        self.known_digests = KnownDigests(disk)
        self.cache_mounts = CacheMounts(disk, self.trees)
        self._stop = threading.Event()
        self._sweeper: threading.Thread | None = None

    @classmethod
    def open(cls, root: Path) -> Store:
        """Open the store at ``root``, making what is missing; what dead processes left is cleared in the background.

        Raises StoreError naming a root that cannot be used (or whose ids are not the caller's any more), DiskFull, Corrupt for a damaged
        database, Unsupported for a newer schema.
        """
        disk = Disk.open(Path(os.path.abspath(root)))
        ids = settle(disk)
        store = cls(disk, Records(disk.root / _DATABASE, disk.volatile_rows), ids)
        try:
            store._clear_leftovers()
        except BaseException:
            store.records.close()
            raise
        return store

    def _clear_leftovers(self) -> None:
        if self.disk.forget_other_boots():
            self._clear_after_boot()
        if self.disk.has_leftovers():
            self._sweeper = threading.Thread(target=self.disk.sweep, args=(self._stop,), name="nbc-sweep", daemon=True)
            self._sweeper.start()

    def _clear_after_boot(self) -> None:
        """Free what containers left whose rows the restart took away; while somebody holds a lease, that is for the next collection."""
        from notebook_containers.store.collect import drop_unrecorded

        with self.disk.exclusive(wait_s=0) as alone:
            if alone:
                drop_unrecorded(self)

    @staticmethod
    def set_aside(root: Path) -> None:
        """Put a database aside that cannot be read, with the images and containers only it knew; volumes stay, without their rows."""
        Disk.open(Path(os.path.abspath(root))).set_aside(_DATABASE)

    def lease(self) -> AbstractContextManager[None]:
        """Hold off collection while the block runs: for pull, build, load, commit and create, from the first look to the last record."""
        return self.disk.lease()

    def close(self) -> None:
        """Close the database; stop clearing what others left, and finish what this store retired; idempotent."""
        self._stop.set()
        if self._sweeper is not None:
            self._sweeper.join()
            self._sweeper = None
        self.disk.settle()
        self.trees.close()
        self.records.close()

    def __enter__(self) -> Store:
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()
