"""Digests of trees in a build context, each file read at most once while its inode stays the same."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator

from notebook_containers.build.ignore import IgnoreRules
from notebook_containers.build.patterns import State
from notebook_containers.lean import dataclass
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes
from notebook_containers.store.held import Held, Piece, Ready
from notebook_containers.store.known_digests import Known, KnownDigests, Signature

_CHUNK = 1024 * 1024
_KINDS = {
    stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFCHR: "c", stat.S_IFBLK: "b",
}  # fmt: skip
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_SETTLED_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something in a tree: path below the context, kind (``f d l p c b``), permission bits, and the digest or link text."""

    path: str
    kind: str
    mode: int
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeDigest:
    """A tree (or one file): its digest as hex, its entries in order, and the topmost paths in it that are left out."""

    digest: str
    entries: tuple[Entry, ...]
    skipped: frozenset[str]


class FileDigests:
    """Walks and hashes below one root; remembers each file's digest with its device, inode, size, mtime and ctime.

    The kernel sets ctime itself, so an edit that puts size and mtime back is still seen. ``memory`` is what earlier builds knew about
    the directory ``name``; :meth:`remember` adds to it. What is read is also held, so that a copy need not read it again; close it.
    """

    def __init__(self, root: SafeRoot, rules: IgnoreRules, *, memory: KnownDigests | None = None, name: str = "") -> None:
        self._root, self._rules, self._memory, self._name = root, rules, memory, name
        self._held = Held()
        self._known: Known = memory.read(name) if memory is not None else {}
        self._counted = _Counted()

    def remember(self) -> None:
        """Keep what was read now; files changed within the last second are left out, they may change again unseen."""
        if self._memory is None or not self._counted.files:
            return
        settled = time.time_ns() - _SETTLED_NS
        self._memory.write(self._name, {path: known for path, known in self._known.items() if known[0][4] < settled})

    def close(self) -> None:
        """Let go of what is held."""
        self._held.close()

    def ready(self, path: str, tree: TreeDigest) -> Ready:
        """Return the contents of a tree's files that are held, those with the digests that the tree has."""
        return self._held.ready(path, {entry.path: entry.value for entry in tree.entries if entry.kind == "f"})

    def tree(self, path: str) -> TreeDigest:
        """Return the digest of ``path`` and all below it; paths in it are relative to ``path``."""
        walk = _Walk(self._rules, self._known, self._counted, self._held)
        with self._root.parent(path) if path else _Here(self._root) as (fd, name):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                walk.directory(fd, name, path, self._state(path), status)
            else:
                walk.other(fd, name, path, status)
        return _tree(path, walk)

    def has_below(self, path: str) -> bool:
        """Say whether anything below a directory that is left out is taken back."""
        state = self._state(path)
        if not self._rules.may_return(self._rules.enter(state, "/") if path else state):
            return False
        return any(entry.path != path for entry in self.tree(path).entries)

    def _state(self, path: str) -> State:
        return self._rules.enter(self._rules.start, path) if path else self._rules.start


class _Counted:
    """How many files were read."""

    def __init__(self) -> None:
        self.files = 0


class _Here:
    """The root itself as ``(descriptor, ".")``."""

    def __init__(self, root: SafeRoot) -> None:
        self._root = root

    def __enter__(self) -> tuple[int, str]:
        return self._root.fd, "."

    def __exit__(self, *_: object) -> None:
        return


class _Walk:
    """One pass; ``entries`` in the order of names, a directory before what is in it."""

    def __init__(self, rules: IgnoreRules, known: Known, counted: _Counted, held: Held) -> None:
        self.rules, self.known, self.counted, self.held = rules, known, counted, held
        self.checked = bool(rules.rules)
        self.entries: list[Entry] = []
        self.skipped: list[str] = []

    def directory(self, parent: int, name: str, path: str, state: State, status: os.stat_result) -> None:
        self.entries.append(Entry(path=path, kind="d", mode=status.st_mode & 0o7777, value=""))
        fd = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=parent)
        try:
            inside = self.rules.enter(state, "/") if path else state
            for child in sorted(os.listdir(fd)):
                self._child(fd, child, path, inside)
        finally:
            os.close(fd)

    def _child(self, fd: int, name: str, above: str, inside: State) -> None:
        path = f"{above}/{name}" if above else name
        state = self.rules.enter(inside, name) if self.checked else inside
        excluded = self.checked and self.rules.excluded(state)
        if excluded and not self.rules.may_return(state):
            self.skipped.append(path)
            return
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory:
            before, mark = len(self.entries), len(self.skipped)
            self.directory(fd, name, path, state, status)
            if excluded and len(self.entries) == before + 1:
                self.entries.pop()
                del self.skipped[mark:]
                self.skipped.append(path)
        elif excluded or stat.S_ISSOCK(status.st_mode):  # a socket means nothing in a copy; Docker leaves it out too
            self.skipped.append(path)
        else:
            self.other(fd, name, path, status)

    def other(self, fd: int, name: str, path: str, status: os.stat_result) -> None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "?")
        if kind == "f":
            value = self._file(fd, name, path, status)
        elif kind == "l":
            value = os.readlink(name, dir_fd=fd)
        else:
            value = f"{status.st_rdev:x}" if kind in "cb" else ""
        self.entries.append(Entry(path=path, kind=kind, mode=status.st_mode & 0o7777, value=value))

    def _file(self, fd: int, name: str, path: str, status: os.stat_result) -> str:
        known = self.known.get(path)
        if known is not None and known[0] == _signature(status):
            return known[1]
        file = os.open(name, _OPEN, dir_fd=fd)
        try:
            before = os.fstat(file)
            value = self._read(file, path, before)
        finally:
            os.close(file)
        self.counted.files += 1
        self.known[path] = (_signature(before), value)
        return value

    def _read(self, file: int, path: str, before: os.stat_result) -> str:
        digest = hashlib.sha256()
        parts = list[bytes]()
        holding = self.held.room(path, before.st_size)
        size = 0
        while piece := os.read(file, _CHUNK):
            digest.update(piece)
            size += len(piece)
            holding = holding and size <= before.st_size  # it grows, or has no size that is known
            if holding:
                parts.append(piece)
        value = digest.hexdigest()
        if holding:
            names = attributes.names(file)
            xattrs = attributes.read(file, names) if names else {}
            content = parts[0] if len(parts) == 1 else b"".join(parts)
            self.held.keep(path, Piece(content=content, mode=before.st_mode, mtime_ns=before.st_mtime_ns, digest=value, xattrs=xattrs))
        return value


def _signature(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)


def _tree(top: str, walk: _Walk) -> TreeDigest:
    cut = len(top) + 1 if top else 0
    entries = tuple(Entry(path=e.path[cut:], kind=e.kind, mode=e.mode, value=e.value) for e in walk.entries) if top else tuple(walk.entries)
    total = hashlib.sha256()
    for piece in lines(entries):
        total.update(piece)
    return TreeDigest(digest=total.hexdigest(), entries=entries, skipped=frozenset(path[cut:] for path in walk.skipped))


def lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Each entry as bytes that no other entry gives; NUL stands in no name."""
    for e in entries:
        yield os.fsencode(f"{e.kind}{e.mode:o}\0{e.path}\0{e.value}\0")
