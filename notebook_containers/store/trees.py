"""All that touches the files of layers and snapshots: unpack, look, compare, pack, copy, delete.

Two implementations. :class:`LocalTrees` works in this process: root's (every owner is kept), and an ordinary user's who has one id
(everything is the user's own; only overlay mounts need a worker). :class:`~notebook_containers.store.mapped.MappedTrees` has each of
these done by a worker in a user name space with the lent ids, where files of any owner can be made, read and removed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from notebook_containers.lean import dataclass
from notebook_containers.store.merged import Merged

if TYPE_CHECKING:
    from notebook_containers.linux.idmaps import IdMaps
    from notebook_containers.linux.paths import SafeRoot
    from notebook_containers.store.changes import Change
    from notebook_containers.store.edit import ViewOf
    from notebook_containers.store.operations import Operation
    from notebook_containers.store.overlay import Stack
    from notebook_containers.store.tar_reader import Readable
    from notebook_containers.store.unpack import Rules, Unpacked
    from notebook_containers.store.upper import Item

# What unpacks, packs and compares is imported where it is used: running a container, where milliseconds count, needs none of it.

Attributes: TypeAlias = tuple[int, int, int]
"""Mode, uid and gid as they are inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRequest:
    """An upper directory to pack, as :func:`~notebook_containers.store.pack.pack` does.

    ``below`` are the layers' trees, bottom first, ``root`` what they give ``/``; ``take`` is where the directory goes when it is packed
    (it is then cleaned to equal the archive), or None to leave it in use.
    """

    upper: Path
    below: tuple[Path, ...]
    root: Attributes
    ignore: frozenset[str] = frozenset()
    epoch: int | None = None
    take: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A packed directory: what it gives ``/`` when that is new, and what could not be kept."""

    root: Attributes | None
    warnings: tuple[str, ...]


class Trees(Protocol):
    """What the store does with files; ids are those inside. Raises OSError for what the kernel refuses, and the store's own errors."""

    def unpack(self, stream: Readable, directory: Path) -> Unpacked:
        """Unpack a layer's archive as ``directory/diff``, which is made; the stream is read to its end."""

    def compare(self, stream: Readable, directory: Path, *, lenient: bool) -> list[str]:
        """Hold the tree ``directory`` against its archive, which is read to its end; return the differences in words."""

    def give(self, path: Path, attributes: Attributes) -> None:
        """Set a directory's mode and owner."""

    def changes(self, upper: Path, below: Sequence[Path], ignore: Collection[str]) -> list[Change]:
        """Compare an upper directory with what is below."""

    def usage(self, upper: Path) -> int:
        """Return the bytes that an upper directory's files take."""

    def pack(self, request: PackRequest, write: Callable[[bytes], object]) -> Packed | None:
        """Pack an upper directory; None, and nothing written, when it differs in nothing from what is below."""

    def read_file(self, trees: Sequence[Path], path: str, max_bytes: int) -> bytes | None:
        """Return a regular file of merged trees; None when there is none, OSError EFBIG when it is longer."""

    def read_live(self, directory: Path, path: str, max_bytes: int) -> bytes:
        """Return a regular file of a directory that others may be changing; see :func:`.live.read`."""

    def names_live(self, directory: Path, path: str) -> list[str]:
        """List a directory of a tree that others may be changing."""

    def own(self, directory: Path, uid: int, gid: int) -> None:
        """Give a directory with all below to an owner."""

    def find(self, trees: Sequence[Path], directory: str, name: str) -> tuple[int, int, int, str] | None:
        """Return mode, uid, gid and link text of a name in merged trees; ``name`` is empty for the directory itself."""

    def names(self, trees: Sequence[Path], directory: str) -> list[str]:
        """List a directory of merged trees."""

    def edit(self, target: Stack, operations: Sequence[Operation], view: ViewOf) -> None:
        """Carry out file operations."""

    def remove(self, path: Path) -> None:
        """Delete a tree, never across a mount."""

    def close(self) -> None:
        """Let go of what is held; idempotent."""


class LocalTrees:
    """In this process. ``maps`` is None for root and inside a worker, the single id's map for an ordinary user.

    ``userxattr`` says which name space overlay's attributes are in; ``highest`` is the last id that exists, when not every one does.
    """

    def __init__(self, maps: IdMaps | None, *, userxattr: bool, highest: int | None = None) -> None:
        self._single = maps is not None
        self._userxattr, self._highest = userxattr, highest
        self._edit_in: Callable[[Stack, Sequence[Operation], ViewOf], None] = self._edit_here
        self._close: Callable[[], None] = lambda: None
        if maps is not None:
            from notebook_containers.store.mapped import MappedTrees

            worker = MappedTrees(maps)
            self._edit_in, self._close = worker.edit, worker.close

    def unpack(self, stream: Readable, directory: Path) -> Unpacked:
        """Unpack a layer's archive."""
        from notebook_containers.linux.paths import SafeRoot
        from notebook_containers.store.tar_reader import Limits, TarReader
        from notebook_containers.store.unpack import unpack

        space = os.statvfs(directory)
        limits = Limits(total_bytes=space.f_bavail * space.f_frsize)
        os.mkdir(directory / "diff", 0o755)
        os.chmod(directory / "diff", 0o755)
        with SafeRoot.at(directory / "diff") as root:
            return unpack(TarReader(stream, limits=limits), root, self._rules())

    def compare(self, stream: Readable, directory: Path, *, lenient: bool) -> list[str]:
        """Hold a tree against its archive."""
        from notebook_containers.linux.paths import SafeRoot
        from notebook_containers.store.comparison import compare
        from notebook_containers.store.tar_reader import TarReader

        with SafeRoot.at(directory) as root:
            return compare(TarReader(stream), root, self._rules(), lenient=lenient)

    def _rules(self) -> Rules:
        from notebook_containers.store.unpack import Rules

        return Rules(layer=True, single_id=self._single, userxattr=self._userxattr, highest=self._highest)

    def give(self, path: Path, attributes: Attributes) -> None:
        """Set a directory's mode and owner."""
        mode, uid, gid = attributes
        if not self._single:
            os.chown(path, uid, gid)
        os.chmod(path, mode)

    def changes(self, upper: Path, below: Sequence[Path], ignore: Collection[str]) -> list[Change]:
        """Compare an upper directory with what is below."""
        from notebook_containers.linux.paths import SafeRoot
        from notebook_containers.store.changes import changes
        from notebook_containers.store.upper import drop_ignored

        with Merged(below, userxattr=self._userxattr) as merged, SafeRoot.at(upper) as root:
            items = self._scan(root)
            drop_ignored(items, ignore, merged)
            return changes(items, merged)

    def usage(self, upper: Path) -> int:
        """Return the bytes that an upper directory's files take."""
        from notebook_containers.linux.paths import SafeRoot

        with SafeRoot.at(upper) as root:
            items = self._scan(root)
        return sum({(i.status.st_dev, i.status.st_ino): i.status.st_blocks * 512 for i in items}.values())

    def pack(self, request: PackRequest, write: Callable[[bytes], object]) -> Packed | None:
        """Pack an upper directory."""
        from notebook_containers.linux.paths import SafeRoot
        from notebook_containers.store.pack import Packing, pack
        from notebook_containers.store.upper import drop_ignored

        with Merged(request.below, userxattr=self._userxattr, cut=True) as below, SafeRoot.at(request.upper) as upper:
            items = self._scan(upper)
            drop_ignored(items, request.ignore, below)
            _check_room(items, upper)
            now = self._attributes(items[0].status)
            root = None if now == request.root else now
            if root is None and not items[0].opaque and not any(item.path and not item.dropped for item in items):
                return None
            own = (os.geteuid(), os.getegid()) if self._single else None
            packing = Packing(own_ids=own, userxattr=self._userxattr, epoch=request.epoch, sanitise=request.take is not None)
            warnings = pack(upper, items, write, packing, with_root=root is not None)
        if request.take is not None:
            _move(request.upper, request.take)
        return Packed(root=root, warnings=tuple(warnings))

    def read_file(self, trees: Sequence[Path], path: str, max_bytes: int) -> bytes | None:
        """Return a regular file of merged trees."""
        with Merged(trees, userxattr=self._userxattr) as merged:
            return merged.read_file(path, max_bytes=max_bytes)

    @staticmethod
    def read_live(directory: Path, path: str, max_bytes: int) -> bytes:
        """Return a regular file of a directory that others may be changing."""
        from notebook_containers.store import live

        return live.read(directory, path, max_bytes)

    @staticmethod
    def names_live(directory: Path, path: str) -> list[str]:
        """List a directory of a tree that others may be changing."""
        from notebook_containers.store import live

        return live.names(directory, path)

    def own(self, directory: Path, uid: int, gid: int) -> None:
        """Give a directory with all below to an owner; with one id everything is its own already."""
        from notebook_containers.store import live

        if not self._single:
            live.own(directory, uid, gid)

    def find(self, trees: Sequence[Path], directory: str, name: str) -> tuple[int, int, int, str] | None:
        """Return mode, uid, gid and link text of a name in merged trees."""
        with Merged(trees, userxattr=self._userxattr) as merged, merged.directory(directory) as here:
            if not name:
                status = here.status()
                return None if status is None else (status.st_mode, *self._attributes(status)[1:], "")
            found = here.find(name)
            if found is None:
                return None
            link = os.readlink(name, dir_fd=found.directory) if stat.S_ISLNK(found.status.st_mode) else ""
            return found.status.st_mode, *self._attributes(found.status)[1:], link

    def names(self, trees: Sequence[Path], directory: str) -> list[str]:
        """List a directory of merged trees."""
        with Merged(trees, userxattr=self._userxattr) as merged, merged.directory(directory) as here:
            return here.names()

    def edit(self, target: Stack, operations: Sequence[Operation], view: ViewOf) -> None:
        """Carry out file operations."""
        self._edit_in(target, operations, view)

    @staticmethod
    def remove(path: Path) -> None:
        """Delete a tree."""
        from notebook_containers.linux.delete import remove_tree

        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(parent, path.name)
        finally:
            os.close(parent)

    def close(self) -> None:
        """End the worker for overlay mounts, if there is one."""
        self._close()

    def _edit_here(self, target: Stack, operations: Sequence[Operation], view: ViewOf) -> None:
        from notebook_containers.store.edit import perform

        perform(target, operations, view, single_id=self._single, userxattr=self._userxattr)

    def _scan(self, root: SafeRoot) -> list[Item]:
        from notebook_containers.store.upper import scan

        return scan(root, userxattr=self._userxattr, rootless=self._single)

    def _attributes(self, status: os.stat_result) -> Attributes:
        owner = (0, 0) if self._single else (status.st_uid, status.st_gid)
        return (stat.S_IMODE(status.st_mode), *owner)


def _move(directory: Path, target: Path) -> None:
    """Rename a directory to another parent, which needs the right to write in the directory itself: its ``..`` changes."""
    mode = stat.S_IMODE(os.stat(directory).st_mode)
    if mode & 0o200:
        os.rename(directory, target)
        return
    os.chmod(directory, mode | 0o200)
    os.rename(directory, target)
    os.chmod(target, mode)


def _check_room(items: Sequence[Item], upper: SafeRoot) -> None:
    """Raise DiskFull when the archive cannot fit: a file of holes takes no room until it is packed (and could take days to write)."""
    from notebook_containers.errors import DiskFull

    files = [item for item in items if item.kind == "f" and not item.dropped]
    needed = sum({(item.status.st_dev, item.status.st_ino): item.status.st_size for item in files}.values())
    space = os.fstatvfs(upper.fd)
    if needed > space.f_bavail * space.f_frsize:
        largest = max(files, key=lambda item: item.status.st_size)
        raise DiskFull(
            f"the changed files have {needed} bytes, more than is free; the largest is /{largest.path}, {largest.status.st_size} bytes",
            hint="remove it, or free space with 'nbc system prune'",
        )
