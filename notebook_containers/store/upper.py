"""Reads an overlay upper directory: what was made, changed and deleted relative to the layers below."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from contextlib import closing

from notebook_containers.errors import StoreError
from notebook_containers.lean import dataclass
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes
from notebook_containers.store.merged import Merged, MergedDirectory, is_whiteout

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
    stat.S_IFSOCK: "s",
}
LONGEST_PATH = 4000  # bytes; the kernel takes 4095, and /proc/self/fd/… stands before it


@dataclass(slots=True, kw_only=True)
class Item:
    """One name in an upper directory; ``path`` has no leading slash and is empty for the root, which is always the first item.

    ``kind`` is f d l c b p s as in archives (s is a socket), or w for a deletion. ``names`` are a directory's attributes.
    """

    path: str
    kind: str
    status: os.stat_result
    opaque: bool = False
    xattrs: dict[str, bytes] | None = None
    parent: Item | None = None
    children: int = 0
    held_dropped: bool = False
    dropped: bool = False


def scan(root: SafeRoot, *, userxattr: bool, rootless: bool) -> list[Item]:
    """List an upper directory, parents before children, names in byte order. What vanishes meanwhile is passed over.

    As an ordinary user directories that deny their owner are opened up (u+rx); the items keep the true mode.
    """
    first = Item(path="", kind="d", status=os.fstat(root.fd))
    items: list[Item] = []
    todo = [first]
    while todo:
        item = todo.pop()
        items.append(item)
        if item.kind == "d":
            try:
                fd = open_for_reading(root, item, rootless=rootless)
            except FileNotFoundError:
                continue
            try:
                found = _entries(fd, item, userxattr)
            finally:
                os.close(fd)
            item.children = len(found)
            todo.extend(sorted(found, key=lambda child: os.fsencode(child.path), reverse=True))
    return items


def _entries(fd: int, item: Item, userxattr: bool) -> list[Item]:
    names = attributes.names(fd)
    item.opaque = bool(names) and attributes.opaque_name(rootless=userxattr) in names
    item.xattrs = attributes.read(fd, names)
    prefix = f"{item.path}/" if item.path else ""
    found = []
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = prefix + entry.name
            if len(path) > LONGEST_PATH // 4 and len(os.fsencode(path)) > LONGEST_PATH:
                raise StoreError(f"a path longer than {LONGEST_PATH} bytes cannot be in a layer: {path[:60]!a}…")
            kind = "w" if is_whiteout(status) else _KINDS[stat.S_IFMT(status.st_mode)]
            found.append(Item(path=path, kind=kind, status=status, parent=item))
    return found


def open_for_reading(root: SafeRoot, item: Item, *, rootless: bool) -> int:
    """Open an item's directory or file; as an ordinary user also one whose mode denies that (the mode of a file is put back)."""
    flags = _READ | (os.O_DIRECTORY if item.kind == "d" else 0)
    try:
        return root.open(item.path, flags)
    except PermissionError as err:
        if not rootless or err.errno != errno.EACCES:
            raise
    return open_denied(root, item.path, flags, stat.S_IMODE(item.status.st_mode))


def open_denied(root: SafeRoot, path: str, flags: int, mode: int) -> int:
    """Open what its owner (we) may not read, by changing its mode."""
    closed = root.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        os.chmod(f"/proc/self/fd/{closed}", mode | (0o500 if flags & os.O_DIRECTORY else 0o400))
    finally:
        os.close(closed)
    fd = root.open(path, flags)
    if not flags & os.O_DIRECTORY:
        os.fchmod(fd, mode)
    return fd


def drop_ignored(items: list[Item], ignore: Collection[str], below: Merged) -> None:
    """Mark as dropped: sockets; ``ignore``d paths that are empty and did not exist below; parents that differ only by having held them.

    A container's runtime makes mount points that the image lacks (/dev, /etc/resolv.conf); they are no part of the change.
    """
    ignored = {path.strip("/") for path in ignore}
    with closing(_Lower(below)) as lower:
        for item in reversed(items):  # children before parents
            if item.parent is None:
                continue
            mount_point = item.path in ignored and _is_empty(item)
            if item.kind == "s" or (mount_point and not lower.exists(item.path)) or _only_held_ignored(item, lower):
                item.dropped = True
                item.parent.children -= 1
                item.parent.held_dropped = True


def _is_empty(item: Item) -> bool:
    return item.children == 0 if item.kind == "d" else item.kind == "f" and not item.status.st_size


def _only_held_ignored(item: Item, lower: _Lower) -> bool:
    if not item.held_dropped or item.children or item.opaque:
        return False
    status = lower.directory(item.path).status()
    return status is not None and same_directory(status, item.status)


def same_directory(one: os.stat_result, other: os.stat_result) -> bool:
    """Say whether two directories have the same mode and owner."""
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


class _Lower:
    """What is below, with the directory asked for last kept open: mount points stand side by side. Close it."""

    def __init__(self, below: Merged) -> None:
        self._below = below
        self._path = ""
        self._directory = MergedDirectory([])

    def directory(self, path: str) -> MergedDirectory:
        if not self._directory or path != self._path:
            self.close()
            self._directory, self._path = self._below.directory(path), path
        return self._directory

    def exists(self, path: str) -> bool:
        head, _, name = path.rpartition("/")
        return self.directory(head).find(name) is not None

    def close(self) -> None:
        self._directory.close()
