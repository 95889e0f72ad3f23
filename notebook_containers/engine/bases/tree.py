"""A small file tree in memory, written as one deterministic tar: the same tree gives the same bytes for every user, umask and day."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from typing import BinaryIO, Literal

from notebook_containers.errors import StoreError
from notebook_containers.lean import dataclass

MADE = "made"
"""The ``source`` of an entry that is no copy of a host file."""

_MERGED = (("/bin", "/usr/bin"), ("/sbin", "/usr/sbin"), ("/lib64", "/usr/lib64"), ("/lib", "/usr/lib"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member: ``path`` without a leading slash; ``source`` is the host file it is copied from, or ``made``."""

    path: str
    kind: Literal["directory", "file", "link"]
    mode: int
    source: str = MADE
    data: bytes = b""
    target: str = ""


class Tree:
    """Collects entries by path; parents are made 0755, the first entry of a path stays."""

    def __init__(self, below: Iterable[Entry] = ()) -> None:
        """``below`` are the entries of lower layers: what they hold already is not added again."""
        self._below = {entry.path: entry for entry in below}
        self._entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._entries or path in self._below

    def entries(self) -> tuple[Entry, ...]:
        """Return what was added, sorted so that every directory comes before what is in it."""
        return tuple(sorted(self._entries.values(), key=lambda entry: entry.path.split("/")))

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory."""
        self._add(Entry(path=path, kind="directory", mode=mode))

    def data(self, path: str, data: bytes, mode: int = 0o644, source: str = MADE) -> None:
        """Add a file with these bytes."""
        self._add(Entry(path=path, kind="file", mode=mode, data=data, source=source))

    def copy(self, host: str, path: str = "", *, mode: int = 0o644) -> str:
        """Add a copy of a host file, by default at the path it has there; returns the path."""
        path = path or image_path(host)
        self._add(Entry(path=path, kind="file", mode=mode, source=host))
        return path

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link to ``target``, a path in the image (a relative link is written) or already relative (``../run``)."""
        relative = target if target.startswith(".") else os.path.relpath(target, os.path.dirname(path) or ".")
        self._add(Entry(path=path, kind="link", mode=0o777, target=relative))

    def _add(self, entry: Entry) -> None:
        if entry.path in self:
            return
        parent = os.path.dirname(entry.path)
        if parent and parent not in self._entries:
            self._entries[parent] = self._below.get(parent) or Entry(path=parent, kind="directory", mode=0o755)
            self._parents(parent)
        self._entries[entry.path] = entry

    def _parents(self, path: str) -> None:
        while path := os.path.dirname(path):
            if path not in self._entries:
                self._entries[path] = self._below.get(path) or Entry(path=path, kind="directory", mode=0o755)


def image_path(host: str) -> str:
    """Return where a host path lies in the image, without a leading slash: directories resolved, ``/bin`` and its like merged into /usr."""
    directory, name = os.path.split(host)
    directory = os.path.realpath(directory)
    for old, new in _MERGED:
        if directory == old or directory.startswith(f"{old}/"):
            directory = new + directory[len(old) :]
            break
    return f"{directory}/{name}".lstrip("/")


def readable(host: str) -> bool:
    """Say whether a path is a regular file that everybody may read: only such files are copied, so root and users get the same image."""
    try:
        mode = os.stat(host).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & stat.S_IROTH)


def write_tar(entries: Iterable[Entry], out: BinaryIO) -> None:
    """Write the entries as an uncompressed tar: owner 0:0, time 0, in the given order; raises StoreError for a host file that is gone."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as archive:
        for entry in entries:
            member = tarfile.TarInfo(entry.path)
            member.mode, member.mtime = entry.mode, 0
            if entry.kind == "directory":
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            elif entry.kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, entry.target
                archive.addfile(member)
            else:
                data = _bytes(entry)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _bytes(entry: Entry) -> bytes:
    if entry.source == MADE or entry.data:
        return entry.data
    try:
        with open(entry.source, "rb") as file:
            return file.read()
    except OSError as err:
        raise StoreError(f"cannot read {entry.source} for the base image: {err.strerror}", hint="try again") from err
