"""Overlay mounts that have no place in the tree: only whoever holds the descriptor sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notebook_containers.lean import dataclass
from notebook_containers.linux import mounts

FIXED_OPTIONS = ("metacopy=off", "redirect_dir=nofollow", "index=off")
"""What every overlay of ours is mounted with; ``nofollow`` also disobeys a redirection that a layer brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Directories to mount as one: ``lowers`` bottom first, and a writable ``upper`` with its ``work``, or neither."""

    lowers: tuple[Path, ...]
    upper: Path | None = None
    work: Path | None = None


@contextmanager
def mounted(stack: Stack, *, userxattr: bool) -> Iterator[int]:
    """Yield a descriptor of the merged root; the mount is gone when it is closed. OSError when the kernel refuses.

    With an upper directory the mount is volatile: it is not forced to the disk when it goes (a commit does that).
    """
    alone = (stack.upper or stack.lowers[0]) if len(stack.lowers) + bool(stack.upper) == 1 else None  # nothing to merge
    fd = os.open(alone, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if alone else _mount(stack, userxattr)
    try:
        yield fd
    finally:
        os.close(fd)


def _mount(stack: Stack, userxattr: bool) -> int:
    words = [f"lowerdir+={path}" for path in reversed(stack.lowers)]
    if stack.upper is not None:
        words += [f"upperdir={stack.upper}", f"workdir={stack.work}", "volatile"]
    else:
        words.append("ro")
    words += [*FIXED_OPTIONS, *(["userxattr"] if userxattr else []), "nosuid", "nodev", "noexec"]
    return mounts.create("overlay", "overlay", words)
