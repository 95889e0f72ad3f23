"""A layer's tree held against its archive: the archive, whose digest is known, is the record of what the tree must be."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator

from notebook_containers.lean import dataclass, field
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes
from notebook_containers.store.tar_reader import Entry, TarReader
from notebook_containers.store.unpack import Rules, clean_parts
from notebook_containers.store.upper import Item, open_for_reading, scan

_MOST = 20
_PIECE = 1 << 20
_SECOND = 10**9


@dataclass(slots=True, kw_only=True)
class _Wanted:
    """What one path must be; hard links to one file are one object. ``entry`` is None for a directory that the archive only implies."""

    kind: str
    entry: Entry | None = None
    digest: bytes = b""
    opaque: bool = False
    inode: tuple[int, int] = (0, 0)


@dataclass(slots=True, kw_only=True)
class _Archive:
    """The tree that an archive stands for, in overlay's form (image-spec layer.md); later entries replace earlier ones."""

    reader: TarReader
    paths: dict[str, _Wanted] = field(default_factory=lambda: {"": _Wanted(kind="d")})

    def read(self) -> dict[str, _Wanted]:
        for entry in self.reader:
            parts = clean_parts(entry.name)
            if not parts:
                self.paths[""].entry = entry
            elif any(part.startswith(".wh.") for part in parts):
                self._deletion(parts)
            else:
                self._add("/".join(parts), parts[:-1], entry)
        return self.paths

    def _add(self, path: str, above: list[str], entry: Entry) -> None:
        self._parents(above)
        known = self.paths.get(path)
        if entry.kind == "h":
            target = self.paths.get("/".join(clean_parts(entry.link)))
            if target is not None:
                self._replace(path, target)
        elif entry.kind == "d" and known is not None and known.kind in "dw":
            self.paths[path] = _Wanted(kind="d", entry=entry, opaque=known.opaque or known.kind == "w")
        elif not (entry.kind == "c" and entry.device == (0, 0)):
            wanted = _Wanted(kind=entry.kind, entry=entry)
            if entry.kind == "f":
                digest = hashlib.sha256()
                self.reader.copy_data(digest.update)
                wanted.digest = digest.digest()
            self._replace(path, wanted)

    def _replace(self, path: str, wanted: _Wanted) -> None:
        known = self.paths.get(path)
        if known is not None and known.kind == "d":
            for below in [name for name in self.paths if name.startswith(path + "/")]:
                del self.paths[below]
        self.paths[path] = wanted

    def _parents(self, above: list[str]) -> None:
        for count in range(1, len(above) + 1):
            path = "/".join(above[:count])
            known = self.paths.get(path)
            if known is None or known.kind == "w":
                self.paths[path] = _Wanted(kind="d", opaque=known is not None)

    def _deletion(self, parts: list[str]) -> None:
        *above, name = parts
        hidden = name.removeprefix(".wh.")
        if any(part.startswith(".wh.") for part in above) or (hidden.startswith(".wh.") and hidden != ".wh..opq"):
            return  # aufs' own files
        self._parents(above)
        path = "/".join([*above, hidden])
        if hidden == ".wh..opq":
            self.paths["/".join(above)].opaque = True
        elif path not in self.paths:
            self.paths[path] = _Wanted(kind="w")
        elif self.paths[path].kind == "d":
            self.paths[path].opaque = True


def compare(reader: TarReader, root: SafeRoot, rules: Rules, *, lenient: bool) -> list[str]:
    """Return in what the tree differs from what the archive makes of it, at most twenty, in words; an empty list for a sound tree.

    Compared are names, kinds, modes, owners, sizes, times, links, devices, attributes, deletions and the bytes of every file, as far as
    they could be kept here (``rules``); ``lenient`` lets devices and attributes be missing, which unpacking warned of. The archive is
    read to its end. InvalidDocument for one that is none.
    """
    wanted = _Archive(reader=reader).read()
    return list(_first(_Comparison(root, rules, lenient=lenient).differences(wanted)))


def _first(found: Iterator[str]) -> Iterator[str]:
    for _, text in zip(range(_MOST), found, strict=False):
        yield text


class _Comparison:
    def __init__(self, root: SafeRoot, rules: Rules, *, lenient: bool) -> None:
        self._root, self._rules, self._lenient = root, rules, lenient

    def differences(self, wanted: dict[str, _Wanted]) -> Iterator[str]:
        items = {item.path: item for item in scan(self._root, userxattr=self._rules.userxattr, rootless=self._rules.single_id)}
        for path, item in items.items():
            known = wanted.get(path)
            for what in [f"should not be there ({item.kind})"] if known is None else self._of(item, known):
                yield f"{_shown(path)}: {what}"
        for path, known in wanted.items():
            if path not in items and not (known.kind in "cb" and (self._lenient or self._rules.userxattr)):
                yield f"{_shown(path)}: is missing"

    def _of(self, item: Item, wanted: _Wanted) -> Iterator[str]:
        if item.kind != wanted.kind:
            yield f"is of kind {item.kind}, not {wanted.kind}"
            return
        if item.kind == "d" and item.opaque != wanted.opaque:
            yield f"{'hides' if item.opaque else 'does not hide'} what lies below"
        here = (item.status.st_dev, item.status.st_ino)
        if wanted.inode not in ((0, 0), here):
            yield "is no longer a hard link"
        wanted.inode = here
        if wanted.entry is not None and item.kind != "w":
            yield from self._attributes(item, wanted.entry)
            if item.kind == "f" and item.status.st_size == wanted.entry.size:
                yield from self._read(item, wanted)

    def _attributes(self, item: Item, entry: Entry) -> Iterator[str]:
        status, mode = item.status, stat.S_IMODE(item.status.st_mode)
        modes = {entry.mode, entry.mode | 0o500} if item.kind == "d" and self._rules.single_id else {entry.mode}
        if item.kind != "l" and mode not in modes:
            yield f"has mode {mode:04o}, not {entry.mode:04o}"
        owner = self._owner(entry)
        if owner is not None and (status.st_uid, status.st_gid) != owner:
            yield f"belongs to {status.st_uid}:{status.st_gid}, not {owner[0]}:{owner[1]}"
        if item.kind == "f" and status.st_size != entry.size:
            yield f"has {status.st_size} bytes, not {entry.size}"
        if not _same_time(status.st_mtime_ns, entry.mtime_ns):
            yield f"was changed at {status.st_mtime_ns / _SECOND:.3f}, not {entry.mtime_ns / _SECOND:.3f}"
        if item.kind in "cb" and (os.major(status.st_rdev), os.minor(status.st_rdev)) != entry.device:
            yield "is another device"
        if item.kind == "l" and self._link(item) != entry.link:
            yield "leads elsewhere"
        if item.kind == "d":
            yield from self._xattrs(item.xattrs or {}, entry)

    def _owner(self, entry: Entry) -> tuple[int, int] | None:
        if self._rules.single_id:
            return None
        beyond = self._rules.highest is not None and max(entry.uid, entry.gid) > self._rules.highest
        return (0, 0) if beyond else (entry.uid, entry.gid)

    def _xattrs(self, found: dict[str, bytes], entry: Entry) -> Iterator[str]:
        wanted = {name: value for name, value in entry.xattrs.items() if attributes.travels(name)}
        if attributes.CAPABILITY in wanted:
            wanted[attributes.CAPABILITY] = attributes.plain_capability(wanted[attributes.CAPABILITY])
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name) and not (self._lenient and name not in found) and not name.startswith("system."):
                yield f"has another attribute {name}"

    def _link(self, item: Item) -> str:
        head, _, name = item.path.rpartition("/")
        parent = self._root.open(head, os.O_PATH | os.O_DIRECTORY)
        try:
            return os.readlink(name, dir_fd=parent)
        finally:
            os.close(parent)

    def _read(self, item: Item, wanted: _Wanted) -> Iterator[str]:
        assert wanted.entry is not None
        fd = open_for_reading(self._root, item, rootless=self._rules.single_id)
        try:
            names = attributes.names(fd)
            yield from self._xattrs(attributes.read(fd, names) if names else {}, wanted.entry)
            if _digest(lambda: os.read(fd, _PIECE)) != wanted.digest:
                yield "has other bytes"
        finally:
            os.close(fd)


def _shown(path: str) -> str:
    return "/" + ascii(path[:200])[1:-1]


def _same_time(found_ns: int, wanted_ns: int) -> bool:
    """Compare times; an archive that knows whole seconds only says nothing of their parts."""
    return found_ns == wanted_ns if wanted_ns % _SECOND else found_ns // _SECOND == wanted_ns // _SECOND


def _digest(read: Callable[[], bytes]) -> bytes:
    digest = hashlib.sha256()
    while piece := read():
        digest.update(piece)
    return digest.digest()
