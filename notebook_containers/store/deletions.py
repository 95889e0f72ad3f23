"""A layer's deletions: the archive's ``.wh.`` names become overlay's own forms (image-spec layer.md, "Whiteouts")."""

from __future__ import annotations

import errno
import os
import stat

from notebook_containers.errors import InvalidDocument
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.store import attributes
from notebook_containers.store.merged import is_whiteout
from notebook_containers.store.parents import Parents


class Deletions:
    """The deletions of one layer that is being unpacked."""

    def __init__(self, root: SafeRoot, parents: Parents, *, userxattr: bool) -> None:
        self._root, self._parents = root, parents
        self._opaque_name = attributes.opaque_name(rootless=userxattr)
        self._paths: set[str] = set()

    def take(self, parts: list[str]) -> bool:
        """Carry an entry out if it is a deletion; say whether it was one. InvalidDocument for one that makes no sense."""
        *above, name = parts
        if any(part.startswith(".wh.") for part in above):
            if any(part.startswith(".wh..wh.") for part in above):
                return True
            raise InvalidDocument(f"the archive's entry {'/'.join(parts)[:200]!a} lies below a deletion")
        if not name.startswith(".wh."):
            return False
        hidden = name[4:]
        parent = self._parent("/".join(above))
        if name == ".wh..wh..opq":
            self._set_opaque(parent)
        elif hidden in ("", ".", ".."):
            raise InvalidDocument(f"the archive deletes {'/'.join(parts)[:200]!a}, which is no name")
        elif not hidden.startswith(".wh."):  # .wh..wh.aufs, .wh..wh.plnk: aufs' own files, which nobody unpacks
            self._hide(parent, hidden, "/".join([*above, hidden]))
        return True

    def made_anew(self, path: str) -> None:
        """Note that a directory stands where this layer deletes: what was in it below stays hidden."""
        if path in self._paths:
            self._set_opaque(self._parents.get(path))

    def revive(self, path: str) -> bool:
        """Turn a deletion on the way to ``path`` into an empty directory that hides what was below; say whether there was one."""
        parts = path.split("/")
        prefixes = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        dead = next((prefix for prefix in prefixes if prefix in self._paths and is_whiteout(self._root.lstat(prefix))), None)
        if dead is None:
            return False
        self._root.remove(dead)
        self._root.makedirs(dead)
        self._set_opaque(self._parents.get(dead))
        return True

    def _parent(self, path: str) -> int:
        try:
            return self._parents.get(path)
        except OSError as err:
            if err.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidDocument(f"the archive deletes below {path[:200]!a}, which is a link or a file") from err
            raise

    def _hide(self, parent: int, name: str, path: str) -> None:
        self._paths.add(path)
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:  # the name is in this layer too: only what lies below is deleted
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._set_opaque(self._parents.get(path))

    def _set_opaque(self, directory: int) -> None:
        os.setxattr(f"/proc/self/fd/{directory}", self._opaque_name, b"y")
