"""An overlay upper directory becomes a layer's archive, and at the same time a tree fit to be a lower directory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from notebook_containers.errors import StoreError
from notebook_containers.lean import dataclass
from notebook_containers.linux.delete import remove_tree
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes
from notebook_containers.store.tar_reader import Entry
from notebook_containers.store.tar_writer import TarWriter
from notebook_containers.store.upper import LONGEST_PATH, Item, open_denied

_PIECE = 1 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How to pack: ``own_ids`` are the (uid, gid) that stand for root (None: ids are kept); times after ``epoch`` become it.

    ``sanitise`` also cleans the directory itself, so that it equals the archive: only for one that nobody uses any more.
    """

    own_ids: tuple[int, int] | None
    userxattr: bool
    epoch: int | None = None
    sanitise: bool = False


def pack(root: SafeRoot, items: Sequence[Item], write: Callable[[bytes], object], packing: Packing, *, with_root: bool) -> list[str]:
    """Write the items that are not dropped as an archive to ``write``; return warnings.

    Deterministic: the same names, contents, owners, modes and times give the same bytes. Files that shrink meanwhile are
    filled up with zeros, what grows is cut: a running container's files are as good as those of a power cut.
    """
    packer = _Packer(root, write, packing)
    try:
        for item in items:
            if item.dropped:
                packer.drop(item)
            elif item.path or with_root:
                packer.add(item)
        packer.finish()
    finally:
        packer.close()
    return packer.warnings


class _Packer:
    def __init__(self, root: SafeRoot, write: Callable[[bytes], object], packing: Packing) -> None:
        self._root, self._packing = root, packing
        self._tar = TarWriter(write)
        self._links: dict[tuple[int, int], str] = {}
        self._parent_path: str | None = None
        self._parent_fd = -1
        self._times: list[tuple[Item, int]] = []
        self._unwanted: list[Item] = []
        self.warnings: list[str] = []

    def close(self) -> None:
        if self._parent_fd >= 0:
            os.close(self._parent_fd)
            self._parent_fd, self._parent_path = -1, None  # opening the next may fail: nobody must take -1 for this one

    def finish(self) -> None:
        self._tar.close()
        if self._packing.sanitise:
            self._clean_tree()

    def drop(self, item: Item) -> None:
        self._unwanted.append(item)

    def add(self, item: Item) -> None:
        name = item.path.rpartition("/")[2]
        if name.startswith(".wh."):
            raise StoreError(f"/{item.path} cannot be in a layer: names that begin with .wh. are deletions there", hint="rename it")
        if item.kind == "w":
            self._tar.add(self._entry(item, path=_beside(item.path, ".wh." + name), kind="f", mode=0o600))
        elif item.kind == "d":
            self._directory(item)
        else:
            self._unless_gone(item, name)

    def _unless_gone(self, item: Item, name: str) -> None:
        try:
            if item.kind == "f":
                self._file(item, name)
            else:
                self._special(item, name)
        except OSError as err:
            if self._packing.sanitise or err.errno not in _GONE:
                raise
            self.warnings.append(f"/{item.path} vanished while it was read")

    def _parent(self, path: str) -> int:
        if path != self._parent_path:
            self.close()
            self._parent_fd = self._root.open(path, os.O_PATH | os.O_DIRECTORY)
            self._parent_path = path
        return self._parent_fd

    def _directory(self, item: Item) -> None:
        entry = self._entry(item, xattrs=item.xattrs or {})
        self._tar.add(entry)
        if item.opaque:
            self._tar.add(self._entry(item, path=f"{item.path}/.wh..wh..opq" if item.path else ".wh..wh..opq", kind="f", mode=0o600))
        if self._packing.sanitise:
            self._strip_directory(item)
            if self._is_clamped(item):
                self._times.append((item, entry.mtime_ns))

    def _special(self, item: Item, name: str) -> None:
        parent = self._parent(item.path.rpartition("/")[0])
        if self._is_linked(item):
            return
        link = os.readlink(name, dir_fd=parent) if item.kind == "l" else ""
        self._remember(item)
        device = (os.major(item.status.st_rdev), os.minor(item.status.st_rdev)) if item.kind in "cb" else (0, 0)
        self._tar.add(self._entry(item, link=link, device=device))
        if self._packing.sanitise:
            path = f"/proc/self/fd/{parent}/{name}"
            for attribute in attributes.names(path):
                if attributes.is_overlay(attribute):
                    os.removexattr(path, attribute, follow_symlinks=False)
            if self._is_clamped(item):
                os.utime(name, ns=(self._mtime(item), self._mtime(item)), dir_fd=parent, follow_symlinks=False)

    def _is_linked(self, item: Item) -> bool:
        """Write a hard link when the same inode was written before."""
        if item.status.st_nlink < 2:
            return False
        first = self._links.get((item.status.st_dev, item.status.st_ino))
        if first is None:
            return False
        self._tar.add(self._entry(item, kind="h", link=first))
        return True

    def _file(self, item: Item, name: str) -> None:
        parent = self._parent(item.path.rpartition("/")[0])
        if self._is_linked(item):
            return
        try:
            fd = os.open(name, _READ, dir_fd=parent)
        except PermissionError:
            if self._packing.own_ids is None:
                raise
            fd = open_denied(self._root, item.path, _READ, stat.S_IMODE(item.status.st_mode))
        try:
            self._write_file(item, fd)
        finally:
            os.close(fd)

    def _remember(self, item: Item) -> None:
        if item.status.st_nlink > 1:
            self._links[item.status.st_dev, item.status.st_ino] = item.path

    def _write_file(self, item: Item, fd: int) -> None:
        self._remember(item)
        names = attributes.names(fd)
        size = os.fstat(fd).st_size
        self._tar.add(self._entry(item, size=size, xattrs=attributes.read(fd, names) if names else {}))
        left = size
        while left:
            piece = os.read(fd, min(left, _PIECE))
            if not piece:
                self.warnings.append(f"/{item.path} shrank while it was read")
                piece = bytes(min(left, _PIECE))
            self._tar.data(piece)
            left -= len(piece)
        self._tar.pad(size)
        if self._packing.sanitise:
            _remove_attributes(fd, [attribute for attribute in names if attributes.is_overlay(attribute)])
            if self._is_clamped(item):
                os.utime(fd, ns=(self._mtime(item), self._mtime(item)))

    # what headers say

    def _entry(
        self,
        item: Item,
        *,
        path: str = "",
        kind: str = "",
        mode: int = -1,
        size: int = 0,
        link: str = "",
        device: tuple[int, int] = (0, 0),
        xattrs: dict[str, bytes] | None = None,
    ) -> Entry:
        status = item.status
        return Entry(
            name=path or item.path or ".",
            kind=kind or item.kind,
            mode=stat.S_IMODE(status.st_mode) if mode < 0 else mode,
            uid=self._id(status.st_uid, 0),
            gid=self._id(status.st_gid, 1),
            size=size,
            mtime_ns=self._mtime(item),
            link=link,
            device=device,
            xattrs=xattrs or {},
        )

    def _id(self, number: int, which: int) -> int:
        own = self._packing.own_ids
        return 0 if own is not None and own[which] == number else number

    def _is_clamped(self, item: Item) -> bool:
        return self._packing.epoch is not None and item.status.st_mtime_ns > self._packing.epoch * 10**9

    def _mtime(self, item: Item) -> int:
        if self._packing.epoch is not None and self._is_clamped(item):
            return self._packing.epoch * 10**9
        return item.status.st_mtime_ns

    # the tree itself

    def _strip_directory(self, item: Item) -> None:
        fd = self._root.open(item.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            kept = attributes.opaque_name(rootless=self._packing.userxattr)
            _remove_attributes(fd, [name for name in attributes.names(fd) if attributes.is_overlay(name) and name != kept])
        finally:
            os.close(fd)

    def _clean_tree(self) -> None:
        for item in self._unwanted:
            head, _, name = item.path.rpartition("/")
            try:
                remove_tree(self._parent(head), name)
            except FileNotFoundError:
                continue  # its parent was dropped too
            self._times.append((item.parent, self._mtime(item.parent))) if item.parent and not item.parent.dropped else None
        for item, mtime_ns in reversed(self._times):
            fd = self._root.open(item.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)


def _remove_attributes(fd: int, names: Sequence[str]) -> None:
    """Remove attributes; an ordinary user may do that only while the mode lets the owner write."""
    for name in names:
        try:
            os.removexattr(fd, name)
        except PermissionError:
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            if mode & 0o200:
                raise
            os.fchmod(fd, mode | 0o200)
            try:
                os.removexattr(fd, name)
            finally:
                os.fchmod(fd, mode)


def _beside(path: str, name: str) -> str:
    head = path.rpartition("/")[0]
    if len(path) + 4 > LONGEST_PATH:
        raise StoreError(f"a path longer than {LONGEST_PATH} bytes cannot be in a layer: {path[:60]!a}…")
    return f"{head}/{name}" if head else name
