"""Where the bytes of a store are: every one on its disk, counted once, at the thing that it belongs to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from notebook_containers.lean import dataclass
from notebook_containers.store.store import Store

_BLOCK = 512
_LOG = "container.log"
_REGISTRIES = ("manifests", "certs.d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A thing on the disk: ``kind`` is blob, layer, snapshot, container, log, cache, volume, staging, trash, database or store.

    ``name`` is the digest, key, id or name (of what is in staging or trash the file's), ``bytes`` what it takes on the disk, with its
    directories. ``store`` is the rest: the store's own directories, its locks.
    """

    kind: str
    name: str
    bytes: int


def places(store: Store) -> list[Place]:
    """Return everything below the store's root; the sum is what ``du`` says, as long as nobody works in it.

    What is mounted below the root is not counted, and what vanishes meanwhile perhaps.
    """
    walk = _Walk(store, set())
    found = [
        *(
            Place(kind="blob", name=f"{folder}:{name}", bytes=size)
            for folder in walk.names("blobs")
            for name, size in walk.below("blobs", folder)
        ),
        *(Place(kind="layer", name=f"sha256:{name}", bytes=size) for name, size in walk.below("layers")),
        *(Place(kind="snapshot", name=name, bytes=size) for name, size in walk.below("snapshots")),
        *_containers(walk),
        *(Place(kind="cache", name=name, bytes=size) for name, size in walk.below("cachemounts") if name != "locks"),
        *(Place(kind="volume", name=name, bytes=size) for name, size in walk.below("volumes")),
        *(Place(kind="staging", name=name, bytes=size) for boot in walk.names("tmp") for name, size in walk.below("tmp", boot)),
        *(Place(kind="trash", name=name, bytes=size) for boot in walk.names("trash") for name, size in walk.below("trash", boot)),
        *(Place(kind="database", name=path.name, bytes=walk.tree(path)) for path in _files(store.root) if _is_database(path.name)),
    ]
    return [*found, Place(kind="store", name=str(store.root), bytes=_own(store.root))]


def _own(root: Path) -> int:
    """Return the bytes of the store's own directories, and of its small files (locks, the id map, what is said about registries)."""
    directories = [root, *(path for path in root.iterdir() if path.is_dir() and path.name not in _REGISTRIES)]
    directories += [path for name in ("blobs", "tmp", "trash") for path in (root / name).iterdir() if path.is_dir()]
    files = [path for path in _files(root) if not _is_database(path.name)]
    locks = tree_bytes(root / "cachemounts" / "locks") + sum(tree_bytes(root / name) for name in _REGISTRIES)
    return sum(os.lstat(path).st_blocks * _BLOCK for path in (*directories, *files)) + locks


Seen: TypeAlias = "set[tuple[int, int]]"


def tree_bytes(path: Path, *, closed: Callable[[Path], int] | None = None, counted: Seen | None = None) -> int:
    """Return the bytes that a file or tree takes on the disk, each inode once, and none of those in ``counted``, which it adds to.

    ``closed`` counts a tree that this process may not read.
    """
    seen: Seen = set() if counted is None else counted
    try:
        top = os.lstat(path)
    except FileNotFoundError:
        return 0
    total = _count(top, seen)
    if not stat.S_ISDIR(top.st_mode):
        return total

    def refuse(err: OSError) -> None:
        if not isinstance(err, FileNotFoundError):
            raise err

    try:
        for _path, names, files, fd in os.fwalk(path, onerror=refuse, follow_symlinks=False):
            status = os.fstat(fd)
            if status.st_dev != top.st_dev:
                names.clear()
                continue
            total += _count(status, seen)
            for name in files:
                with suppress(FileNotFoundError):
                    total += _count(os.stat(name, dir_fd=fd, follow_symlinks=False), seen)
    except PermissionError:
        return 0 if closed is None else closed(path)
    return total


def _count(status: os.stat_result, seen: Seen) -> int:
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return 0
    seen.add(key)
    return status.st_blocks * _BLOCK


@dataclass(frozen=True, slots=True)
class _Walk:
    store: Store
    seen: Seen

    def names(self, *parts: str) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(os.listdir(self.store.root.joinpath(*parts)))
        return []

    def below(self, *parts: str) -> Iterator[tuple[str, int]]:
        for name in self.names(*parts):
            yield name, self.tree(self.store.root.joinpath(*parts, name))

    def tree(self, path: Path) -> int:
        return tree_bytes(path, closed=self.store.trees.usage, counted=self.seen)


def _containers(walk: _Walk) -> Iterator[Place]:
    for name in walk.names("containers"):
        directory = walk.store.root / "containers" / name
        logs = sum(walk.tree(path) for path in _files(directory) if path.name.startswith(_LOG))
        yield Place(kind="log", name=name, bytes=logs)
        yield Place(kind="container", name=name, bytes=walk.tree(directory))  # without the logs, which are counted already


def _files(directory: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in directory.iterdir() if path.is_file())
    return []


def _is_database(name: str) -> bool:
    return name.startswith(("nbc.db", "volatile-"))
