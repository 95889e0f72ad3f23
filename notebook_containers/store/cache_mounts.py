"""Cache mounts: directories that outlive builds (``RUN --mount=type=cache``), each with a lock that says who uses it.

``cachemounts/<name>/{_data,record}``; the name is a digest of the id, so that no id can lead anywhere. Nothing here is durable on purpose:
a power cut may cost a cache, never more. The lock is a flock on a file that is never removed, so two users of one id always meet.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_containers.lean import dataclass
from notebook_containers.store.disk import Disk, make_directory, translated
from notebook_containers.store.trees import Attributes, Trees

_MOST_PRIVATE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMount:
    """A cache: its id, name on disk, bytes on disk, when it was made and last used (seconds since 1970), and whether a build uses it."""

    id: str
    name: str
    size: int
    created: float
    used: float
    in_use: bool


class CacheMounts:
    """The cache mounts of a store; thread-safe, several processes at once."""

    def __init__(self, disk: Disk, trees: Trees) -> None:
        self._disk, self._trees = disk, trees
        self._root = disk.root / "cachemounts"

    @contextmanager
    def hold(self, id: str, sharing: str, attributes: Attributes, fill: Callable[[Path], None]) -> Iterator[Path]:
        """Give the block the directory of a cache, made with ``attributes`` (mode, uid, gid) and filled by ``fill`` when it is new.

        ``sharing``: ``shared`` with all others, ``locked`` waits until nobody else has it, ``private`` takes another directory when the
        first is in use. Raises StoreError, DiskFull.
        """
        name, fd = self._locked(id, sharing)
        try:
            directory = self._root / name
            if not (directory / "_data").is_dir():
                self._make(directory, id, attributes, fill)
            with translated(directory):
                os.utime(directory / "record")
            yield directory / "_data"
        finally:
            os.close(fd)

    def list(self) -> list[CacheMount]:
        """Return all caches, the one used last first."""
        with translated(self._root):
            names = sorted(name for name in os.listdir(self._root) if name != "locks")
        return sorted((found for name in names if (found := self._read(name)) is not None), key=lambda c: -c.used)

    def remove(self, name: str) -> int | None:
        """Delete a cache that nobody uses and return its bytes; None when somebody uses it, or it is gone."""
        found = self._read(name)
        if found is None:
            return None
        fd = self._lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if fd is None:
            return None
        try:
            return found.size if self._disk.discard(self._root / name) else None
        finally:
            os.close(fd)

    def _locked(self, id: str, sharing: str) -> tuple[str, int]:
        if sharing != "private":
            name = _name(id, 0)
            fd = self._lock(name, fcntl.LOCK_EX if sharing == "locked" else fcntl.LOCK_SH)
            assert fd is not None
            return name, fd
        for number in range(_MOST_PRIVATE):
            fd = self._lock(_name(id, number), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if fd is not None:
                return _name(id, number), fd
        raise AssertionError(f"more than {_MOST_PRIVATE} builds use one private cache")

    def _lock(self, name: str, how: int) -> int | None:
        path = self._root / "locks" / name
        with translated(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _make(self, directory: Path, id: str, attributes: Attributes, fill: Callable[[Path], None]) -> None:
        """Make a cache aside and rename it into place; when two sharers do so at once, the first one's counts."""
        staged = self._disk.staged_path()
        try:
            with translated(staged):
                make_directory(staged)
                make_directory(staged / "_data", 0o755)
                (staged / "record").write_text(json.dumps({"id": id, "created": time.time()}))
            fill(staged / "_data")
            with translated(staged):
                self._trees.give(staged / "_data", attributes)
                self._disk.publish(staged, directory, durable=False)
        finally:
            if staged.exists():
                self._disk.discard(staged)

    def _read(self, name: str) -> CacheMount | None:
        directory = self._root / name
        try:
            record = json.loads((directory / "record").read_text())
            used = os.stat(directory / "record").st_mtime
            size = self._trees.usage(directory / "_data")
        except (OSError, ValueError):
            return None
        fd = self._lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if fd is not None:
            os.close(fd)
        return CacheMount(id=str(record["id"]), name=name, size=size, created=record["created"], used=used, in_use=fd is None)


def _name(id: str, number: int) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()[:32] + (f"-{number}" if number else "")


def prune(caches: CacheMounts, wanted: Callable[[CacheMount], bool]) -> int:
    """Delete the caches that are ``wanted`` and in nobody's use; returns the bytes freed."""
    freed = 0
    for cache in caches.list():
        if wanted(cache):
            with suppress(FileNotFoundError):
                freed += caches.remove(cache.name) or 0
    return freed
