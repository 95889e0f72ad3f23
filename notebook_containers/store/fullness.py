"""What a full disk is called: which store, what is used up, and how much is missing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from notebook_containers.errors import DiskFull

FULL = (errno.ENOSPC, errno.EDQUOT)
HINT = "free space with 'nbc system prune', or set NBC_ROOT to a larger disk"
_MARK = "nbc.db"


def disk_full(number: int | None, where: str, *, missing: int = 0) -> DiskFull:
    """Return the error for ``where``, a path in a store: it names the store (or its database), never an unfinished file.

    ``number`` is ENOSPC or EDQUOT; ``missing`` the bytes that were still to be written, where that is known.
    """
    name = _name(Path(where))
    words = [_state(number, name), *([f"{missing} more were to be written"] if missing > 0 else [])]
    return DiskFull(f"no space left for {name}: {', '.join(words)}", hint=HINT)


def _name(path: Path) -> Path:
    root = next((parent for parent in path.parents if (parent / _MARK).exists()), None)
    return path if root is None or path.parent == root else root


def _state(number: int | None, name: Path) -> str:
    try:
        space = os.statvfs(next(place for place in (name, *name.parents) if place.exists()))
    except (OSError, StopIteration):
        return "the disk is full"
    if number == errno.EDQUOT:
        return "the quota is used up"
    if space.f_files and not space.f_favail:
        return f"all {space.f_files} inodes of the disk are in use"
    return f"{space.f_bavail * space.f_frsize} of {space.f_blocks * space.f_frsize} bytes are free"
