"""Where a copy goes: ``docker cp``'s rules, the same inside a container and on this machine (docs, "docker container cp")."""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from notebook_containers.errors import InvalidArgument, NotFound
from notebook_containers.lean import dataclass
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.documents import Document

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MISSING = (errno.ENOENT, errno.ENOTDIR)
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Source(Document):
    """What is copied: its ``name``, whether it is a directory, and whether only what is in it is meant (``SRC/.``)."""

    name: str
    directory: bool = False
    contents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Place(Document):
    """An archive's top entry is to be called ``name`` and unpacked in the directory ``below``; ``.`` means its contents alone."""

    below: str
    name: str


def base_name(path: str) -> str:
    """Return a path's last name; ``.`` for the root, and for what ends in a dot."""
    parts = [part for part in path.split("/") if part]
    return parts[-1] if parts and parts[-1] not in (".", "..") else "."


def means_contents(path: str) -> bool:
    """Tell whether ``SRC/.`` was written: the contents of a directory."""
    return path.endswith("/.") or path == "."


def choose(root: SafeRoot, path: str, source: Source) -> Place:
    """Decide where ``source`` goes when ``path`` is given as destination; raises NotFound or InvalidArgument as Docker refuses."""
    status = status_of(root, path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        return Place(below=path, name="." if source.contents else source.name)
    if status is not None and (source.directory or path.endswith(("/", "/."))):
        raise InvalidArgument(f"{path} is not a directory", hint="a directory is copied to a directory, or to a name that does not exist")
    if status is None and path.endswith("/") and not source.directory:
        raise InvalidArgument(f"the directory {path} does not exist", hint="make it first, or leave out the slash")
    target = through_links(root, path.rstrip("/"))
    below, name = posixpath.dirname(target) or "/", posixpath.basename(target)
    parent = status_of(root, below)
    if parent is None or not stat.S_ISDIR(parent.st_mode):
        raise NotFound(f"{below} is no directory", hint="make the directory first")
    if name in ("", ".", ".."):
        raise InvalidArgument(f"{path} is no name")
    return Place(below=below, name=name)


def status_of(root: SafeRoot, path: str) -> os.stat_result | None:
    """Return the status of what a path leads to, links followed inside the root; None when there is nothing."""
    try:
        fd = root.open(path, os.O_PATH)
    except OSError as err:
        if err.errno in _MISSING:
            return None
        raise
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def through_links(root: SafeRoot, path: str) -> str:
    """Return where the links at the end of ``path`` lead, as a path inside the root; InvalidArgument when they go in a circle."""
    for _ in range(_MAX_LINKS):
        try:
            fd = root.open(path, _LOOK)
        except FileNotFoundError:
            return path
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return path
            path = posixpath.join(posixpath.dirname(path) or "/", os.readlink("", dir_fd=fd))
        finally:
            os.close(fd)
    raise InvalidArgument(f"the links at {path} go in a circle")
