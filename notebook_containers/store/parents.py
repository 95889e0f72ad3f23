"""Descriptors of the directories that an unpack works in: opened without leaving the root, the last few kept."""

from __future__ import annotations

import os
from collections.abc import Callable

from notebook_containers.linux.paths import SafeRoot

_MOST_OPEN = 64


class Parents:
    """Directories of a tree by path, made where they are missing. ``revive`` may put a directory where something else is in the way."""

    def __init__(self, root: SafeRoot) -> None:
        self._root = root
        self._open: dict[str, int] = {}
        self.revive: Callable[[str], bool] = lambda _path: False

    def get(self, path: str) -> int:
        """Return a descriptor, good until the next call of any method; OSError where a link or a file is in the way."""
        fd = self._open.get(path)
        if fd is None:
            if len(self._open) >= _MOST_OPEN:
                oldest = next(iter(self._open))
                os.close(self._open.pop(oldest))
            try:
                fd = self._root.directory(path, create=True)
            except NotADirectoryError:
                if not self.revive(path):
                    raise
                fd = self._root.directory(path, create=True)
            self._open[path] = fd
        return fd

    def forget(self, path: str) -> None:
        """Let go of a directory and all below it, because they go away."""
        for known in [p for p in self._open if p == path or p.startswith(path + "/")]:
            os.close(self._open.pop(known))

    def close(self) -> None:
        """Let go of all; idempotent."""
        while self._open:
            os.close(self._open.popitem()[1])
