"""Look-ups in a stack of layers without mounting it: what ``COPY --from`` names, whether a destination is a directory, who a user is."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from notebook_containers.build.context import MAGIC, Source, clean
from notebook_containers.build.patterns import Automaton
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Digest
from notebook_containers.store import attributes
from notebook_containers.store.layers import LayerStore
from notebook_containers.store.merged import Merged

_MAX_LINKS = 40
_MAX_ACCOUNTS = 1024 * 1024
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A path with no link left in it, and what is there."""

    path: str
    mode: int

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


class View:
    """Layers seen as one root filesystem, bottom first; close it, or use it in a ``with`` statement."""

    def __init__(self, layers: LayerStore, diff_ids: Sequence[Digest]) -> None:
        self._paths, self._trees = [layers.directory(d) / "diff" for d in diff_ids], layers.trees
        self._merged = Merged(self._paths, userxattr=layers.rootless)

    def close(self) -> None:
        """Close the layers' descriptors."""
        self._merged.close()

    def __enter__(self) -> Self:
        """Return the view."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def resolve(self, path: str) -> Place | None:
        """Follow links as a process inside would; None where nothing is, or links run in a circle."""
        walk = _Walk(path)
        while walk.todo:
            name = walk.next()
            found = self._find("/".join(walk.at), name) if name else None
            if name and (found is None or not walk.enter(name, *found)):
                return None
        return Place(path="/".join(walk.at), mode=walk.mode)

    def follow(self, path: str) -> str:
        """Follow the links on the way to a path that may not exist, so that what a dangling link names can be made."""
        walk = _Walk(path)
        while walk.todo:
            name = walk.next()
            found = self._find("/".join(walk.at), name) if name else None
            if name and (found is None or not walk.enter(name, *found)):
                walk.at.append(name)
        return "/" + "/".join(walk.at)

    def select(self, pattern: str) -> tuple[Source, ...]:
        """Return what a source word of ``COPY --from`` means, in order of names."""
        found: list[Source] = []
        for path in self._glob("", clean(pattern)):
            place = self.resolve(path)
            if place is not None:
                found.append(Source(path=path, real=place.path, is_directory=place.is_directory))
        return tuple(found)

    def digest(self, source: Source, skip: frozenset[str]) -> str:
        """Return the sha256 of what a copy of a source would be: names, kinds, modes, owners, contents, link texts, attributes; no times.

        Raises OSError for what this process may not read.
        """
        total = hashlib.sha256()
        head, _, name = source.real.rpartition("/")
        total.update(os.fsencode(f"{source.name}\0{source.kept}\0"))
        if source.real:
            self._digest_one(total, "", head, name)
        for path, _is_directory in self.paths(source.real) if source.is_directory else ():
            if path not in skip:
                above, _, last = posixpath.join(source.real, path).rpartition("/")
                self._digest_one(total, path, above, last)
        return total.hexdigest()

    def _digest_one(self, total: hashlib._Hash, shown: str, directory: str, name: str) -> None:
        with self._merged.directory(directory) as here:
            found = here.find(name)
            if found is None:
                return
            status = found.status
            total.update(os.fsencode(f"{shown}\0{status.st_mode:o} {status.st_uid} {status.st_gid} {status.st_rdev}\0"))
            if stat.S_ISLNK(status.st_mode):
                total.update(os.fsencode(os.readlink(name, dir_fd=found.directory)))
            elif stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                _digest_open(total, found.directory, name, regular=stat.S_ISREG(status.st_mode))
            total.update(b"\0")

    def account(self, name: str, *, group: bool = False) -> tuple[int, int] | None:
        """Return (uid, gid) of a user in /etc/passwd, or (gid, gid) of a group in /etc/group; None when it is not there."""
        data = self._trees.read_file(self._paths, "etc/group" if group else "etc/passwd", _MAX_ACCOUNTS) or b""
        for line in data.decode("utf-8", "surrogateescape").split("\n"):
            fields = line.split(":")
            if len(fields) >= 4 and fields[0] == name and fields[2].isdigit():
                gid = fields[2] if group or not fields[3].isdigit() else fields[3]
                return int(fields[2]), int(gid)
        return None

    def _find(self, directory: str, name: str) -> tuple[int, str] | None:
        try:
            with self._merged.directory(directory) as here:
                found = here.find(name)
                if found is None:
                    return None
                mode = found.status.st_mode
                return mode, os.readlink(name, dir_fd=found.directory) if stat.S_ISLNK(mode) else ""
        except PermissionError:  # an ordinary user's store: a directory of another id's that is closed to us
            there = self._trees.find(self._paths, directory, name)
            return (there[0], there[3]) if there else None

    def _glob(self, head: str, parts: list[str]) -> Iterator[str]:
        if not parts:
            yield head
        elif parts[0] == "**":
            yield from self._anywhere(head, parts[1:])
        elif not any(c in parts[0] for c in MAGIC):
            yield from self._glob(posixpath.join(head, parts[0]), parts[1:])
        else:
            place = self.resolve(head)
            matcher = Automaton([parts[0]], deep=False)
            for name in self._names(place) if place is not None and place.is_directory else ():
                if matcher.matches(name):
                    yield from self._glob(posixpath.join(head, name), parts[1:])

    def _anywhere(self, head: str, rest: list[str]) -> Iterator[str]:
        yield from self._glob(head, rest) if rest else iter([head] if head else [])
        for path, is_directory in self.paths(head):
            if is_directory:
                below = posixpath.join(head, path)
                yield from self._glob(below, rest) if rest else iter([below])

    def paths(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield what is below a directory as (path relative to it, is a directory), each directory first; no link is followed."""
        place = self.resolve(path)
        todo = [""] if place is not None and place.is_directory else []
        while todo:
            below = todo.pop()
            assert place is not None
            here = Place(path=posixpath.join(place.path, below).rstrip("/"), mode=place.mode)
            for name in self._names(here):
                found = self._find(here.path, name)
                child = posixpath.join(below, name)
                is_directory = found is not None and stat.S_ISDIR(found[0])
                yield child, is_directory
                if is_directory:
                    todo.append(child)

    def _names(self, place: Place) -> list[str]:
        try:
            with self._merged.directory(place.path) as here:
                return here.names()
        except PermissionError:
            return self._trees.names(self._paths, place.path)


def _digest_open(total: hashlib._Hash, directory: int, name: str, *, regular: bool) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for key, value in sorted(attributes.read(fd, attributes.names(fd)).items()):
            total.update(f"{key}={value.hex()}\0".encode())
        if regular:
            content = hashlib.sha256()
            while piece := os.read(fd, _CHUNK):
                content.update(piece)
            total.update(content.digest())
    finally:
        os.close(fd)


class _Walk:
    """A path on its way: ``at`` are the names passed, ``todo`` those to come (last first), ``mode`` what ``at`` is."""

    def __init__(self, path: str) -> None:
        self.at: list[str] = []
        self.todo: list[str] = []
        self.mode, self._links = stat.S_IFDIR, 0
        self._push(path)

    def next(self) -> str:
        """Take the next name; empty when it was ``..`` and is done."""
        name = self.todo.pop()
        if name != "..":
            return name
        self.at[-1:] = []
        self.mode = stat.S_IFDIR
        return ""

    def enter(self, name: str, mode: int, link: str) -> bool:
        """Go on to what was found; False where a file has names after it, or links are too many."""
        if not stat.S_ISLNK(mode):
            self.at.append(name)
            self.mode = mode
            return stat.S_ISDIR(mode) or not self.todo
        self._links += 1
        if self._links > _MAX_LINKS:
            return False
        if link.startswith("/"):
            self.at.clear()
        self.mode = stat.S_IFDIR
        self._push(link)
        return True

    def _push(self, path: str) -> None:
        self.todo.extend(p for p in path.split("/")[::-1] if p not in ("", "."))
