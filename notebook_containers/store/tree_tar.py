"""A file or directory of a tree that others may be changing becomes a tar stream, entry by entry: nothing is listed ahead, nothing hangs.

Every name is opened with O_PATH and looked at before it is read, so a device, a FIFO or a link put in a file's place is never opened
(and never followed). Memory does not grow with the tree, only with the largest directory.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection

from notebook_containers.errors import StoreError
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes
from notebook_containers.store.tar_reader import Entry
from notebook_containers.store.tar_writer import TarWriter
from notebook_containers.store.upper import LONGEST_PATH

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
_PIECE = 1 << 20
_MOST_WARNINGS = 20
_HOLLOW_BYTES = 1 << 40
_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}


def send_tree(root: SafeRoot, path: str, write: Callable[[bytes], object], *, name: str, skip: Collection[int] = ()) -> list[str]:
    """Write what is at ``path`` (its last component is not followed) and all below it as an archive to ``write``; return warnings.

    The top entry is called ``name``; ``.`` gives a directory's contents alone. Directories on a file system whose ``st_dev`` is in
    ``skip`` (procfs and its like) are written empty. What vanishes meanwhile is left out, what shrinks is filled up with zeros, sockets
    are left out: each with a warning. OSError when the top itself cannot be read; StoreError for a file of holes beyond a terabyte,
    which would take days to send.
    """
    top = root.open(path, _LOOK)
    try:
        sender = _Sender(write, frozenset(skip))
        sender.send(top, os.fstat(top), name)
        return sender.finish()
    finally:
        os.close(top)


def kind_of(status: os.stat_result) -> str:
    """Return the letter of an archive's kind (f d l c b p) for a status, ``s`` for a socket."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "s")


class _Sender:
    def __init__(self, write: Callable[[bytes], object], skip: frozenset[int]) -> None:
        self._tar, self._skip = TarWriter(write), skip
        self._links: dict[tuple[int, int], str] = {}
        self._warnings: dict[str, None] = {}

    def finish(self) -> list[str]:
        self._tar.close()
        return list(self._warnings)[:_MOST_WARNINGS]

    def send(self, top: int, status: os.stat_result, name: str) -> None:
        if not stat.S_ISDIR(status.st_mode):
            self._one(top, status, name)
            return
        with SafeRoot(os.dup(top)) as tree:
            todo = [""]
            while todo:
                below = todo.pop()
                todo.extend(self._directory(tree, below, f"{name}/{below}" if below else name, top=status.st_dev))

    def _warn(self, text: str) -> None:
        if len(self._warnings) <= _MOST_WARNINGS:
            self._warnings[text] = None

    def _directory(self, tree: SafeRoot, below: str, name: str, *, top: int) -> list[str]:
        """Write a directory and its files; return the directories in it, last first."""
        try:
            fd = tree.open(below, _DIRECTORY)
        except OSError as err:
            if not below or err.errno not in _GONE:
                raise
            self._warn(f"{name} vanished while it was read")
            return []
        try:
            status = os.fstat(fd)
            names = attributes.names(fd)
            self._tar.add(_entry(name, "d", status, xattrs=attributes.read(fd, names) if names else {}))
            if status.st_dev in self._skip and (below or status.st_dev != top):
                return []
            return self._entries(fd, f"{below}/" if below else "", name)
        finally:
            os.close(fd)

    def _entries(self, fd: int, prefix: str, shown: str) -> list[str]:
        with os.scandir(fd) as entries:
            found = sorted((os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries)
        directories = []
        for raw, is_directory in found:
            name = os.fsdecode(raw)
            if len(prefix) + len(raw) > LONGEST_PATH // 4 and len(os.fsencode(prefix)) + len(raw) > LONGEST_PATH:
                raise StoreError(f"a path longer than {LONGEST_PATH} bytes cannot be in an archive: {prefix[:60]!a}…")
            if is_directory:
                directories.append(prefix + name)
            else:
                self._child(fd, name, f"{shown}/{name}")
        return directories[::-1]

    def _child(self, directory: int, name: str, shown: str) -> None:
        try:
            fd = os.open(name, _LOOK, dir_fd=directory)
        except OSError as err:
            if err.errno not in _GONE:
                raise
            self._warn(f"{shown} vanished while it was read")
            return
        try:
            self._one(fd, os.fstat(fd), shown)
        finally:
            os.close(fd)

    def _one(self, fd: int, status: os.stat_result, name: str) -> None:
        """Write one name that is no directory; ``fd`` is an O_PATH descriptor of exactly what ``status`` says."""
        kind = kind_of(status)
        first = self._links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if kind == "s":
            self._warn(f"the socket {name} was left out: an archive cannot hold one")
        elif kind == "d":  # a directory took the place of a file since it was listed
            self._tar.add(_entry(name, kind, status))
        elif first is not None:
            self._tar.add(_entry(name, "h", status, link=first))
        else:
            if status.st_nlink > 1:
                self._links[status.st_dev, status.st_ino] = name
            self._content(fd, status, name, kind)

    def _content(self, fd: int, status: os.stat_result, name: str, kind: str) -> None:
        if kind == "f":
            self._file(fd, name)
            return
        link = os.readlink("", dir_fd=fd) if kind == "l" else ""
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in "cb" else (0, 0)
        self._tar.add(_entry(name, kind, status, link=link, device=device))

    def _file(self, looked: int, name: str) -> None:
        fd = os.open(f"/proc/self/fd/{looked}", _READ)  # the very inode that was looked at: a regular file
        try:
            status = os.fstat(fd)
            size = status.st_size
            if size > _HOLLOW_BYTES and status.st_blocks * 512 < size // 8:
                raise StoreError(f"{name} says it has {size} bytes, nearly all of them holes: it is too large to send")
            names = attributes.names(fd)
            self._tar.add(_entry(name, "f", status, size=size, xattrs=attributes.read(fd, names) if names else {}))
            self._bytes(fd, size, name)
            self._tar.pad(size)
        finally:
            os.close(fd)

    def _bytes(self, fd: int, left: int, name: str) -> None:
        while left:
            piece = os.read(fd, min(left, _PIECE))
            if not piece:
                self._warn(f"{name} shrank while it was read")
                piece = bytes(min(left, _PIECE))
            self._tar.data(piece)
            left -= len(piece)


def _entry(
    name: str,
    kind: str,
    status: os.stat_result,
    *,
    size: int = 0,
    link: str = "",
    device: tuple[int, int] = (0, 0),
    xattrs: dict[str, bytes] | None = None,
) -> Entry:
    return Entry(
        name=name,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime_ns=status.st_mtime_ns,
        link=link,
        device=device,
        xattrs=xattrs or {},
    )
